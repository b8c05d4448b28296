"""Matching: every foreign key in one place, every wanted key in one place, and nothing loads by halves."""

import numpy as np
import pytest
import torch

from openexpose.errors import WeightsError
from openexpose.weights.tables import Drop, Rename, Table, match_keys, take

TABLE = Table(
    layout="toy layout",
    renames=(Rename(r"net\.layer_0(\d)\.(\w+)", r"hidden.\1.\2"), Rename(r"net\.(.+)", r"\1")),
    drops=(Drop(r"net\.dead\.\w+", "never run"), Drop(r"model\.\w+", "licensed")),
    networks=("net.",),
)
WANTED = {"hidden.0.weight": torch.empty(2, 3), "bn.num_batches_tracked": torch.empty((), dtype=torch.int64)}


def foreign(**extra: torch.Tensor) -> dict[str, torch.Tensor]:
    named = {k.replace("__", "."): v for k, v in extra.items()}
    return {"net.layer_00.weight": torch.arange(6.0).reshape(2, 3)} | named


def test_every_key_has_one_place():
    """Over random subsets: the places partition the foreign keys and the wanted keys."""
    rng = np.random.default_rng(0)
    keys = ["net.layer_00.weight", "net.hidden.0.weight", "net.dead.a", "model.b", "net.odd", "loss.c",
            "net.bn.num_batches_tracked", "net.dead2.num_batches_tracked"]  # fmt: skip
    for _ in range(200):
        got = [k for k in keys if rng.random() < 0.6]
        m = match_keys(got, WANTED, TABLE)
        placed = [*m.used.values(), *m.copies, *(k for d in m.dropped.values() for k in d), *m.strangers, *m.left_over]
        assert sorted(placed) == sorted(got)
        assert sorted([*m.used, *m.filled, *m.fresh, *m.missing]) == sorted(WANTED)


def test_the_summary_counts_and_gives_reasons():
    m = match_keys(
        foreign(net__hidden__0__weight=torch.empty(0), net__dead__a=torch.empty(0), x=torch.empty(0)), WANTED, TABLE
    )
    assert m.summary() == (
        "toy layout: 1 tensors used; 3 dropped (1 never run, 1 outside the networks, 1 second copies); "
        "1 batch norm counters set to 0; 0 missing"
    )


def test_tensors_are_copied_and_counters_filled():
    theirs = foreign(net__hidden__0__weight=torch.arange(6.0).reshape(2, 3))
    state = take(match_keys(theirs, WANTED, TABLE), theirs, WANTED, "file")
    assert torch.equal(state["hidden.0.weight"], theirs["net.layer_00.weight"])
    assert state["hidden.0.weight"].data_ptr() != theirs["net.layer_00.weight"].data_ptr()
    assert state["bn.num_batches_tracked"] == 0


def test_other_float_types_become_ours():
    theirs = {k: v.half() for k, v in foreign().items()}
    assert take(match_keys(theirs, WANTED, TABLE), theirs, WANTED, "file")["hidden.0.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (foreign(net__odd=torch.zeros(1)), "1 left over.*\n.*net.odd"),
        ({"net.dead.a": torch.zeros(1)}, "1 missing.*\n.*hidden.0.weight"),
        ({"net.layer_00.weight": torch.zeros(3, 2)}, r"\(3, 2\), expected \(2, 3\)"),
        ({"net.layer_00.weight": torch.zeros(2, 3, dtype=torch.int64)}, "shape or type"),
        (foreign(net__hidden__0__weight=torch.zeros(2, 3)), "same tensor twice, but differ"),
        ({"net.layer_00.weight": torch.full((2, 3), float("nan"))}, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(theirs, words):
    with pytest.raises(WeightsError, match=words):
        take(match_keys(theirs, WANTED, TABLE), theirs, WANTED, "file")


def test_fresh_parts_may_lack_altogether_but_not_by_halves():
    table = Table("bare", (Rename("(.+)", r"\1"),), (), ("",), fresh=("tail.",))
    wanted = ["trunk.a", "tail.a", "tail.num_batches_tracked"]
    m = match_keys(["trunk.a"], wanted, table)
    assert m.fresh == ("tail.a", "tail.num_batches_tracked") and not m.missing and not m.filled
    assert match_keys(["trunk.a", "tail.num_batches_tracked"], wanted, table).missing == ("tail.a",)
