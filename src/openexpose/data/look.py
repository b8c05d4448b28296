"""Contact sheets of a data set: photo with box and keypoints, crops as trained on, and the body where it is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose import images
from openexpose.body import BodyModel
from openexpose.body.params import join_pose
from openexpose.data.augment import AugmentConfig
from openexpose.data.dataset import HumanDataStore, Samples
from openexpose.data.record import Record
from openexpose.data.sample import Sample
from openexpose.data.targets import PARAM_FAMILIES
from openexpose.errors import DataError
from openexpose.geometry.affine import moved, resample
from openexpose.geometry.camera import PerspectiveCamera, WeakCamera
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.render.overlay import PALETTE, composite, draw_bones, draw_keypoints
from openexpose.render.raycast import render
from openexpose.render.scene import BLUE
from openexpose.render.sheet import sheet
from openexpose.skeleton import Skeleton

Picture = UInt8[np.ndarray, "H W 3"]

_LEFT, _RIGHT, _MIDDLE = PALETTE[1], PALETTE[0], PALETTE[2]
"""The person's own sides, so that a mirrored label shows at once."""
_BOX_RGB = (250, 220, 60)


@dataclass(frozen=True)
class LookConfig:
    """What a sheet shows."""

    versions: int = 3
    """Augmented versions of each row."""
    cell_px: int = 256
    """Side of each picture."""


@dataclass(frozen=True)
class Sheet:
    """A contact sheet and what could not be shown on it."""

    picture: Picture
    skipped: tuple[str, ...]
    """One message for each bad row that another one replaces."""


def contact_sheet(samples: Samples, rows: Sequence[int], cfg: LookConfig, model: BodyModel | None = None) -> Sheet:
    """Return a sheet with one line for each row: the photo, the plain crop, augmented crops, and the body on them.

    model: body model of the rows' params; None draws no meshes.
    Raises DataError as `Samples.sample`.
    """
    plain = replace(samples.augment, **{f: getattr(AugmentConfig(), f) for f in _VARIED})
    calm = Samples(
        samples.store, samples.layout, plain, seed=samples.seed, box_scale=samples.box_scale, on_error=samples.on_error
    )
    pictures: list[Picture] = []
    captions: list[str] = []
    skipped: list[str] = []
    for row in rows:
        first = calm.sample(row, epoch=0, index=row)
        skipped += first.skipped
        pictures += [
            photo_panel(samples, first.row, cfg.cell_px),
            crop_panel(first, samples.layout.skeleton, cfg.cell_px),
        ]
        captions += [f"{first.row}: {first.photo}", "crop"]
        record = _whole_record(samples, first.row)
        if _has_mesh(record):
            pictures.append(vertices_panel(first, record, model, cfg.cell_px))
            captions.append("vertices of the row")
        elif model is not None and record.family not in PARAM_FAMILIES:
            pictures.append(boxed_panel(first, record, model, cfg.cell_px))
            captions.append("params of the row, put into its box")
        elif model is not None:
            pictures.append(mesh_panel(first, samples.layout.skeleton, model, cfg.cell_px))
            captions.append("params of the row")
        for version in range(cfg.versions):
            one = samples.sample(first.row, epoch=version, index=first.row)
            panel = crop_panel(one, samples.layout.skeleton, cfg.cell_px)
            shown = samples.layout.skeleton
            pictures.append(panel if model is None else mesh_panel(one, shown, model, cfg.cell_px, over=panel))
            captions.append(f"augmented, epoch {version}")
    picture = sheet(pictures, columns=len(pictures) // len(rows), captions=captions, title=samples.store.name)
    return Sheet(picture, tuple(skipped))


_VARIED = (
    "centre_jitter", "flip", "scale", "turn", "channel_noise", "low_res", "truncate", "degrade",
)  # fmt: skip


def photo_panel(samples: Samples, row: int, cell_px: int) -> Picture:
    """Return a row's whole photo in a square, with the person's box and known keypoints."""
    record, source = samples.store.row(row), samples.store.photo(row)
    width, height = images.photo_size(source, name=record.photo)
    scale = cell_px / max(width, height)
    decoded = images.decode(source, density=min(scale, 1.0), name=record.photo)
    k = scale / decoded.T_decoded_photo[0, 0]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    panel = resample(decoded.rgb, np.array([[k, 0, 0.5 * k - 0.5], [0, k, 0.5 * k - 0.5]]), size)
    T = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5]])
    if record.box_xywh_px is not None:
        x, y, w, h = record.box_xywh_px
        lo, hi = (tuple(round(float(v)) for v in p) for p in moved(T, np.array([[x, y], [x + w, y + h]])))
        panel = np.asarray(cv2.rectangle(panel, lo, hi, _BOX_RGB, 1, cv2.LINE_AA))
    if record.keypoints2d is None:
        return panel
    xyc = record.keypoints2d.xyc
    return _drawn(panel, np.where(xyc[:, 2:] > 0, moved(T, xyc[:, :2]), np.nan), record.keypoints2d.skeleton)


