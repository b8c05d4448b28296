"""Losses as small functions of tensors, and the sums of them that each network is trained on."""

from openexpose.losses.terms import Term, total

__all__ = ["Term", "total"]
