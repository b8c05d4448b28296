"""The only translator between a network's flat vector and named params. The layouts are data."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from openexpose.errors import ShapeError
from openexpose.geometry.rotations import matrix_to_sixd, sixd_to_matrix
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.nets.points import Points

P = TypeVar("P", bound=BodyParams | HandParams | HeadParams)


@dataclass(frozen=True)
class Block:
    """A run of numbers in the vector."""

    name: str
    kind: Literal["rotation", "numbers"]
    count: int
    """Rotations (six numbers each) or plain numbers. One rotation alone has no joint axis."""

    @property
    def width(self) -> int:
        """How many numbers the block takes."""
        return self.count * (6 if self.kind == "rotation" else 1)


@dataclass(frozen=True)
class Estimate(Generic[P]):
    """What one network says."""

    vector: Float[Tensor, "*B D"]
    """As it left the regressor; rotations in 6D, not orthonormal."""
    params: P
    camera: Float[Tensor, "*B 3"]
    """(s, tx, ty): a point X in metres is seen at s * (X_xy + t), within [-1, 1] over the square crop."""
    confidence: Float[Tensor, "*B"] | None
    """How far the network trusts itself, 0 to 1; None for networks without that output (ExPose's have none)."""
    points: Points | None = None
    """Where its heatmaps see the keypoints of its config; None for backbones without (ExPose's have none)."""


class Codec(Generic[P]):
    """Splits vectors into params and joins them again. Order: rotations, betas, expression, camera."""

    def __init__(self, params_type: type[P], blocks: tuple[Block, ...], *, confidence: bool = False) -> None:
        extra = (Block("confidence", "numbers", 1),) if confidence else ()
        self.params_type = params_type
        self.blocks: tuple[Block, ...] = (*blocks, Block("camera", "numbers", 3), *extra)
        ends = list(accumulate(b.width for b in self.blocks))
        self.slices: Mapping[str, slice] = {
            b.name: slice(end - b.width, end) for b, end in zip(self.blocks, ends, strict=True)
        }
        self.size: int = ends[-1]

    def raw(self, vector: Float[Tensor, "*B D"], name: str) -> Float[Tensor, "*B W"]:
        """One block's numbers as they stand in the vector."""
        return vector[..., self.slices[name]]

    def split(self, vector: Float[Tensor, "*B D"]) -> Estimate[P]:
        """Named params and camera of a vector.

        Rotations become orthonormal; the camera's scale becomes positive through softplus (spec 2.3).
        Raises ShapeError if the last axis is not `size`.
        """
        if vector.shape[-1] != self.size:
            raise ShapeError(f"{self.params_type.__name__} vectors have {self.size} numbers, got {vector.shape[-1]}")
        named = {b.name: self._decode(b, self.raw(vector, b.name)) for b in self.blocks}
        camera, logit = named.pop("camera"), named.pop("confidence", None)
        camera = torch.cat([functional.softplus(camera[..., :1]), camera[..., 1:]], -1)
        confidence = None if logit is None else torch.sigmoid(logit[..., 0])
        return Estimate(vector, self.params_type(**named), camera, confidence)

    def join(
        self, params: P, camera: Float[Tensor, "*B 3"], confidence: Float[Tensor, "*B"] | None = None
    ) -> Float[Tensor, "*B D"]:
        """The vector whose `split` gives these params and this camera (its scale must be positive).

        Raises ShapeError if the sizes are not this codec's, or a confidence is missing or too many.
        """
        if (confidence is None) == ("confidence" in self.slices):
            raise ShapeError("give a confidence exactly when the codec has that block")
        raw_scale = camera[..., :1] + torch.log(-torch.expm1(-camera[..., :1]))
        extra = {"camera": torch.cat([raw_scale, camera[..., 1:]], -1)}
        if confidence is not None:
            extra["confidence"] = torch.logit(confidence).unsqueeze(-1)
        pieces = []
        for block in self.blocks:
            value = extra[block.name] if block.name in extra else getattr(params, block.name)
            if block.kind == "rotation":
                value = matrix_to_sixd(value)
                value = value if block.count == 1 else value.flatten(-2)
            if value.shape[-1] != block.width:
                raise ShapeError(f"{block.name} takes {block.width} numbers, got {value.shape[-1]}")
            pieces.append(value)
        return torch.cat(pieces, -1)

    def table(self) -> tuple[tuple[str, int, int], ...]:
        """(name, first, end) of every block: the layout for people to read."""
        return tuple((name, s.start, s.stop) for name, s in self.slices.items())

    @staticmethod
    def _decode(block: Block, value: Tensor) -> Tensor:
        if block.kind == "numbers":
            return value
        if block.count == 1:
            return sixd_to_matrix(value)
        return sixd_to_matrix(value.reshape(*value.shape[:-1], block.count, 6))


def body_codec(*, num_betas: int, num_expression: int, confidence: bool = False) -> Codec[BodyParams]:
    """Codec of the body network: 341 numbers for 10 betas and 10 expression coefficients."""
    poses = (("global_orient", 1), ("body_pose", 21), ("left_hand_pose", 15), ("right_hand_pose", 15), ("jaw_pose", 1))
    return Codec(BodyParams, _blocks(poses, num_betas, num_expression), confidence=confidence)


def hand_codec(*, num_betas: int, confidence: bool = False) -> Codec[HandParams]:
    """Codec of the hand network: 109 numbers for 10 betas."""
    poses = (("global_orient", 1), ("right_hand_pose", 15))
    return Codec(HandParams, _blocks(poses, num_betas, None), confidence=confidence)


def head_codec(*, num_betas: int, num_expression: int, confidence: bool = False) -> Codec[HeadParams]:
    """Codec of the head network: 165 numbers for 100 betas and 50 expression coefficients."""
    poses = (("global_orient", 1), ("jaw_pose", 1))
    return Codec(HeadParams, _blocks(poses, num_betas, num_expression), confidence=confidence)


def _blocks(poses: tuple[tuple[str, int], ...], num_betas: int, num_expression: int | None) -> tuple[Block, ...]:
    rotations = tuple(Block(name, "rotation", count) for name, count in poses)
    betas = Block("betas", "numbers", num_betas)
    expression = () if num_expression is None else (Block("expression", "numbers", num_expression),)
    return (*rotations, betas, *expression)