def crop_panel(sample: Sample, skeleton: Skeleton, cell_px: int) -> Picture:
    """Return a sample's crop with its 2D targets."""
    scale = cell_px / sample.crop.shape[0]
    panel = _plain(sample, cell_px)
    xyc = sample.targets["keypoints2d"].value.numpy().astype(np.float64)
    return _drawn(panel, np.where(xyc[:, 2:] > 0, (xyc[:, :2] + 0.5) * scale - 0.5, np.nan), skeleton)


def mesh_panel(
    sample: Sample, skeleton: Skeleton, model: BodyModel, cell_px: int, over: Picture | None = None
) -> Picture:
    """Return the body that a sample's params describe, laid over its crop (or over a picture of the same square).

    skeleton: convention of the sample's 2D targets. Data sets store no camera: the one that fits the body's points to
    the targets of the same names best is used. Without such keypoints or params the picture comes back without a body.
    """
    panel = _plain(sample, cell_px) if over is None else over
    known = {n: t.value[None] for n, t in sample.targets.items() if float(t.weight) > 0}
    if "global_orient" not in known:
        return panel
    names = {"right_hand_pose": "hand_pose"} if model.family == "mano" else {}
    blocks = {
        names.get(n, n): v if v.ndim == 4 else v[:, None] for n, v in known.items() if n.endswith(("pose", "orient"))
    }
    betas = _sized(known.get("betas"), model.num_betas)
    expression = _sized(known.get("expression"), model.num_expression)
    mesh = model.shape(betas, expression).pose(join_pose(model.family, blocks), torch.zeros(1, 3)).skin()
    target = sample.targets["keypoints2d"].value.numpy().astype(np.float64)
    place = {name: k for k, name in enumerate(skeleton.names)}
    shared = [(k, place[name]) for k, name in enumerate(model.keypoint_names) if name in place]
    here, there = np.array(shared, np.int64).reshape(-1, 2).T
    try:
        points_m = mesh.keypoints_m()[0].numpy().astype(np.float64)
        camera = fitted_camera(points_m[here], target[there], sample.crop.shape[0])
    except DataError:
        return panel
    k = cell_px / sample.crop.shape[0]
    T = np.array([[k, 0, 0.5 * k - 0.5], [0, k, 0.5 * k - 0.5], [0, 0, 1]])
    camera = camera.moved(T, width_px=cell_px, height_px=cell_px)
    rendered = render(mesh.vertices_m[0].numpy(), mesh.faces.numpy(), camera, material=BLUE)
    return composite(panel, rendered, opacity=0.75)


