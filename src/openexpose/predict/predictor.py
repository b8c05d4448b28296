"""From photos to people: find them, fit them in batches, place them before one camera."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openexpose.body import BodyModel, load_model
from openexpose.detect import Detection, Detector
from openexpose.detect.builtin import BuiltinDetector
from openexpose.detect.whole import WholePhoto
from openexpose.errors import ConfigError, DataError, WeightsError
from openexpose.geometry.crop import MIN_SEEN, Crop
from openexpose.nets.attention import Squares
from openexpose.nets.expose import ExPose, WholeEstimate
from openexpose.nets.fast import speed_up
from openexpose.nets.inputs import crop_of_box, look_at
from openexpose.nets.params import BodyParams
from openexpose.predict.shot import Shot, read_shot, shot_of
from openexpose.prediction import ModelInfo, PartName, PartSquare, Prediction, fit_translation
from openexpose.readers import sha256_of
from openexpose.weights.models import load_expose
from openexpose.weights.native import config_of, read_header

PhotoLike = Path | str | bytes | np.ndarray
"""A file, its bytes, or upright RGB pixels."""
BATCH = 16
"""Persons at once; more is no faster on a CPU and takes more memory."""
SHIPPED_WEIGHTS = Path(__file__).parents[1] / "weights" / "lite.safetensors"
"""What `Predictor.load()` takes; docs/weights.md says how it was trained."""


class Predictor:
    """Photo in, people out. Holds no state between calls: several threads may use one at the same time."""

    def __init__(self, network: ExPose, detector: Detector, info: ModelInfo) -> None:
        """Use `load`. network: in evaluation mode; its body model is the one of the answers."""
        if network.training:
            raise ConfigError("call .eval() on the network first: a network in training mode answers by chance")
        self.network, self.detector, self.info = network, detector, info

    @classmethod
    def load(
        cls,
        weights: Path | str | None = None,
        body_model: Path | str | None = None,
        *,
        detector: str | Detector = "builtin",
        fast: bool = True,
    ) -> "Predictor":
        """A predictor from files.

        weights: one of our weight files; None takes the one that ships.
        body_model: "free" (None) or a SMPL-X file; what the weights were trained with.
        detector: who finds the people: "builtin", "whole", or anything that can be called like `Detector`.
        fast: fold the networks for inference (the same answers to 1e-4).
        Raises WeightsError, AssetError or ConfigError saying which file does not fit.
        """
        path = shipped_weights() if weights is None else Path(weights)
        found = load_detector(detector) if isinstance(detector, str) else detector
        header = read_header(path).header
        config = config_of(header, path)
        part = config.part("body")
        model = load_model(
            "free" if body_model is None else body_model,
            num_betas=part.num_betas,
            num_expression=part.num_expression,
        )
        network = load_expose(path, body_model=model)
        info = ModelInfo(
            body_model=model.label,
            body_sha256=model.sha256,
            family=model.family,
            gender=model.gender,
            weights=f"{path.name} ({header.preset})",
            weights_sha256=sha256_of(path),
        )
        return cls(speed_up(network) if fast else network, found, info)

    @property
    def body_model(self) -> BodyModel:
        """What the params of the answers drive."""
        return self.network.body_model

    def __call__(
        self,
        photo: PhotoLike,
        *,
        people: Sequence[Detection] | None = None,
        focal_px: float | None = None,
        name: str = "",
    ) -> list[Prediction]:
        """Everybody in one photo, in the detector's order.

        people: who is there, if that is known; None asks the detector. focal_px: None takes EXIF's or the default.
        name: what to call a photo that is not a file.
        Raises DataError if the photo cannot be used.
        """
        return self.batch([as_shot(photo, name=name, focal_px=focal_px)], people=None if people is None else [people])[
            0
        ]

    def batch(
        self, photos: Sequence[PhotoLike | Shot], *, people: Sequence[Sequence[Detection]] | None = None
    ) -> list[list[Prediction]]:
        """Everybody in several photos: one list a photo. Persons of all photos go through the networks together.

        people: for each photo who is there; None asks the detector.
        Raises DataError if a photo cannot be used or the lists differ in length.
        """
        shots = [p if isinstance(p, Shot) else as_shot(p, name=_named(p, i)) for i, p in enumerate(photos)]
        if people is not None and len(people) != len(shots):
            raise DataError(f"{len(people)} lists of people for {len(shots)} photos: give one list a photo")
        groups = [self.find(shot) for shot in shots] if people is None else people
        found = [Found(shot, d, k) for shot, group in zip(shots, groups, strict=True) for k, d in enumerate(group)]
        answers = iter(self.fit(found))
        return [[next(answers) for _ in group] for group in groups]

    def find(self, shot: Shot) -> list[Detection]:
        """Who the detector sees in a photo."""
        return self.detector(shot.rgb)

    def crop(self, shot: Shot, detection: Detection) -> Crop:
        """The square of a photo that the body network looks at. Raises DataError if it lies beside the photo."""
        crop = crop_of_box(detection.box_px, self.network.body.crop_px)
        width, height = shot.size_px
        if crop.seen(height, width) < MIN_SEEN:
            raise DataError(
                f"{shot.name}: the box {[round(float(v), 1) for v in detection.box_px]} lies beside the "
                f"{width} x {height} px photo; are its numbers x0, y0, x1, y1 of the upright photo?"
            )
        return crop

    def fit(self, people: Sequence["Found"], *, batch: int = BATCH) -> list[Prediction]:
        """One answer a person, in order; at most `batch` go through the networks at once.

        Raises DataError naming the photo of a box that lies beside it, or of an answer that is not finite.
        """
        out: list[Prediction] = []
        for first in range(0, len(people), batch):
            group = people[first : first + batch]
            crops = [self.crop(p.shot, p.detection) for p in group]
            with torch.inference_mode():
                estimate = self.network(look_at([p.shot.rgb for p in group], crops))
                params = orthonormal(estimate.params)
                posed = self.network.posed(params)
                joints, keypoints = posed.joints_m.numpy(), posed.keypoints_m().numpy()
            for row, (person, crop) in enumerate(zip(group, crops, strict=True)):
                mine = replace(params, **{f.name: getattr(params, f.name)[row].clone() for f in fields(params)})
                out.append(self._prediction(person, crop, mine, (estimate, row), (joints[row], keypoints[row])))
        return out

    def _prediction(
        self,
        person: "Found",
        crop: Crop,
        params: BodyParams,
        said: tuple[WholeEstimate, int],
        points: tuple[np.ndarray, np.ndarray],
    ) -> Prediction:
        shot, model, (estimate, row) = person.shot, self.body_model, said
        weak = estimate.camera[row].numpy().copy()
        if not (np.isfinite(weak).all() and np.isfinite(points[1]).all() and _is_sound(params)):
            raise DataError(
                f"{shot.name}, person {person.number}: the answer is not finite or has matrices that do not only turn; "
                "are the weights damaged?"
            )
        joints, keypoints = points
        transl_m = fit_translation(keypoints, weak, crop, shot.camera).astype(np.float32)
        keypoints_m = keypoints + transl_m
        return Prediction(
            photo=shot.name,
            photo_size_px=shot.size_px,
            person=person.number,
            box_px=np.array(person.detection.box_px, np.float32),
            score=float(person.detection.score),
            params=params,
            weak_camera=weak,
            crop=crop,
            camera=shot.camera,
            focal_from=shot.focal_from,
            transl_m=transl_m,
            joints_m=joints + transl_m,
            joint_names=model.joint_names,
            keypoints_m=keypoints_m,
            keypoint_names=model.keypoint_names,
            keypoints_px=shot.camera.project(keypoints_m.astype(np.float64)).astype(np.float32),
            parts=_parts(estimate, row),
            model=self.info,
            body_model=model,
        )


@dataclass(frozen=True, eq=False)
class Found:
    """A person to fit."""

    shot: Shot
    detection: Detection
    number: int
    """In the photo, from 0."""


def orthonormal(params: BodyParams) -> BodyParams:
    """The same rotations without the rounding that products of single-precision matrices leave.

    Two steps of Newton and Schulz, R (3 - R^T R) / 2: each squares the distance to the nearest rotation.
    """
    clean = {}
    for block in fields(params):
        R: Tensor = getattr(params, block.name)
        if tuple(R.shape[-2:]) == (3, 3):
            for _ in range(2):
                R = 1.5 * R - 0.5 * R @ R.mT @ R
            clean[block.name] = R
    return replace(params, **clean)


def _is_sound(params: BodyParams) -> bool:
    """Whether all numbers are finite and all rotations are rotations."""
    R, eye = params.R_parent_child(), torch.eye(3)
    numbers = bool(params.betas.isfinite().all()) and bool(params.expression.isfinite().all())
    return numbers and bool(torch.linalg.det(R).gt(0).all()) and torch.allclose(R @ R.mT, eye, atol=1e-5)


def as_shot(photo: PhotoLike, *, name: str = "", focal_px: float | None = None) -> Shot:
    """A photo, decoded if it is a file. Raises DataError if it cannot be used."""
    if isinstance(photo, np.ndarray):
        return shot_of(photo, name=name or "photo", focal_px=focal_px)
    return read_shot(photo, name=name, focal_px=focal_px)


def shipped_weights() -> Path:
    """The weight file inside this package. Raises WeightsError where it was built without one."""
    path = SHIPPED_WEIGHTS
    if not path.is_file():
        raise WeightsError(
            "this copy of openexpose ships no weights; give a file: --weights FILE or Predictor.load(FILE). "
            "`openexpose weights import` makes one of a released checkpoint, `openexpose train` of data"
        )
    return path


def load_detector(name: str, *, min_score: float | None = None) -> Detector:
    """A detector that needs no file of the user's. min_score: least score of a person, None for the detector's own.

    Raises ConfigError for a name that is not known, AssetError if the detector's file is not in the package.
    """
    if name == "whole":
        return WholePhoto()
    if name != "builtin":
        raise ConfigError(f"detector {name!r} is not known: builtin, whole, or an object to call (openexpose.detect)")
    return BuiltinDetector.load() if min_score is None else BuiltinDetector.load(min_score=min_score)


def _named(photo: PhotoLike, number: int) -> str:
    return "" if isinstance(photo, Path | str) else f"photo {number}"


def _parts(estimate: WholeEstimate, row: int) -> dict[PartName, PartSquare]:
    B = len(estimate.camera)
    hands, head = estimate.hands.confidence, estimate.head.confidence
    squares: tuple[tuple[PartName, Squares, Tensor | None, int], ...] = (
        ("right_hand", estimate.right_hand_square, hands, row),
        ("left_hand", estimate.left_hand_square, hands, B + row),
        ("head", estimate.head_square, head, row),
    )
    return {
        name: PartSquare(
            square.corners_px[row].numpy().copy(), bool(estimate.used_parts[row, column]), _number(confidence, place)
        )
        for column, (name, square, confidence, place) in enumerate(squares)
    }


def _number(confidence: Tensor | None, place: int) -> float | None:
    return None if confidence is None else float(confidence[place])
