"""Keypoint conventions: named points read from `tables/*.txt`, and mappings between them by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from openexpose.errors import ConfigError, ShapeError

Part = Literal["body", "left_hand", "right_hand", "head"]
PARTS: tuple[Part, ...] = ("body", "left_hand", "right_hand", "head")

Points = TypeVar("Points", np.ndarray, Tensor)

_TRUNK = (
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_hip", "right_hip"),
    ("right_shoulder", "left_shoulder"),
)
"""Drawn where the tree leads nowhere."""
_SIDE = re.compile(r"^(left|right)_(.+)$")
_SUFFIX = re.compile(r"_(extra|openpose|3dhp|h36m)$")
_FINGER = re.compile(r"^(thumb|index|middle|ring|pinky)(_[123])?$")
_HEAD = re.compile(
    r"^(head|headtop|head_top|head_bottom_pt|jaw|nose|eye|ear|eyeball|pupil|nose_middle|mouth_top|mouth_bottom|lip_top"
    r"|lip_bottom|contour_middle|neck/nose|h36m_jaw|h36m_head|eyeball_unused"
    r"|(eyebrow|eye_brow|nosebridge|nose|eye|mouth|lip|contour)_[0-9])$"
)


J14_EXTRAS: Mapping[str, int] = MappingProxyType(
    {"right_hip_extra": 2, "left_hip_extra": 3, "neck_extra": 12, "headtop": 13}
)
"""Points of LSP that are no keypoints of SMPL-X: name -> row of a J14 regressor (`smplx_lsp` has both)."""


def _rows(file: str) -> list[str]:
    text = resources.files("openexpose.skeleton").joinpath("tables", file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _mirrored(name: str) -> str:
    side = _SIDE.match(name)
    return name if side is None else ("right_" if side[1] == "left" else "left_") + side[2]


def _plain(name: str) -> str:
    return _SUFFIX.sub("", name)


def part_of(name: str) -> Part:
    """Return the part a named point belongs to; a wrist, a neck and an ankle are body (spec 3.1, 7.2)."""
    plain = _plain(name)
    side = _SIDE.match(plain)
    stem = side[2] if side else plain
    if side and (_FINGER.match(stem) or stem == "hand_root"):
        return "left_hand" if side[1] == "left" else "right_hand"
    return "head" if _HEAD.match(stem) else "body"


@dataclass(frozen=True)
class Skeleton:
    """An ordered list of named points. Names follow the 190 of `human_data`, the master list."""

    name: str
    names: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> "Skeleton":
        """Return the convention stored as `tables/<name>.txt`.

        Raises ConfigError for a name that has no table; the message lists those there are.
        """
        if name not in cls.available():
            raise ConfigError(f"keypoint convention {name!r} is not known; choose one of: {', '.join(cls.available())}")
        return cls(name, tuple(_rows(f"{name}.txt")))

    @staticmethod
    def available() -> tuple[str, ...]:
        """Return the names of all stored conventions, sorted."""
        folder = resources.files("openexpose.skeleton").joinpath("tables")
        return tuple(sorted(p.name.removesuffix(".txt") for p in folder.iterdir() if p.name.endswith(".txt")))

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            twice = sorted({n for n in self.names if self.names.count(n) > 1})
            raise ConfigError(
                f"convention {self.name!r} lists {twice} more than once; names are keys, give each its own"
            )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _where(self) -> Mapping[str, int]:
        return {n: i for i, n in enumerate(self.names)}

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def index(self, name: str) -> int:
        """Return the row of a named point; ConfigError if the convention has no such point."""
        if name not in self._where:
            near = [n for n in self.names if _plain(n) == _plain(name)]
            hint = f" (it has {', '.join(near)})" if near else ""
            raise ConfigError(f"convention {self.name!r} has no point {name!r}{hint}; see tables/{self.name}.txt")
        return self._where[name]

    def indices(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the rows of several named points, in the order asked for."""
        return tuple(self.index(n) for n in names)

    def part(self, part: Part) -> tuple[int, ...]:
        """Return the rows of all points of a part, ascending (the reference's come in set order, spec 10.1)."""
        return tuple(i for i, n in enumerate(self.names) if part_of(n) == part)

    @cached_property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """(left row, right row) of every point that has a mirror partner here, ascending in the left row."""
        left = [(i, n) for i, n in enumerate(self.names) if n.startswith("left_")]
        return tuple((i, self._where[_mirrored(n)]) for i, n in left if _mirrored(n) in self._where)

    @cached_property
    def flip_permutation(self) -> tuple[int, ...]:
        """For each row the row that takes its place in a mirrored photo; a point without partner keeps its own."""
        order = list(range(len(self)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def chain(self, name: str) -> tuple[int, ...]:
        """Return the rows from a joint up to the root: `chain("left_wrist")` of smplx is 20, 18, 16, 13, 9, 6, 3, 0."""
        parent = kinematic_parents()
        rows = [self.index(name)]
        while name in parent:
            name = parent[name]
            if name in self._where:
                rows.append(self._where[name])
        return tuple(rows)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(child row, parent row) pairs to draw; ancestors that the convention lacks are skipped over.

        A convention without spine (COCO, LSP) gets the outline of its trunk instead.
        """
        parent = kinematic_parents()
        by_plain: dict[str, int] = {}
        for i, n in enumerate(self.names):
            by_plain.setdefault(_plain(n), i)
        pairs = []
        for i, n in enumerate(self.names):
            above = parent.get(_plain(n))
            while above is not None and by_plain.get(above, i) == i:
                above = parent.get(above)
            if above is not None:
                pairs.append((i, by_plain[above]))
        joined = {child for child, _ in pairs}
        for a, b in _TRUNK:
            if {a, b} <= set(by_plain) and by_plain[a] not in joined:
                pairs.append((by_plain[a], by_plain[b]))
        return tuple(pairs)

    def map_to(self, other: "Skeleton", *, stand_ins: Mapping[str, str] | None = None) -> "KeypointMap":
        """Return the mapping of this convention's points onto another's, by identical name.

        stand_ins: {name there: name here} for approximations the caller spells out, for instance
        {"left_hip": "left_hip_extra"}; each name must exist on its side and an exact name must not be overridden.
        """
        stand_ins = {} if stand_ins is None else stand_ins
        for there, here in stand_ins.items():
            other.index(there)
            self.index(here)
            if there in self._where:
                raise ConfigError(f"stand-in for {there!r}: {self.name!r} has that very point; drop the stand-in")
        source = tuple(self._where.get(stand_ins.get(n, n), -1) for n in other.names)
        return KeypointMap(self, other, source)


@dataclass(frozen=True)
class KeypointMap:
    """Moves points from one convention to another. Call it on (..., K here, C); it gives (..., K there, C)."""

    here: Skeleton
    there: Skeleton
    source: tuple[int, ...]
    """For each point there the row here, -1 if absent."""

    @property
    def present(self) -> tuple[bool, ...]:
        """For each point there: does it receive data?"""
        return tuple(s >= 0 for s in self.source)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(row here, row there) of every point that is carried over."""
        return tuple((s, t) for t, s in enumerate(self.source) if s >= 0)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names here that have no place there."""
        used = set(self.source)
        return tuple(n for i, n in enumerate(self.here.names) if i not in used)

    def __call__(self, points: Points) -> Points:
        """Return the points in the other convention: array or tensor in, the same kind and dtype out.

        points: (..., K here, C), the last channel a confidence or flag.
        Absent points become zeros in every channel, so their confidence is 0.
        Raises ShapeError if the second-last axis is not K.
        """
        if points.ndim < 2 or points.shape[-2] != len(self.here):
            raise ShapeError(
                f"convention {self.here.name!r} has {len(self.here)} points on the second-last axis; "
                f"got shape {tuple(points.shape)}"
            )
        if isinstance(points, Tensor):
            keep = torch.tensor(self.present, device=points.device)
            moved = points[..., torch.tensor(self.source, device=points.device).clamp(min=0), :]
            return torch.where(keep[:, None], moved, torch.zeros_like(moved))
        rows = np.maximum(np.asarray(self.source), 0)
        return np.where(np.asarray(self.present)[:, None], points[..., rows, :], points.dtype.type(0))


def kinematic_parents() -> Mapping[str, str]:
    """Return {child: parent} by name: the SMPL-X tree, fingertips, feet and face points included, root absent."""
    return dict(row.split("\t") for row in _rows("tree.tsv"))
