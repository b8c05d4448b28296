"""Human3.6M: joints of the training subjects in camera frames, every fifth frame of all four cameras (spec 6.2).

3D joints are relative to the first one. With them come the 2D joints, unless the reference's quirks are asked for.
Boxes surround the silhouettes, nine tenths as wide and high.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.data.convert.common import (
    Job,
    Options,
    Problem,
    need_folder,
    photo_problem,
)
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers.cdf import read_cdf
from openexpose.readers.hdf5 import Hdf5
from openexpose.skeleton import Skeleton

SUBJECTS = (1, 5, 6, 7, 8)
STEP = 5
"""Frames from one row to the next: ten in a second."""
JOINTS = (11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27)
"""Rows of the 32 joints that are kept."""
BOX_SHARE = 0.9
POSES_3D, POSES_2D, MASKS = "MyPoseFeatures/D3_Positions_mono", "MyPoseFeatures/D2_Positions", (
    "MySegmentsMat/ground_truth_bs"
)  # fmt: skip


def jobs(output: str, options: Options) -> Sequence[Job]:
    """One piece for each sequence and camera; a subject that is missing becomes a piece that says so."""
    out: list[Job] = []
    for subject in (f"S{n}" for n in SUBJECTS):
        folder = options.root / subject
        poses = sorted((folder / POSES_3D).glob("*.cdf")) if folder.is_dir() else []
        if not poses:
            out.append(Job(subject, (folder / POSES_3D,), (subject, "")))
        for pose in poses:
            if pose.stem.startswith("_ALL"):
                continue
            files = (pose, folder / POSES_2D / pose.name, folder / MASKS / f"{pose.stem}.mat")
            out.append(Job(f"{subject} {pose.stem}", files, (subject, pose.stem)))
    if not any(job.args[1] for job in out):
        raise DataError(f"{options.root} has no poses at S1/{POSES_3D}/*.cdf; see docs/data.md")
    return out


def load(output: str, options: Options) -> None:
    """Nothing is shared."""


def rows(job: Job, loaded: None, options: Options) -> Iterator[Record | Problem]:
    """Yield every fifth frame of a sequence."""
    subject, sequence = map(str, job.args)
    if not sequence:
        raise DataError(f"{job.sources[0]} has no .cdf files: subject {subject} is missing")
    path_3d, path_2d, path_masks = job.sources
    names = _PhotoNames(options, subject, sequence)
    points_m = _poses(path_3d, 3)[:, JOINTS] / 1000
    points_m = points_m - points_m[:, :1]
    points_px = None if options.reference_quirks else _poses(path_2d, 2)[:, JOINTS]
    if points_px is not None and len(points_px) != len(points_m):
        raise DataError(f"{path_2d} has {len(points_px):,} frames, {path_3d} has {len(points_m):,}")
    skeleton = Skeleton.read("h36m_smplx" if options.reference_quirks else "h36m_train")
    sure = np.ones((len(JOINTS), 1))
    with Hdf5(path_masks) as masks:
        cells = masks.read("Masks").ravel()
        for i in range(0, min(len(points_m), len(cells)), STEP):
            photo = names.of(i)
            problem = photo_problem(options.root / photo) if options.photos else None
            box = silhouette_box(masks.read_at(int(cells[i])).T)
            if problem is None and box is None:
                problem = Problem(f"{path_masks}, frame {i}", "silhouette is empty; row left out")
            yield problem or Record(
                photo,
                box,
                keypoints2d=None if points_px is None else Keypoints(skeleton, np.hstack([points_px[i], sure])),
                keypoints3d=Keypoints(skeleton, np.hstack([points_m[i], sure])),
            )
    if len(cells) < len(points_m):
        yield Problem(str(path_masks), f"{len(cells):,} silhouettes for {len(points_m):,} frames; the rest left out")


def silhouette_box(mask: np.ndarray) -> Float[np.ndarray, "4"] | None:
    """Return left, top, width, height around the pixels that are set, shrunk about its middle; None if none is set."""
    seen = mask.reshape(*mask.shape[:2], -1)[..., 0] == 1
    columns, lines = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
    if not len(columns):
        return None
    low = np.array([columns[0], lines[0]], np.float64)
    size = np.array([columns[-1], lines[-1]]) + 1 - low
    return np.concatenate([low + size * (1 - BOX_SHARE) / 2, size * BOX_SHARE])


class _PhotoNames:
    """Paths of a sequence's photos, in whichever of the usual ways the videos were unpacked."""

    FORMS = (
        "{s}/images/{s}_{q}/{s}_{q}_{n:06d}.jpg",
        "{s}/images/{s}_{q}/{s}_{q}_{n:05d}.jpg",
        "{s}/images/{s}_{q}_{n:06d}.jpg",
    )

    def __init__(self, options: Options, subject: str, sequence: str) -> None:
        self.subject, self.sequence = subject, sequence.replace(" ", "_")
        self.form = self.FORMS[0]
        if options.photos:
            need_folder(options.root / subject / "images", "the photos of the videos (or give --no-photos)")
            there = (f for f in self.FORMS if (options.root / self._filled(f, 0)).is_file())
            self.form = next(there, self.form)

    def of(self, frame: int) -> str:
        return self._filled(self.form, frame)

    def _filled(self, form: str, frame: int) -> str:
        return form.format(s=self.subject, q=self.sequence, n=frame + 1)


def _poses(path: Path, width: int) -> Float[np.ndarray, "F 32 W"]:
    """The 32 joints of each frame, as stored: millimetres or pixels."""
    variables = read_cdf(path)
    pose = variables.get("Pose")
    if pose is None or pose.ndim != 3 or len(pose) != 1 or pose.shape[2] != 32 * width:
        found = {k: v.shape for k, v in variables.items()}
        raise DataError(f"{path} should hold Pose, 1 x frames x {32 * width}, but holds {found}")
    return pose[0].astype(np.float64).reshape(-1, 32, width)
