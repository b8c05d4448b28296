"""The rows others printed, to stand beside ours. mmhuman3d: README of configs/expose. paper: ECCV 2020 tables."""

from dataclasses import dataclass
from typing import Literal

from openexpose.evaluate.score import Protocol


@dataclass(frozen=True)
class Published:
    """One printed number."""

    benchmark: str
    protocol: Protocol
    name: str
    """Same as `Score.name`."""
    value: float
    unit: str
    source: str
    certainty: Literal["read", "recalled"] = "read"
    """recalled: from memory of the paper, not checked against its text (spec A8)."""


_README = "mmhuman3d configs/expose README"
_PAPER = "ExPose, ECCV 2020"


def _readme(benchmark: str, unit: str, figures: dict[str, float]) -> tuple[Published, ...]:
    return tuple(Published(benchmark, "mmhuman3d", n, v, unit, _README) for n, v in figures.items())


def _paper(benchmark: str, unit: str, figures: dict[str, float]) -> tuple[Published, ...]:
    return tuple(Published(benchmark, "paper", n, v, unit, _PAPER, "recalled") for n, v in figures.items())


PUBLISHED: tuple[Published, ...] = (
    *_readme("3dpw", "mm", {"MPJPE": 92.59, "PA-MPJPE": 60.43}),
    *_readme("stirling", "mm", {"3DRMSE": 2.40}),
    *_readme("freihand", "mm", {"PA-MPJPE": 10.03, "PA-PVE": 9.61}),
    *_readme(
        "ehf",
        "mm",
        {
            "BODY PA-MPJPE": 55.70,
            "RIGHT_HAND PA-MPJPE": 14.6,
            "LEFT_HAND PA-MPJPE": 14.4,
            "PA-PVE": 56.65,
            "RIGHT_HAND PA-PVE": 14.6,
            "LEFT_HAND PA-PVE": 14.5,
            "FACE PA-PVE": 6.90,
        },
    ),
    *_paper("3dpw", "mm", {"MPJPE": 93.4, "PA-MPJPE": 60.7}),
    *_paper("stirling", "mm", {"HQ mean": 2.42, "HQ median": 1.91, "HQ std": 2.03}),
    *_paper("stirling-lq", "mm", {"LQ mean": 2.27, "LQ median": 1.76, "LQ std": 1.97}),
    *_paper("freihand", "mm", {"PA-MPJPE": 12.2, "PA-V2V": 11.8}),
    *_paper("freihand", "share", {"F@5": 0.484, "F@15": 0.918}),
    *_paper(
        "ehf",
        "mm",
        {
            "PA-V2V": 54.5,
            "BODY PA-V2V": 52.6,
            "LEFT_HAND PA-V2V": 13.1,
            "RIGHT_HAND PA-V2V": 12.5,
            "FACE PA-V2V": 5.8,
            "TR-V2V": 65.7,
            "BODY TR-V2V": 76.8,
            "LEFT_HAND TR-V2V": 31.2,
            "RIGHT_HAND TR-V2V": 32.4,
            "FACE TR-V2V": 15.9,
            "BODY PA-MPJPE": 62.8,
            "LEFT_HAND PA-MPJPE": 13.5,
            "RIGHT_HAND PA-MPJPE": 12.7,
            "P2S mean": 28.9,
            "P2S median": 18.0,
        },
    ),
)


def published(benchmark: str, protocol: Protocol, name: str) -> Published | None:
    """The printed number of a figure, or None where nobody printed one."""
    for row in PUBLISHED:
        if (row.benchmark, row.protocol, row.name) == (benchmark, protocol, name):
            return row
    return None