def vertices_panel(sample: Sample, record: Record, model: BodyModel | None, cell_px: int) -> Picture:
    """Return the mesh that a row holds (`vertices`, `cam_param`: K, R, T) where its camera sees it in the plain crop.

    As a surface if the model has as many vertices, else as dots.
    """
    panel, T = _plain(sample, cell_px), _T_cell_photo(sample, cell_px)
    motion = np.eye(4)
    motion[:3, :3] = np.asarray(record.extras["cam_param/R"], np.float64)
    motion[:3, 3] = np.asarray(record.extras["cam_param/T"], np.float64)
    vertices_m = np.asarray(record.extras["vertices"], np.float64)
    camera = PerspectiveCamera(T @ np.asarray(record.extras["cam_param/K"]), motion, cell_px, cell_px)
    if model is not None and len(vertices_m) == model.num_vertices:
        return composite(panel, render(vertices_m, model.faces.numpy(), camera, material=BLUE), opacity=0.75)
    some = camera.project(vertices_m[:: max(1, len(vertices_m) // 1500)])
    return draw_keypoints(panel, some, colours=[_LEFT] * len(some), radius_px=0.8)


def boxed_panel(sample: Sample, record: Record, model: BodyModel, cell_px: int) -> Picture:
    """Return the body of SMPL params, which have no place of their own, filling the row's box.

    A SMPL-X model takes the 21 joints that the two share.
    """
    panel = _plain(sample, cell_px)
    if not {"global_orient", "body_pose"} <= set(record.params) or record.box_xywh_px is None:
        return panel
    joints = 23 if model.family == "smpl" else 21
    R = {k: axis_angle_to_matrix(torch.from_numpy(np.asarray(v).reshape(-1, 3)[:joints]).float()[None])
         for k, v in record.params.items() if k in ("global_orient", "body_pose")}  # fmt: skip
    betas = torch.from_numpy(np.asarray(record.params["betas"])).float()[None] if "betas" in record.params else None
    mesh = model.shape(_sized(betas, model.num_betas)).pose(join_pose(model.family, R), torch.zeros(1, 3)).skin()
    vertices_m = mesh.vertices_m[0].numpy().astype(np.float64)
    x, y, w, h = record.box_xywh_px
    lo, hi = moved(_T_cell_photo(sample, cell_px)[:2], np.array([[x, y], [x + w, y + h]]))
    low, high = vertices_m[:, :2].min(0), vertices_m[:, :2].max(0)
    scale = 2 / (cell_px - 1) * float((hi - lo).max() / (high - low).max())
    tx, ty = ((lo + hi) / (cell_px - 1) - 1) / scale - (low + high) / 2
    camera = WeakCamera.in_crop(scale, float(tx), float(ty), side_px=cell_px)
    return composite(panel, render(vertices_m, mesh.faces.numpy(), camera, material=BLUE), opacity=0.75)


def _sized(values: Tensor | None, want: int) -> Tensor:
    """The first `want` coefficients, zero where a row knows fewer: (1, want)."""
    out = torch.zeros(1, want)
    if values is not None:
        out[:, : values.shape[1]] = values[:, :want]
    return out


def _whole_record(samples: Samples, row: int) -> Record:
    """A row with whatever else its file holds."""
    store = samples.store
    return store.data.row(row, extras=True) if isinstance(store, HumanDataStore) else store.row(row)


def _has_mesh(record: Record) -> bool:
    return {"vertices", "cam_param/K", "cam_param/R", "cam_param/T"} <= set(record.extras)


def _plain(sample: Sample, cell_px: int) -> Picture:
    return np.asarray(cv2.resize(sample.crop.numpy(), (cell_px, cell_px), interpolation=cv2.INTER_AREA), np.uint8)


def _T_cell_photo(sample: Sample, cell_px: int) -> Float[np.ndarray, "3 3"]:
    """Pixels of the photo -> pixels of a panel that shows the sample's crop."""
    k = cell_px / sample.crop.shape[0]
    T_cell_crop = np.array([[k, 0, 0.5 * k - 0.5], [0, k, 0.5 * k - 0.5], [0, 0, 1]])
    return T_cell_crop @ np.vstack([sample.T_crop_photo.numpy().astype(np.float64), [0, 0, 1]])


def fitted_camera(points_m: Float[np.ndarray, "K 3"], xyc_px: Float[np.ndarray, "K 3"], crop_px: int) -> WeakCamera:
    """Return the weak camera that maps points to crop pixels best in the least-squares sense, weighted by confidence.

    Raises DataError with fewer than three known points, or if the best camera would mirror the body.
    """
    weight = np.sqrt(np.maximum(xyc_px[:, 2], 0))
    if (weight > 0).sum() < 3:
        raise DataError(f"{int((weight > 0).sum())} known keypoints; a camera needs three")
    u = 2 * xyc_px[:, :2] / (crop_px - 1) - 1
    one, zero = np.ones(len(u)), np.zeros(len(u))
    A = np.concatenate([np.column_stack([points_m[:, 0], one, zero]), np.column_stack([points_m[:, 1], zero, one])])
    w = np.tile(weight, 2)
    (s, a, b), *_ = np.linalg.lstsq(A * w[:, None], np.concatenate([u[:, 0], u[:, 1]]) * w, rcond=None)
    if s <= 1e-6:
        raise DataError("no camera fits: params and keypoints of this row contradict each other")
    return WeakCamera.in_crop(float(s), float(a / s), float(b / s), side_px=crop_px)


def _drawn(panel: Picture, points_px: Float[np.ndarray, "K 2"], skeleton: Skeleton) -> Picture:
    sides = {"left": _LEFT, "right": _RIGHT}
    colours = [sides.get(n.partition("_")[0], _MIDDLE) for n in skeleton.names]
    bones = [b for b in skeleton.bones if np.isfinite(points_px[list(b)]).all()]
    if bones:
        panel = draw_bones(panel, points_px, bones, colours=[colours[i] for i, _ in bones], thickness_px=1)
    small = np.isfinite(points_px).all(1).sum() > 40
    return draw_keypoints(panel, points_px, colours=colours, radius_px=1.2 if small else 2.5)
