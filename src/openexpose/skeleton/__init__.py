"""Keypoint conventions as data; mapping between them by name."""

from openexpose.skeleton.skeleton import PARTS, KeypointMap, Part, Skeleton, kinematic_parents, part_of

__all__ = ["PARTS", "KeypointMap", "Part", "Skeleton", "kinematic_parents", "part_of"]
