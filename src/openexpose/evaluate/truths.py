"""The truth of each benchmark, from its HumanData file and the licensed body models, ready to be scored against."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body import Posed
from openexpose.body.load import load_arrays, load_model
from openexpose.data.convert.ehf import R_CAMERA_SCAN
from openexpose.data.convert.stirling import read_obj_vertices
from openexpose.data.humandata import HumanData
from openexpose.data.record import Keypoints
from openexpose.data.targets import misnamed_hand
from openexpose.errors import DataError
from openexpose.evaluate import ehf, freihand, pw3d, stirling
from openexpose.evaluate.score import Outcome
from openexpose.evaluate.score import Protocol as Figures
from openexpose.evaluate.sitters import Sitters
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton

Quality = Literal["HQ", "LQ"]
Pose = Callable[[slice], Posed]
"""Rows -> the predicted bodies, hands or heads, posed."""
AT_ONCE = 512
"""People posed together where only joints are wanted."""
FITS_MM = 10.0
"""FreiHAND: how far stored joints may be from those that the stored parameters give, after wrist on wrist."""


@runtime_checkable
class Truth(Protocol):
    """What predictions of one benchmark are held against."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files it was read from, besides the HumanData file."""

    def outcome(self, pose: Pose, protocol: Figures) -> Outcome:
        """The benchmark's figures. pose: the predictions."""

    def true_px(self, row: int) -> Float[np.ndarray, "K 2"]:
        """Where the points of `points_m` truly are in the photo; not a number where that is unknown."""

    def points_m(self, posed: Posed) -> Float[Tensor, "*B K 3"]:
        """The points of a prediction that a picture shows."""


@dataclass(frozen=True, eq=False)
class Pw3d:
    """3DPW: joints of posed SMPL meshes. `jointPositions` of the raw files play no part."""

    joints_m: Float[Tensor, "N 14 3"]
    truth: pw3d.Truth
    files: tuple[Path, ...]

    @classmethod
    def read(cls, people: Sitters, models: Mapping[str, Path], *, truth: pw3d.Truth) -> "Pw3d":
        """models: "male" and "female", or "neutral" -> a SMPL file with J_regressor_h36m.npy beside it.

        Raises AssetError (file), DataError (rows without SMPL params or gender).
        """
        loaded = {g: load_model(p, family="smpl", gender=g, dtype=torch.float64) for g, p in models.items()}
        data, N = people.data, len(people)
        orient = _column(data, "smpl/global_orient", N, (1, 3))
        body = _column(data, "smpl/body_pose", N, (23, 3))
        betas = torch.from_numpy(_column(data, "smpl/betas", N, (10,)))
        aa = torch.from_numpy(np.concatenate([orient, body], 1))
        genders = [str(g) for g in data.column("meta/gender")[:N]]
        pieces = []
        for k in range(0, N, AT_ONCE):
            rows = slice(k, min(k + AT_ONCE, N))
            R = axis_angle_to_matrix(aa[rows])
            pieces.append(pw3d.true_joints_m(loaded, betas[rows], R, truth=truth, genders=genders[rows]))
        return cls(torch.cat(pieces), truth, tuple(models.values()))

    def outcome(self, pose: Pose, protocol: Figures) -> Outcome:
        """See `Truth`."""
        N = len(self.joints_m)
        rows = [slice(k, min(k + AT_ONCE, N)) for k in range(0, N, AT_ONCE)]
        pred = torch.cat([pw3d.predicted_joints_m(pose(r)) for r in rows])
        return pw3d.outcome(pred.double(), self.joints_m, protocol=protocol, truth=self.truth)

    def true_px(self, row: int) -> Float[np.ndarray, "K 2"]:
        """Unknown: the file has no 2D points, and the person's place is not stored."""
        return np.full((14, 2), np.nan)

    def points_m(self, posed: Posed) -> Float[Tensor, "*B K 3"]:
        """The 14 joints."""
        return pw3d.predicted_joints_m(posed)


