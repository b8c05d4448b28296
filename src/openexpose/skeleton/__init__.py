"""Keypoint conventions as data; mapping between them by name."""

from openexpose.skeleton.skeleton import J14_EXTRAS, PARTS, KeypointMap, Part, Skeleton, kinematic_parents, part_of

__all__ = ["J14_EXTRAS", "PARTS", "KeypointMap", "Part", "Skeleton", "kinematic_parents", "part_of"]
