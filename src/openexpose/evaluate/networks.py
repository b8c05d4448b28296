"""Runs networks over many people: weights in, merged answers out. The inference path, in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.body.load import load_model
from openexpose.errors import WeightsError
from openexpose.evaluate.drawing import PANEL_PX, two_panels
from openexpose.geometry.camera import weak_project
from openexpose.geometry.crop import Crop
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.nets.attention import Squares
from openexpose.nets.build import FREE_MODELS
from openexpose.nets.codec import Estimate
from openexpose.nets.config import NetConfig
from openexpose.nets.expose import ExPose
from openexpose.nets.inputs import look_at
from openexpose.nets.params import BodyParams, HandParams, HeadParams, Part
from openexpose.nets.regressor import PartRegressor
from openexpose.prediction import weak_to_photo_px
from openexpose.weights.models import load_expose, load_part
from openexpose.weights.native import load_checkpointed

SIDES = ("left", "right")
FACING = (1.0, -1.0, -1.0)
"""Diagonal of the turn that lets a y-up model that looks along +z look into a camera whose y points down."""
Params = TypeVar("Params", BodyParams, HandParams, HeadParams)
PartParams = TypeVar("PartParams", HandParams, HeadParams)
CROP_SCALE = 1.15
"""Side of a body crop over the longer side of the person's box, as the `lite` networks were trained."""
PhotoOf = Callable[[int], UInt8[np.ndarray, "_ _ 3"]]
"""Row -> its photo, RGB."""


@dataclass(frozen=True, eq=False)
class Networks:
    """What a weight file holds, with the free body models that its numbers drive."""

    config: NetConfig
    whole: ExPose | None
    """None if the file holds one part alone."""
    parts: Mapping[Part, PartRegressor[Any]]
    models: Mapping[Part, BodyModel]

    @classmethod
    def load(cls, path: Path) -> "Networks":
        """In evaluation mode, on the CPU. Raises WeightsError (file), ConfigError (not for the free body models)."""
        config, _ = load_checkpointed(path)
        models = {
            part: load_model(
                FREE_MODELS[part],
                num_betas=config.part(part).num_betas,
                num_expression=config.part(part).num_expression,
            )
            for part in config.parts
        }
        if len(config.parts) < 3:
            return cls(config, None, {part: load_part(path, part) for part in config.parts}, models)
        whole = load_expose(path, body_model=models["body"])
        return cls(config, whole, {"body": whole.body, "hand": whole.hand, "head": whole.head}, models)

    def fitted(self, part: Part, estimate: Estimate[Any]) -> Estimate[Any]:
        """A hand pulled onto its heatmaps, as the whole model does it; a head stays (its shape is not the body's)."""
        refine = None if self.whole is None else self.whole.refine
        return estimate if refine is None or part != "hand" else refine.hands(estimate, self.models["body"])

    def need(self, part: Part) -> PartRegressor[Any]:
        """One network. Raises WeightsError if the file has none for that part."""
        if part not in self.parts:
            raise WeightsError(f"these weights hold the {', '.join(self.parts)} network; this needs the {part}'s")
        return self.parts[part]


