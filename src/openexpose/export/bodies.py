"""From a posed body model to what files hold."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from openexpose.body.stages import Posed
from openexpose.errors import DataError
from openexpose.export.skinned import SkinnedMesh
from openexpose.render.scene import SKIN


def skinned_mesh(
    posed: Posed,
    *,
    name: str,
    row: int = 0,
    T_world_model: Float[np.ndarray, "4 4"] | None = None,
    vertex_colours: Float[np.ndarray, "V 3"] | None = None,
) -> SkinnedMesh:
    """One body of a batch as a skinned mesh with its expression as morph targets; equal to `posed.skin()`.

    vertex_colours: sRGB 0..1, e.g. of `export.paint`; None is plain skin.
    row: which body, counted over the flattened batch axes.
    The pose's correctives are in the rest vertices, so the file shows this very surface; turned to another pose in a
    viewer it keeps them. Joints stay at the places of this expression.
    Raises DataError for a row that does not exist.
    """
    model = posed.shaped.model
    count = posed.lead.numel()
    if not 0 <= row < count:
        raise DataError(f"row {row} of {count} posed bodies does not exist")
    shaped_row = row if posed.spread is None else int(posed.spread[row])
    values = _numpy(posed.shaped.coeffs[shaped_row, model.num_betas :])
    offsets = _numpy(model.surface.shapedirs[:, :, model.num_betas :])
    rest = _numpy(posed.corrected_rest_m.reshape(count, -1, 3)[row]) - offsets @ values
    names = [f"expression_{k + 1}" for k in range(len(values))]
    return SkinnedMesh(
        name=name,
        vertices_rest_m=rest,
        faces=model.faces.cpu().numpy(),
        joint_names=model.joint_names,
        parents=np.array(model.parents),
        joints_rest_m=_numpy(posed.rest_joints[row]),
        weights=_numpy(model.surface.weights),
        R_parent_child=_numpy(posed.R[row]),
        root_m=np.zeros(3) if posed.root is None else _numpy(posed.root[row]),
        T_world_model=np.eye(4) if T_world_model is None else T_world_model,
        morphs={n: offsets[:, :, k] for k, n in enumerate(names)},
        morph_values=dict(zip(names, values.tolist(), strict=True)),
        vertex_colours=vertex_colours,
        colour=SKIN.colour if vertex_colours is None else (1.0, 1.0, 1.0),
    )


def _numpy(x: Tensor) -> Float[np.ndarray, "..."]:
    return x.detach().cpu().double().numpy()
