"""The CPU's eyes: what `render.raster.rasterise` answers, found by embreex rays through the pixels."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openexpose.geometry.camera import PerspectiveCamera
from openexpose.render.raster import Fragments
from openexpose.render.rays import rays
from openexpose.render.scene import Mesh, Scene


def look(
    points_m: Float[Tensor, "M V 3"],
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "M 3 3"],
    picture: Int[Tensor, " M"],
    *,
    pictures: int,
    width_px: int,
    height_px: int,
) -> Fragments:
    """What B = `pictures` cameras see of M meshes; arguments and answer are those of `rasterise`."""
    mesh = torch.full((pictures, height_px, width_px), -1, dtype=torch.int64)
    face = mesh.clone()
    bary = torch.zeros((pictures, height_px, width_px, 3))
    depth = torch.full((pictures, height_px, width_px), torch.inf)
    triangles = faces.numpy()
    for b in range(pictures):
        rows = torch.nonzero(picture == b)[:, 0].tolist()
        parts, owners = [], []
        for r in rows:
            vertices = points_m[r].numpy()
            whole = np.isfinite(vertices).all(1)[triangles].all(1)
            parts.append((np.nan_to_num(vertices), np.flatnonzero(whole)))
            owners.append(r)
        meshes = [Mesh(v, triangles[keep]) for v, keep in parts if len(keep)]
        if not meshes:
            continue
        scene = Scene(meshes)
        window = _window(scene, K[rows[0]], width_px, height_px)
        if window is None:
            continue
        x0, y0, x1, y1 = window
        c, r_ = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        camera = PerspectiveCamera(K[rows[0]].double().numpy(), np.eye(4), width_px, height_px)
        hits = scene.cast(*rays(camera, np.stack([c.ravel(), r_.ravel()], 1).astype(np.float64), 0.0))
        hit = np.flatnonzero(hits.face >= 0)
        which = scene.mesh_of_face[hits.face[hit]]
        own = hits.face[hit] - scene.first_face[which]
        kept = [keep for _, keep in parts if len(keep)]
        there = [o for o, (_, keep) in zip(owners, parts, strict=True) if len(keep)]
        number = np.zeros(len(hit), np.int64)
        for k, keep in enumerate(kept):
            number[which == k] = keep[own[which == k]]
        at = (b, torch.from_numpy(r_.ravel()[hit]), torch.from_numpy(c.ravel()[hit]))
        mesh[at] = torch.tensor(there)[torch.from_numpy(which.astype(np.int64))]
        face[at] = torch.from_numpy(number)
        bary[at] = torch.from_numpy(hits.bary[hit])
        depth[at] = torch.from_numpy(hits.t[hit])
    return Fragments(mesh, face, bary, depth)


def _window(scene: Scene, K: Tensor, width_px: int, height_px: int) -> tuple[int, int, int, int] | None:
    """Columns and rows that can show the meshes: left, top, and one beyond right and bottom."""
    used = np.zeros(len(scene.vertices), bool)
    used[scene.faces] = True
    v = scene.vertices[used].astype(np.float64)
    if v[:, 2].min() < 0.02:
        return 0, 0, width_px, height_px
    px = v @ K.double().numpy().T
    px = px[:, :2] / px[:, 2:]
    x0, y0 = np.clip(np.floor(px.min(0)), 0, [width_px, height_px]).astype(int)
    x1, y1 = np.clip(np.ceil(px.max(0)) + 1, 0, [width_px, height_px]).astype(int)
    return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None