@dataclass(frozen=True, eq=False)
class Ehf:
    """EHF: SMPL-X meshes, and for the paper's P2S the scans beside the photos where they are."""

    people: Sitters
    anatomy: ehf.Anatomy
    vertices_m: Float[Tensor, "N V 3"]
    files: tuple[Path, ...]

    @classmethod
    def read(cls, people: Sitters, model: Path) -> "Ehf":
        """model: a SMPL-X file with the vertex ids of hands and head beside it. Raises AssetError, DataError."""
        anatomy = ehf.Anatomy.of(load_arrays(model, family="smplx", num_betas=10, num_expression=10))
        V = anatomy.J_regressor.shape[1]
        vertices = torch.from_numpy(_column(people.data, "vertices", len(people), (V, 3)))
        return cls(people, anatomy, vertices, (model,))

    @cached_property
    def scans(self) -> tuple[Path, ...]:
        """Scan files, one a row; none if the data set was unpacked without them.

        Raises DataError if only some of them are there.
        """
        paths = [self.people.photos / n.replace("_img.jpg", "_scan.obj") for n in self.people.names]
        there = [p for p in paths if p.is_file() and p.suffix == ".obj"]
        if there and len(there) < len(paths):
            lost = next(p for p in paths if p not in there)
            raise DataError(f"{len(there)} of {len(paths)} scans of EHF are there, {lost} is not: unpack EHF.zip again")
        return tuple(there)

    def outcome(self, pose: Pose, protocol: Figures) -> Outcome:
        """See `Truth`."""
        pred = pose(slice(None)).skin().vertices_m
        scans = _Lazy(len(self.scans), self._scan) if protocol == "paper" and self.scans else None
        out = ehf.outcome(self.anatomy, pred, self.vertices_m, protocol=protocol, scans_m=scans)
        if protocol == "paper" and scans is None:
            out = _also(out, "P2S is left out: the scans (01_scan.obj, ...) are not beside the photos")
        return out

    def _scan(self, row: int) -> Float[np.ndarray, "S 3"]:
        return read_obj_vertices(self.scans[row]) @ R_CAMERA_SCAN.T

    def true_px(self, row: int) -> Float[np.ndarray, "K 2"]:
        """OpenPose's points, which are what the file has."""
        return _seen_px(self.people.data.row(row).keypoints2d, Skeleton.read("smplx"))

    def points_m(self, posed: Posed) -> Float[Tensor, "*B K 3"]:
        """All keypoints."""
        return posed.keypoints_m()


@dataclass(frozen=True, eq=False)
class FreiHand:
    """FreiHAND: joints in the camera's frame, and MANO on the stored parameters."""

    people: Sitters
    joints_m: Float[Tensor, "N 21 3"]
    vertices_m: Float[Tensor, "N V 3"]
    said: tuple[str, ...]
    misnamed: bool
    files: tuple[Path, ...]

    @classmethod
    def read(cls, people: Sitters, model: Path) -> "FreiHand":
        """model: a right MANO. Finds out whether fingers carry wrong names, as in the reference's files.

        Raises DataError if joints and parameters do not belong together under either naming: then the mean hand was
        not added, or the model is another.
        """
        mano, N, data = load_model(model, family="mano", dtype=torch.float64), len(people), people.data
        names = ("global_orient", "right_hand_pose", "betas")
        shapes: tuple[tuple[int, ...], ...] = ((1, 3), (15, 3), (10,))
        orient, pose, betas = (
            torch.from_numpy(_column(data, f"smplx/{n}", N, s)) for n, s in zip(names, shapes, strict=True)
        )
        vertices = freihand.true_vertices_m(mano, betas, orient[:, 0], pose)
        made = mano.shape(betas).pose(axis_angle_to_matrix(torch.cat([orient, pose], 1))).keypoints_m().numpy()
        stored = [data.row(i).keypoints3d for i in range(N)]
        if any(s is None for s in stored):
            raise DataError(f"{data.path} has no keypoints3d; convert FreiHAND again")
        readings = {wrong: np.stack([_hand(s, wrong) for s in stored if s is not None]) for wrong in (False, True)}
        off_mm = {wrong: _off_mm(points, made) for wrong, points in readings.items()}
        misnamed = min(off_mm, key=lambda w: off_mm[w])
        if off_mm[misnamed] > FITS_MM:
            raise DataError(
                f"{data.path}: joints are {off_mm[misnamed]:.1f} mm from those of its MANO parameters; was it "
                "converted without MANO's mean hand (all_means.pkl), or is the body model another? Convert it again"
            )
        said = [f"stored joints and parameters agree to {off_mm[misnamed]:.2f} mm (wrist on wrist)"]
        if misnamed:
            said.append("the file's fingers carry wrong names, the reference's quirk; they were read in FreiHAND order")
        joints = torch.from_numpy(readings[misnamed])
        return cls(people, joints, vertices, tuple(said), misnamed, (model,))

    def outcome(self, pose: Pose, protocol: Figures) -> Outcome:
        """See `Truth`."""
        posed = pose(slice(None))
        return _also(freihand.outcome(posed, self.joints_m, self.vertices_m, protocol=protocol), *self.said)

    def true_px(self, row: int) -> Float[np.ndarray, "K 2"]:
        """Projected joints, as stored."""
        points = self.people.data.row(row).keypoints2d
        if points is not None and self.misnamed:
            points = misnamed_hand(points)
        return _seen_px(points, Skeleton.read("freihand"))

    def points_m(self, posed: Posed) -> Float[Tensor, "*B K 3"]:
        """The 21 joints in FreiHAND order."""
        return posed.keypoints_m()


