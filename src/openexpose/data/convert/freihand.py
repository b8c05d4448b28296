"""FreiHAND (version 2): right hands before four backgrounds, with MANO parameters and 21 joints.

Poses in the files are relative to MANO's mean hand; it is added here, so that stored poses are absolute like all others
(spec 6.2). Raw tree: docs/data.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openexpose.body.load import load_arrays
from openexpose.body.side_files import read_means
from openexpose.data.convert.common import Job, Options, Problem, chunks, need_file, need_folder, photo_problem
from openexpose.data.record import Keypoints, Record
from openexpose.errors import DataError
from openexpose.readers.json_files import numbers, read_json
from openexpose.skeleton import Skeleton

VERSIONS = 4
"""Photos of each training hand: photo i shows annotation i mod N."""
TRAIN_SHARE = 0.8
SIDE_PX = 224
_FOLDER = {"freihand_train": "training", "freihand_val": "training", "freihand_test": "evaluation"}
_MANO = 61
"""48 angles, 10 betas, the root in pixels, a scale."""


@dataclass(frozen=True, eq=False)
class Hands:
    """The annotations of one set, and its photos."""

    folder: str
    photos: tuple[int, ...]
    """Photo i shows annotation i mod N."""
    joints_m: NDArray[np.float64]
    """(N, 21, 3), FreiHAND's order, camera frame."""
    joints_px: NDArray[np.float64]
    """(N, 21, 2)."""
    mano: NDArray[np.float64]
    """(N, 61)."""
    mean_pose_rad: NDArray[np.float64]
    """(15, 3) what the poses are relative to."""


def jobs(output: str, options: Options) -> Sequence[Job]:
    """Return pieces of the photos of a set. DataError if photos or annotations are not there."""
    name = _FOLDER[output]
    if options.photos:
        need_folder(options.root / name / "rgb", f"FreiHAND's photos; --no-photos does without ({output})")
    sources = tuple(_file(options.root, name, key) for key in ("K", "xyz", "mano"))
    return chunks(len(load(output, options).photos), sources)


def load(output: str, options: Options) -> Hands:
    """Return the annotations of a set. DataError if they contradict each other or the mean hand is not found."""
    name = _FOLDER[output]
    K = _array(_file(options.root, name, "K"), (None, 3, 3))
    xyz = _array(_file(options.root, name, "xyz"), (len(K), 21, 3))
    mano = _array(_file(options.root, name, "mano"), (len(K), 1, _MANO))[:, 0]  # each is a list of one list
    uvw = np.einsum("nij,nkj->nki", K, xyz)
    with np.errstate(divide="ignore", invalid="ignore"):
        uv = uvw[..., :2] / uvw[..., 2:]
    photos = tuple(_photo_numbers(output, len(K), options.reference_quirks))
    return Hands(name, photos, xyz, uv, mano, _mean_hand(options.body_models))


def rows(job: Job, loaded: Hands, options: Options) -> Iterator[Record | Problem]:
    """Yield one hand a photo.

    Quirk (reference_quirks): keypoints in FreiHAND's order carry the names of MANO's (spec 10.1).
    Pinned by tests/data/convert/test_freihand.py::test_the_reference_names_fingers_wrongly. Ledger: docs/parity.md.
    """
    start, stop = (int(n or 0) for n in job.args)
    skeleton = Skeleton.read("mano" if options.reference_quirks else "freihand")
    one = np.ones((len(skeleton), 1))
    for i in loaded.photos[start:stop]:
        at, photo = i % len(loaded.mano), f"{loaded.folder}/rgb/{i:08d}.jpg"
        problem = photo_problem(options.root / photo, size_px=(SIDE_PX, SIDE_PX)) if options.photos else None
        mano, joints_m, joints_px = loaded.mano[at], loaded.joints_m[at], loaded.joints_px[at]
        if problem is None and not (np.isfinite(mano).all() and np.isfinite(joints_px).all()):
            problem = Problem(photo, f"annotation {at} is not finite; row left out")
        if problem is None and (joints_m[:, 2] <= 0).any():
            problem = Problem(photo, f"annotation {at} lies behind the camera; row left out")
        if problem is not None:
            yield problem
            continue
        yield Record(
            photo=photo,
            box_xywh_px=np.array([0.0, 0, SIDE_PX, SIDE_PX]),
            keypoints2d=Keypoints(skeleton, np.hstack([joints_px, one])),
            keypoints3d=Keypoints(skeleton, np.hstack([joints_m, one])),
            params={
                "global_orient": mano[:3],
                "right_hand_pose": mano[3:48].reshape(15, 3) + loaded.mean_pose_rad,
                "betas": mano[48:58],
            },
            family="smplx",
        )


def _photo_numbers(output: str, count: int, quirks: bool) -> list[int]:
    """Photos of a set, ascending, of `count` annotations.

    Training and validation share the files of "training": the first four fifths of the hands, and the rest.
    Quirk (reference_quirks): the first four fifths of the *photos*, so that validation shows the very hands of training
    before other backgrounds (spec 10.1). Ledger: docs/parity.md.
    Pinned by tests/data/convert/test_freihand.py::test_the_reference_validates_on_hands_it_trained_on.
    """
    if output == "freihand_test":
        return list(range(count))
    every = range(VERSIONS * count)
    first = int(TRAIN_SHARE * (len(every) if quirks else count))
    in_train = [(i if quirks else i % count) < first for i in every]
    return [i for i in every if in_train[i] == (output == "freihand_train")]


def _file(root: Path, name: str, key: str) -> Path:
    what = {"K": "cameras", "xyz": "joints", "mano": "MANO parameters"}[key]
    came = "FreiHAND_pub_v2.zip" if name == "training" else "FreiHAND_pub_v2_eval.zip"
    return need_file(root / f"{name}_{key}.json", f"the {what} of FreiHAND's {name} set, from {came}")


def _array(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    return numbers(read_json(path), shape, str(path))


def _mean_hand(folder: Path | None) -> NDArray[np.float64]:
    """MANO's mean right hand (15, 3), radians: of all_means.pkl, else of MANO_RIGHT.pkl."""
    places = [] if folder is None else [folder / "all_means.pkl", folder / "smplx" / "all_means.pkl"]
    for file in places:
        if file.is_file():
            return read_means(file)["right_hand_pose"]["aa"]
    hand = None if folder is None else folder / "mano" / "MANO_RIGHT.pkl"
    if hand is not None and hand.is_file():
        means = load_arrays(hand, family="mano").means
        if "right_hand_mean" in means:
            return np.asarray(means["right_hand_mean"], np.float64).reshape(15, 3)
    looked = ", ".join(map(str, [*places, *([] if hand is None else [hand])])) or "no folder of body models was given"
    raise DataError(
        "FreiHAND stores hands relative to MANO's mean pose, which is in all_means.pkl or MANO_RIGHT.pkl. "
        f"Looked for: {looked}. Give --body-models FOLDER; `openexpose doctor` says where to get them"
    )
