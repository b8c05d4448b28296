"""Key tables: what becomes of every key of a foreign state dict, and the matching that applies one.

A table is data: renames and drops, each a regular expression over whole keys. Matching puts every foreign key in
exactly one place (used, second copy, dropped with a reason, foreign to the networks, left over) and every tensor that
our network wants in exactly one too (found, filled, missing). Left over, missing, ill-shaped and contradicting keys
are errors: weights load exactly or not at all.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from openexpose.errors import WeightsError

UNUSED_COUNTER = "num_batches_tracked"
"""Batch norm's counter: only training without a momentum reads it; frozen batch norms were saved without it."""


@dataclass(frozen=True)
class Rename:
    """Foreign key -> key of our network."""

    pattern: str
    """Regular expression that the whole foreign key must match."""
    ours: str
    """Template of our key, with \\1, \\g<name>... of the pattern."""


@dataclass(frozen=True)
class Drop:
    """Foreign keys that our network does not take."""

    pattern: str
    """Regular expression that the whole foreign key must match."""
    reason: str
    """Why; stands in the summary line of the import."""


@dataclass(frozen=True)
class Table:
    """One foreign layout."""

    layout: str
    """Name of the layout, for messages and provenance."""
    renames: tuple[Rename, ...]
    """First match wins. Two foreign keys that land on one of ours must hold equal tensors."""
    drops: tuple[Drop, ...]
    """Asked for keys whose renamed form our network does not want."""
    networks: tuple[str, ...]
    """Prefixes inside which every key must be known to the table."""
    fresh: tuple[str, ...] = ()
    """Prefixes of *our* keys that such a file may lack altogether; then they keep their initial values."""


@dataclass(frozen=True)
class Match:
    """Where every key went. The lists are sorted; names are foreign unless said."""

    layout: str
    used: Mapping[str, str]
    """Our key -> the foreign key it is read from."""
    copies: Mapping[str, str]
    """Second foreign key of the same tensor -> our key; compared with the first when the tensors are read."""
    dropped: Mapping[str, tuple[str, ...]]
    """Reason -> foreign keys."""
    strangers: tuple[str, ...]
    """Keys outside every network prefix that no table entry knows; not needed, listed so that nobody wonders."""
    filled: tuple[str, ...]
    """Our batch norm counters that the file lacks; they become 0."""
    fresh: tuple[str, ...]
    """Our keys that keep their initial values because such a file never has them."""
    left_over: tuple[str, ...] = field(default=())
    """Keys inside a network prefix that nothing explains: an error."""
    missing: tuple[str, ...] = field(default=())
    """Our keys that nothing fills: an error."""

    def summary(self) -> str:
        """One line: used, dropped and why, missing."""
        parts = [f"{len(self.used)} tensors used"]
        drops = {reason: len(keys) for reason, keys in self.dropped.items()}
        if self.copies:
            drops["second copies"] = len(self.copies)
        if self.strangers:
            drops["outside the networks"] = len(self.strangers)
        if drops:
            listed = ", ".join(f"{n} {reason}" for reason, n in sorted(drops.items(), key=lambda x: (-x[1], x[0])))
            parts.append(f"{sum(drops.values())} dropped ({listed})")
        if self.filled:
            parts.append(f"{len(self.filled)} batch norm counters set to 0")
        if self.fresh:
            parts.append(f"{len(self.fresh)} left at their initial values")
        if self.left_over:
            parts.append(f"{len(self.left_over)} left over")
        return f"{self.layout}: " + "; ".join([*parts, f"{len(self.missing)} missing"])


def match_keys(foreign: Iterable[str], wanted: Iterable[str], table: Table) -> Match:
    """Where every foreign key and every wanted key goes under this table; decides by name alone, refuses nothing."""
    want, used, copies = set(wanted), dict[str, str](), dict[str, str]()
    dropped, strangers, left_over = dict[str, list[str]](), list[str](), list[str]()
    renames = [(re.compile(r.pattern), r.ours) for r in table.renames]
    drops = [(re.compile(d.pattern), d.reason) for d in table.drops]
    for key in sorted(foreign):
        ours = next((m.expand(to) for p, to in renames if (m := p.fullmatch(key))), None)
        reason = next((why for p, why in drops if p.fullmatch(key)), None)
        if ours in want and ours in used:
            copies[key] = ours
        elif ours is not None and ours in want:
            used[ours] = key
        elif reason is not None:
            dropped.setdefault(reason, []).append(key)
        elif ours is not None and key.endswith(UNUSED_COUNTER):
            dropped.setdefault("unused batch norm counters", []).append(key)
        elif ours is not None or key.startswith(table.networks):
            left_over.append(key)
        else:
            strangers.append(key)
    fresh = tuple(p for p in table.fresh if not any(k.startswith(p) for k in used))
    lacking = sorted(want - set(used))
    unfilled = [k for k in lacking if not k.startswith(fresh)] if fresh else lacking
    return Match(
        layout=table.layout,
        used=dict(sorted(used.items())),
        copies=copies,
        dropped={reason: tuple(keys) for reason, keys in sorted(dropped.items())},
        strangers=tuple(strangers),
        filled=tuple(k for k in unfilled if k.endswith(UNUSED_COUNTER)),
        fresh=tuple(sorted(set(lacking) - set(unfilled))),
        left_over=tuple(left_over),
        missing=tuple(k for k in unfilled if not k.endswith(UNUSED_COUNTER)),
    )


def take(match: Match, foreign: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Our state dict, copied out of the foreign tensors; `wanted` gives shape and type of each (meta tensors will do).

    Raises WeightsError for keys left over or missing, shapes that differ, values that are not finite, and two copies
    of one tensor that differ. `source` names the file in messages.
    """
    if match.left_over or match.missing:
        raise WeightsError(
            f"{source} does not fit ({match.summary()})."
            + _some("\nLeft over", match.left_over)
            + _some("\nMissing (our names)", match.missing)
            + "\nIs it of another model, or changed? `openexpose weights show FILE` lists what is inside."
        )
    wrong = [
        f"{key} {tuple(foreign[key].shape)}, expected {tuple(wanted[ours].shape)}"
        for ours, key in [*match.used.items(), *((o, k) for k, o in match.copies.items())]
        if foreign[key].shape != wanted[ours].shape
        or foreign[key].is_floating_point() != wanted[ours].is_floating_point()
    ]
    if wrong:
        raise WeightsError(f"{source}: {len(wrong)} tensors of another shape or type:" + _some("", wrong))
    state = {ours: _copy(foreign[key], wanted[ours], f"{source}: {key}") for ours, key in match.used.items()}
    for key, ours in match.copies.items():
        if not torch.equal(foreign[key].to(state[ours].dtype), state[ours]):
            raise WeightsError(f"{source}: {key} and {match.used[ours]} should be the same tensor twice, but differ.")
    for ours in match.filled:
        state[ours] = torch.zeros(wanted[ours].shape, dtype=wanted[ours].dtype)
    return state


def _copy(value: Tensor, like: Tensor, where: str) -> Tensor:
    """A contiguous copy in the wanted type; refuses NaN and infinity, which only damage or divergence puts there."""
    copied = value.to(like.dtype, copy=True).contiguous()
    if copied.is_floating_point() and not bool(torch.isfinite(copied).all()):
        raise WeightsError(f"{where} holds NaN or infinity; the file is damaged or its training diverged.")
    return copied


def _some(title: str, keys: Iterable[str], most: int = 4) -> str:
    listed = list(keys)
    if not listed:
        return ""
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{title}: {', '.join(listed[:most])}{more}."