@dataclass(frozen=True, eq=False)
class BodyAnswer:
    """What the whole model says about some people; B rows."""

    rows: Sequence[int]
    params: BodyParams
    """With hands and head looked at again; the body network's own if there are no part networks."""
    own: BodyParams
    """The body network's own."""
    camera: Float[Tensor, "B 3"]
    crops: Sequence[Crop]
    heat_u: Float[Tensor, "B K 2"] | None
    """Where the body network's heatmaps see the points of its config, in [-1, 1] over the crop; None without."""

    def only(self, row: int) -> "BodyAnswer":
        """The answer about one of `rows`."""
        k = list(self.rows).index(row)
        heat = None if self.heat_u is None else self.heat_u[k : k + 1]
        params, own = (_row_of(p, k) for p in (self.params, self.own))
        return BodyAnswer((row,), params, own, self.camera[k : k + 1], (self.crops[k],), heat)

    def heat_px(self) -> Float[Tensor, "B K 2"] | None:
        """The heatmaps' points in photo pixels."""
        if self.heat_u is None:
            return None
        places = []
        for u, crop in zip(self.heat_u.double().numpy(), self.crops, strict=True):
            T = crop.T_photo_crop
            places.append((0.5 * u + 0.5) * (crop.size_px - 1) @ T[:, :2].T + T[:, 2])
        return torch.from_numpy(np.stack(places))

    def photo_px(self, points_m: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 2"]:
        """Where the weak camera sees points of the body (camera axes, about its own origin), in photo pixels."""
        points, cameras = points_m.double().numpy(), self.camera.double().numpy()
        seen = [weak_to_photo_px(p, c, crop) for p, c, crop in zip(points, cameras, self.crops, strict=True)]
        return torch.from_numpy(np.stack(seen))


@dataclass(frozen=True, eq=False)
class PartAnswer(Generic[PartParams]):
    """What a hand or head network alone says about some people; B rows."""

    rows: Sequence[int]
    params: PartParams
    camera: Float[Tensor, "B 3"]
    squares: Squares
    heat_u: Float[Tensor, "B K 2"] | None
    """Where the network's heatmaps see the points of its config, in [-1, 1] over the square; None without."""

    def only(self, row: int) -> "PartAnswer[PartParams]":
        """The answer about one of `rows`."""
        k = list(self.rows).index(row)
        heat = None if self.heat_u is None else self.heat_u[k : k + 1]
        square = Squares(self.squares.centre_px[k : k + 1], self.squares.side_px[k : k + 1])
        return PartAnswer((row,), _row_of(self.params, k), self.camera[k : k + 1], square, heat)

    def heat_px(self) -> Float[Tensor, "B K 2"] | None:
        """The heatmaps' points in photo pixels."""
        return None if self.heat_u is None else self._px(self.heat_u)

    def photo_px(self, points_m: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 2"]:
        """Where the weak camera sees points of the part, in photo pixels: the square's edges are -1 and 1."""
        return self._px(weak_project(points_m, self.camera))

    def _px(self, u: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        half_px = 0.5 * self.squares.side_px.double()[:, None, None]
        return self.squares.centre_px.double()[:, None] + half_px * u.double()


def bodies(nets: Networks, photo_of: PhotoOf, crops: Sequence[Crop], *, batch: int = 16) -> Iterator[BodyAnswer]:
    """The model on every person: row i is in `photo_of(i)`, and `crops[i]` is where the body network looks.

    Raises DataError for a crop beside its photo, WeightsError without a body network.
    """
    network = nets.need("body")
    for rows in _batches(len(crops), batch):
        here = [crops[i] for i in rows]
        look = look_at([photo_of(i) for i in rows], here)
        with torch.inference_mode():
            if nets.whole is not None:
                whole = nets.whole(look)
                yield BodyAnswer(rows, whole.params, whole.body.params, whole.camera, here, _heat_u(whole.body))
            else:
                own = network(look.crops)
                yield BodyAnswer(rows, own.params, own.params, own.camera, here, _heat_u(own))


def parts(
    nets: Networks, part: Literal["hand", "head"], photo_of: PhotoOf, squares: Squares, *, batch: int = 32
) -> Iterator[PartAnswer[Any]]:
    """One part network alone on every person, cut out as attention cuts; it starts from its own mean.

    squares: row i is looked at in `photo_of(i)`. Raises WeightsError without that network.
    """
    network = nets.need(part)
    for rows in _batches(len(squares.side_px), batch):
        here = Squares(squares.centre_px[list(rows)], squares.side_px[list(rows)])
        photos = [torch.from_numpy(photo_of(i)) for i in rows]
        with torch.inference_mode():
            estimate = nets.fitted(part, network(here.cut(photos, network.crop_px)))
            yield PartAnswer(rows, estimate.params, estimate.camera, here, _heat_u(estimate))


def picture_of(
    answer: BodyAnswer | PartAnswer[Any],
    row: int,
    model: BodyModel,
    photo: UInt8[np.ndarray, "_ _ 3"],
    *,
    true_px: Float[np.ndarray, "K 2"],
    points_m: Callable[[Posed], Tensor],
) -> UInt8[np.ndarray, "_ _ 3"]:
    """The sample for a gallery: true points and the model's over the photo, and its surface.

    row: of the data, one of `answer.rows`.  points_m: which points of a posed model are the predicted ones.
    """
    one = answer.only(row)
    with torch.inference_mode():
        posed = pose_of(model, one.params)
        pred_px = one.photo_px(points_m(posed))[0].numpy()
        vertices = posed.skin().vertices_m[0].numpy().astype(np.float64)
    if isinstance(one, BodyAnswer):
        square = one.crops[0]
    else:
        x, y = (float(v) for v in one.squares.centre_px[0])
        square = Crop((x, y), float(one.squares.side_px[0]), PANEL_PX)
    faces, camera = model.faces.numpy(), one.camera[0].double().numpy()
    return two_panels(photo, square, vertices, faces, camera, true_px=true_px.astype(np.float64), pred_px=pred_px)


def square_of_points(points_px: Float[np.ndarray, "N K 2"], scale: float) -> Squares:
    """Squares whose side is `scale` times the longer side of the points' tight box, same middle: what attention
    would give if the body network saw the points exactly. Not-a-number points are left out.
    """
    low, high = np.nanmin(points_px, 1), np.nanmax(points_px, 1)
    centre, side = (low + high) / 2, (high - low).max(-1) * scale
    return Squares(torch.from_numpy(centre).float(), torch.from_numpy(side).float())


def _row_of(params: Params, k: int) -> Params:
    """One row, its batch axis kept."""
    return type(params)(**{f.name: getattr(params, f.name)[k : k + 1] for f in fields(params)})


def pose_of(model: BodyModel, params: BodyParams | HandParams | HeadParams) -> Posed:
    """The body model in these params, about its own origin."""
    expression = None if isinstance(params, HandParams) else params.expression
    return model.shape(params.betas, expression).pose(params.R_parent_child())


def mean_body(model: BodyModel, count: int) -> BodyParams:
    """The mean pose and shape of a body model, upright and facing the camera, `count` times."""
    R = axis_angle_to_matrix(model.means["body_pose"])
    hands = {f"{s}_hand_pose": axis_angle_to_matrix(model.means[f"{s}_hand_mean"].view(15, 3)) for s in SIDES}
    one = torch.eye(3)
    return BodyParams(
        global_orient=torch.diag(torch.tensor(FACING)).expand(count, 3, 3),
        body_pose=R.expand(count, *R.shape),
        left_hand_pose=hands["left_hand_pose"].expand(count, 15, 3, 3),
        right_hand_pose=hands["right_hand_pose"].expand(count, 15, 3, 3),
        jaw_pose=one.expand(count, 3, 3),
        betas=model.means["betas"].expand(count, -1),
        expression=torch.zeros(count, model.num_expression),
    )


def mean_part(model: BodyModel, part: Literal["hand", "head"], body: BodyModel | None, count: int) -> Any:
    """The mean hand, or a neutral head that looks into the camera, `count` times.

    body: whose mean right hand is taken; without one the hand is flat.
    """
    one, facing = torch.eye(3), torch.diag(torch.tensor(FACING))
    betas = torch.zeros(count, model.num_betas)
    if part == "head":
        expression = torch.zeros(count, model.num_expression)
        return HeadParams(facing.expand(count, 3, 3), one.expand(count, 3, 3), betas, expression)
    flat = torch.zeros(15, 3) if body is None else body.means["right_hand_mean"].view(15, 3)
    fingers = axis_angle_to_matrix(flat).expand(count, 15, 3, 3)
    return HandParams(one.expand(count, 3, 3), fingers, betas)


def boxed_px(points_m: Float[Tensor, "B K 3"], true_px: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
    """Points seen along z, scaled and moved so that their tight box has the middle and longer side of the true one's.

    "The mean pose in the right box." Points whose true place is not a number are left out of both boxes.
    """
    seen, true = points_m[..., :2].double(), true_px.double()
    known = ~torch.isnan(true)

    def tight(points: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(known, points, torch.inf).amin(1), torch.where(known, points, -torch.inf).amax(1)

    (low, high), (low_px, high_px) = tight(seen), tight(true)
    scale = (high_px - low_px).amax(-1) / (high - low).amax(-1)
    return (seen - ((low + high) / 2)[:, None]) * scale[:, None, None] + ((low_px + high_px) / 2)[:, None]


def heat_rows(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Rows of the wanted points among a config's heatmap points; None if any is missing."""
    return [list(names).index(n) for n in wanted] if set(wanted) <= set(names) else None


def _heat_u(estimate: Estimate[Any]) -> Tensor | None:
    return None if estimate.points is None else estimate.points.sharpened().at_u


def _batches(count: int, batch: int) -> list[range]:
    return [range(i, min(i + batch, count)) for i in range(0, count, batch)]