@dataclass(frozen=True, eq=False)
class Stirling:
    """Stirling/ESRC: a landmarked scan in millimetres for each photo."""

    people: Sitters
    quality: Quality
    files: tuple[Path, ...] = ()

    def scan(self, row: int) -> stirling.Scan:
        """Of one photo's subject. Raises DataError without all seven landmarks."""
        record = self.people.data.row(row, extras=True)
        points, marks = record.extras.get("vertices"), record.keypoints3d
        face = Skeleton.read("face3d")
        xyzc = None if marks is None else marks.as_skeleton(face).xyc
        if points is None or xyzc is None or not (xyzc[:, 3] > 0).all():
            raise DataError(f"{self.people.names[row]}: its row lacks the scan or one of the seven landmarks")
        return stirling.Scan(np.asarray(points, np.float64), xyzc[:, :3])

    def outcome(self, pose: Pose, protocol: Figures) -> Outcome:
        """See `Truth`."""
        scans = _Lazy(len(self.people), self.scan)
        return stirling.outcome(pose(slice(None)), scans, protocol=protocol, quality=self.quality)

    def true_px(self, row: int) -> Float[np.ndarray, "K 2"]:
        """Unknown: landmarks are of the scan, not of the photo."""
        return np.full((7, 2), np.nan)

    def points_m(self, posed: Posed) -> Float[Tensor, "*B K 3"]:
        """The seven landmarks."""
        names = posed.shaped.model.keypoint_names
        return posed.keypoints_m()[..., [names.index(n) for n in Skeleton.read("face3d").names], :]


class _Lazy(Sequence[Any]):
    """Items that are read when asked for: scans of all photos together would not fit the memory."""

    def __init__(self, count: int, read: Callable[[int], Any]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._read(index)

    def __iter__(self) -> Iterator[Any]:
        return (self._read(i) for i in range(self._count))


def _column(data: HumanData, key: str, count: int, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """The first rows of a column as (count, *shape); files of the reference differ in axes of length 1."""
    found = np.array(data.column(key)[:count], np.float64)  # torch takes no read-only arrays
    try:
        out = found.reshape(count, *shape)
    except ValueError as e:
        raise DataError(f"{data.path}: {key} has rows of shape {found.shape[1:]}, the benchmark's have {shape}") from e
    if not np.isfinite(out).all():
        raise DataError(f"{data.path}: {key} holds values that are not finite; `openexpose data check` lists the rows")
    return out


def _hand(points: Keypoints, wrong_names: bool) -> Float[np.ndarray, "21 3"]:
    right = misnamed_hand(points) if wrong_names else points.as_skeleton(Skeleton.read("freihand"))
    return right.xyc[:, :3]


def _off_mm(a: Float[np.ndarray, "N 21 3"], b: Float[np.ndarray, "N 21 3"]) -> float:
    moved = (a - a[:, :1]) - (b - b[:, :1])
    return float(np.linalg.norm(moved, axis=-1).mean() * 1000)


def _seen_px(points: Keypoints | None, skeleton: Skeleton) -> Float[np.ndarray, "K 2"]:
    if points is None:
        return np.full((len(skeleton), 2), np.nan)
    xyc = points.as_skeleton(skeleton).xyc
    return np.where(xyc[:, 2:] > 0, xyc[:, :2], np.nan)


def _also(outcome: Outcome, *lines: str) -> Outcome:
    return replace(outcome, said=(*outcome.said, *lines))
