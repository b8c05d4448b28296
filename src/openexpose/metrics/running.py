"""The metrics as torchmetrics classes: fed batch by batch on any number of ranks, one exact answer.

Every class keeps one row per person (index, sum, count) instead of a running sum. On `compute` the rows of all ranks
are put in the order of their index and repeats (a sampler's padding) are dropped, so several ranks give bit for bit
the number that one rank gives, and per-person values are there for tables and plots.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openexpose.errors import ConfigError, DataError
from openexpose.extras import load_timm
from openexpose.metrics.align import Align, aligned, same_shape
from openexpose.metrics.points import MM, f_score_01, nme_01, pck_01, point_errors_mm, pve_mm

load_timm()  # torchmetrics imports torchvision; this mends that import where torch and torchvision are unequal builds
from torchmetrics import Metric  # noqa: E402

Unit = Literal["mm", "m"]


class PerPerson(Metric):
    """Base of the metrics here: collects (index, sum, count) per person; the value is total sum / total count."""

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor]

    def __init__(self, *, unit: str) -> None:
        """unit: of the value, for tables ("mm", "share")."""
        super().__init__()
        self.unit = unit
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def add(self, index: Int[Tensor, " N"], total: Float[Tensor, " N"], count: Tensor | int) -> None:
        """Keep one row per person. index: the sample's number in the data set, unique over all ranks."""
        n = torch.as_tensor(count, device=total.device).expand(total.shape)
        self.rows.append(torch.stack([index.to(total).double(), total.double(), n.double()], 1))

    def table(self) -> Float[Tensor, "N 3"]:
        """(index, sum, count) of every person of this rank (of all ranks inside `compute`), in order of the index.

        Raises DataError when one index came twice with different numbers.
        """
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat([*self.rows, self._nothing()])
        rows = rows[torch.argsort(rows[:, 0], stable=True)]
        again = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        again[1:] = rows[1:, 0] == rows[:-1, 0]
        wrong = again.clone()
        same = torch.isclose(rows[1:], rows[:-1], rtol=1e-9, atol=0, equal_nan=True).all(1)
        wrong[1:] &= ~same
        if bool(wrong.any()):
            index = int(rows[wrong][0, 0])
            raise DataError(f"sample {index} was measured twice with different results; give each sample its own index")
        return rows[~again]

    def per_person(self) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
        """Index and value of every person, in order of the index; NaN for people without a point."""
        rows = self.table()
        return rows[:, 0].long(), rows[:, 1] / rows[:, 2]

    def compute(self) -> Tensor:
        """The value over all people and points, float64 scalar. Raises DataError when nothing was measured."""
        rows = self.table()
        total, count = rows[:, 1].cpu().sum(), rows[:, 2].cpu().sum()
        if not bool(count > 0):
            raise DataError(f"{type(self).__name__} saw no point; call update with visible points first")
        return total / count

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Collect the rows of all ranks (torchmetrics calls this); a rank that saw nobody takes part with no row."""
        if isinstance(self.rows, list) and not self.rows:
            self.rows = [self._nothing()]
        super().sync(*args, **kwargs)

    def _nothing(self) -> Tensor:
        return torch.zeros((0, 3), dtype=torch.float64, device=self.device)


class MPJPE(PerPerson):
    """Mean per-joint position error; align="procrustes" makes it PA-MPJPE. See `mpjpe_mm`."""

    higher_is_better = False

    def __init__(self, *, unit: Unit, align: Align, root: int | Sequence[int] | None = None) -> None:
        """unit: of the value; inputs are always metres. root: for align="root". Raises ConfigError."""
        super().__init__(unit=unit)
        self.align, self.root, self.factor = align, root, _factor(unit)
        _check_align(align, root)

    def update(
        self,
        pred_m: Float[Tensor, "N J 3"],
        true_m: Float[Tensor, "N J 3"],
        index: Int[Tensor, " N"],
        visible: Bool[Tensor, "N J"] | None = None,
    ) -> None:
        """Add people. visible: joints that count; all joints are aligned on, as in the reference."""
        error = point_errors_mm(pred_m, true_m, align=self.align, root=self.root) * self.factor
        seen = torch.ones_like(error, dtype=torch.bool) if visible is None else visible
        self.add(index, torch.where(seen, error, 0.0).sum(1), seen.sum(1))


class PVE(PerPerson):
    """Mean per-vertex error (V2V), of the whole mesh or one part aligned on its own. See `pve_mm`."""

    higher_is_better = False

    def __init__(self, *, unit: Unit, align: Align, ids: Int[Tensor, " K"] | None = None) -> None:
        """unit: of the value; inputs are always metres. ids: vertices of the part. Raises ConfigError."""
        super().__init__(unit=unit)
        self.align, self.ids, self.factor = align, ids, _factor(unit)
        _check_align(align, None)

    def update(self, pred_m: Float[Tensor, "N V 3"], true_m: Float[Tensor, "N V 3"], index: Int[Tensor, " N"]) -> None:
        """Add people."""
        self.add(index, pve_mm(pred_m, true_m, align=self.align, ids=self.ids) * self.factor, 1)


class PCK(PerPerson):
    """Share of 2D points within `at` times each person's size: PCK@0.2 torso, PCKh@0.5. See `pck_01`.

    The value is the share over all visible points of all people.
    """

    higher_is_better = True

    def __init__(self, *, at: float) -> None:
        """at: the threshold as a share of the size. Raises ConfigError unless it is positive."""
        super().__init__(unit="share")
        if not at > 0:
            raise ConfigError(f"PCK needs a positive threshold, got at={at}")
        self.at = at

    def update(
        self,
        pred_px: Float[Tensor, "N P 2"],
        true_px: Float[Tensor, "N P 2"],
        index: Int[Tensor, " N"],
        size_px: Float[Tensor, " N"],
        visible: Bool[Tensor, "N P"] | None = None,
    ) -> None:
        """Add people. size_px: torso (`segment_px`) or head size; people of size 0 count no point."""
        seen = torch.ones_like(true_px[..., 0], dtype=torch.bool) if visible is None else visible
        share = pck_01(pred_px, true_px, size_px=size_px, at=self.at, visible=seen)
        count = torch.where(share.isnan(), 0, seen.sum(1))
        self.add(index, share.nan_to_num() * count, count)


class NME(PerPerson):
    """Mean point error over the inter-ocular distance, mean over faces. See `nme_01`."""

    higher_is_better = False

    def __init__(self, *, eyes: tuple[int, int]) -> None:
        """eyes: the two points whose distance divides, (36, 45) for the 68 iBUG points."""
        super().__init__(unit="share")
        self.eyes = eyes

    def update(
        self,
        pred_px: Float[Tensor, "N P 2"],
        true_px: Float[Tensor, "N P 2"],
        index: Int[Tensor, " N"],
        visible: Bool[Tensor, "N P"] | None = None,
    ) -> None:
        """Add faces; a face whose eyes coincide, or without a visible point, counts nothing."""
        error = nme_01(pred_px, true_px, eyes=self.eyes, visible=visible)
        self.add(index, error.nan_to_num(), (~error.isnan()).long())


class FScore(PerPerson):
    """F-score of vertex sets at a distance, mean over people (F@5 mm, F@15 mm). See `f_score_01`."""

    higher_is_better = True

    def __init__(self, *, at_mm: float, align: Align) -> None:
        """align: how the prediction is moved first; FreiHAND prints "none" and "procrustes". Raises ConfigError."""
        super().__init__(unit="share")
        _check_align(align, None)
        self.at_mm, self.align = at_mm, align

    def update(self, pred_m: Float[Tensor, "N V 3"], true_m: Float[Tensor, "N V 3"], index: Int[Tensor, " N"]) -> None:
        """Add people."""
        same_shape(pred_m, true_m)
        self.add(index, f_score_01(aligned(pred_m, true_m, align=self.align), true_m.double(), at_mm=self.at_mm), 1)


def _factor(unit: Unit) -> float:
    if unit not in ("mm", "m"):
        raise ConfigError(f"unit={unit!r}: choose 'mm' or 'm'")
    return 1.0 if unit == "mm" else 1.0 / MM


def _check_align(align: Align, root: int | Sequence[int] | None) -> None:
    if (align == "root") != (root is not None):
        raise ConfigError(f"align={align!r} with root={root!r}: a root belongs to align='root', and only to it")
