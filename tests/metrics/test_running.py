"""The torchmetrics classes: batches and ranks change nothing, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from openexpose.errors import ConfigError, DataError
from openexpose.metrics import f_score_01, mpjpe_mm, nme_01, pck_01, pve_mm, segment_px
from openexpose.metrics.points import aligned
from openexpose.metrics.running import MPJPE, NME, PCK, PVE, FScore, PerPerson

PEOPLE = 23


def people(dims: int, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """pred, true, visible."""
    g = torch.Generator().manual_seed(dims)
    true = torch.randn(PEOPLE, points, dims, generator=g)
    pred = true + 0.1 * torch.randn(PEOPLE, points, dims, generator=g)
    return pred, true, torch.rand(PEOPLE, points, generator=g) < 0.8


def metrics() -> dict[str, tuple[PerPerson, Callable[[PerPerson, Tensor], None]]]:
    """Every class with a function that feeds it the people of some rows."""
    p3, t3, seen3 = people(3, 14)
    p2, t2, seen2 = people(2, 68)
    head = segment_px(t2, 0, 20)

    def body(m: PerPerson, rows: Tensor) -> None:
        m.update(p3[rows], t3[rows], rows, seen3[rows])

    def mesh(m: PerPerson, rows: Tensor) -> None:
        m.update(p3[rows], t3[rows], rows)

    def photo(m: PerPerson, rows: Tensor) -> None:
        m.update(p2[rows], t2[rows], rows, head[rows], seen2[rows])

    def face(m: PerPerson, rows: Tensor) -> None:
        m.update(p2[rows], t2[rows], rows, seen2[rows])

    return {
        "mpjpe": (MPJPE(unit="mm", align="root", root=[2, 3]), body),
        "pa-mpjpe": (MPJPE(unit="mm", align="procrustes"), body),
        "pa-pve": (PVE(unit="m", align="procrustes", ids=torch.arange(3, 9)), mesh),
        "pck": (PCK(at=0.2), photo),
        "nme": (NME(eyes=(36, 45)), face),
        "f": (FScore(at_mm=50.0, align="procrustes"), mesh),
    }


def fed(name: str, batches: list[Tensor]) -> PerPerson:
    metric, feed = metrics()[name]
    for rows in batches:
        feed(metric, rows)
    return metric


@pytest.mark.parametrize("name", list(metrics()))
def test_batches_order_and_repeats_do_not_matter(name: str) -> None:
    once = fed(name, [torch.arange(PEOPLE)]).compute()
    g = torch.Generator().manual_seed(1)
    shuffled = list(torch.randperm(PEOPLE, generator=g).split(5))
    metric = fed(name, [*shuffled, shuffled[1]])
    assert metric.compute().item() == once.item()
    metric.reset()
    with pytest.raises(DataError, match="saw no point"), pytest.warns(UserWarning, match="before the ``update``"):
        metric.compute()


def test_values_are_those_of_the_functions() -> None:
    everyone = [torch.arange(PEOPLE)]
    p3, t3, seen3 = people(3, 14)
    p2, t2, seen2 = people(2, 68)
    error = mpjpe_mm(p3, t3, align="root", root=[2, 3], visible=seen3)
    index, each = fed("mpjpe", everyone).per_person()
    assert torch.equal(index, torch.arange(PEOPLE))
    torch.testing.assert_close(each, error)
    over_points = (error * seen3.sum(1)).sum() / seen3.sum()
    torch.testing.assert_close(fed("mpjpe", everyone).compute(), over_points)
    pa_pve = pve_mm(p3, t3, align="procrustes", ids=torch.arange(3, 9)).mean() / 1000
    torch.testing.assert_close(fed("pa-pve", everyone).compute(), pa_pve)
    share = pck_01(p2, t2, size_px=segment_px(t2, 0, 20), at=0.2, visible=seen2)
    torch.testing.assert_close(fed("pck", everyone).compute(), (share * seen2.sum(1)).sum() / seen2.sum())
    torch.testing.assert_close(fed("nme", everyone).compute(), nme_01(p2, t2, visible=seen2).mean())
    moved = aligned(p3, t3, align="procrustes")
    torch.testing.assert_close(fed("f", everyone).compute(), f_score_01(moved, t3.double(), at_mm=50.0).mean())


def test_forward_gives_the_batch_and_keeps_the_rest() -> None:
    p3, t3, _ = people(3, 14)
    metric = PVE(unit="mm", align="none")
    first = metric(p3[:4], t3[:4], torch.arange(4))
    torch.testing.assert_close(first, pve_mm(p3[:4], t3[:4], align="none").mean())
    metric(p3[4:], t3[4:], torch.arange(4, PEOPLE))
    torch.testing.assert_close(metric.compute(), pve_mm(p3, t3, align="none").mean())


def _one_rank(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    out = {}
    for name in metrics():
        rows = torch.arange(rank, PEOPLE + 1, ranks) % PEOPLE  # person 0 is repeated to make the ranks equal
        out[name] = fed(name, list(rows.split(4))).compute()
        lonely = fed(name, [torch.arange(PEOPLE)] if rank == 0 else [])  # the other rank saw nobody
        out[f"{name}, one rank idle"] = lonely.compute()
    torch.save(out, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_give_the_number_of_one(tmp_path: Path) -> None:
    mp.spawn(_one_rank, (2, str(tmp_path)), 2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in metrics():
            want = fed(name, [torch.arange(PEOPLE)]).compute().item()
            assert found[name].item() == want and found[f"{name}, one rank idle"].item() == want, name


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="a root belongs to"):
        MPJPE(unit="mm", align="root")
    with pytest.raises(ConfigError, match="positive threshold"):
        PCK(at=0.0)
    p3, t3, _ = people(3, 14)
    metric = PVE(unit="mm", align="none")
    metric.update(p3, t3, torch.arange(PEOPLE))
    metric.update(p3 + 1, t3, torch.arange(PEOPLE))
    with pytest.raises(DataError, match="sample 0 was measured twice"):
        metric.compute()
