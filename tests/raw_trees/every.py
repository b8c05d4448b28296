"""The miniature raw tree of every data set, of about any size."""

from collections.abc import Callable
from pathlib import Path

from tests.raw_trees.coco import write_coco
from tests.raw_trees.ehf import write_ehf
from tests.raw_trees.ffhq import write_ffhq
from tests.raw_trees.fits import write_curated_fits, write_spin_smplx
from tests.raw_trees.freihand import write_freihand, write_means
from tests.raw_trees.h36m import write_h36m
from tests.raw_trees.lsp import write_lsp, write_lspet
from tests.raw_trees.mpii import write_mpii
from tests.raw_trees.openpose import write_openpose
from tests.raw_trees.people import Person, person
from tests.raw_trees.pw3d import write_pw3d
from tests.raw_trees.stirling import write_stirling


def _people(count: int, drawn: bool) -> list[Person]:
    some = [person(i, drawn=drawn) for i in range(min(count, 4))]
    return [some[i % len(some)] for i in range(count)]


def _ehf(root: Path, rows: int, drawn: bool) -> Path:
    write_ehf(root / "EHF", _people(min(rows, 60), drawn), drawn=drawn)
    return root / "EHF"


def _pw3d(root: Path, rows: int, drawn: bool) -> Path:
    two = _people(2, drawn)
    write_pw3d(root / "3DPW", [two[:1], two], frames=max(1, rows // 3), lost=(), drawn=drawn)
    return root / "3DPW"


def _h36m(root: Path, rows: int, drawn: bool) -> Path:
    frames = max(1, min(rows, 400) // 4) * 5
    write_h36m(root / "h36m", _people(4, drawn), frames=frames, drawn=drawn)
    return root / "h36m"


def _curated_fits(root: Path, rows: int, drawn: bool) -> Path:
    write_curated_fits(root / "ExPose_curated_fits", _people(rows, drawn))
    return root / "ExPose_curated_fits"


def _spin_smplx(root: Path, rows: int, drawn: bool) -> Path:
    write_spin_smplx(root / "spin_in_smplx", _people(4, drawn), fitted=max(1, rows // 4))
    return root / "spin_in_smplx"


def _freihand(root: Path, rows: int, drawn: bool) -> Path:
    write_means(root / "body_models")
    write_freihand(root / "FreiHand", training=max(2, rows // 4), evaluation=1, drawn=drawn)
    return root / "FreiHand"


def _ffhq(root: Path, rows: int, drawn: bool) -> Path:
    write_ffhq(root / "ffhq", count=rows, drawn=drawn)
    return root / "ffhq"


def _stirling(root: Path, rows: int, drawn: bool) -> Path:
    write_stirling(root / "stirling", photos_each=max(1, min(rows, 60) // 6))
    return root / "stirling"


def _lsp(root: Path, rows: int, drawn: bool) -> Path:
    write_lsp(root / "lsp", count=rows, drawn=drawn)
    return root / "lsp"


def _lspet(root: Path, rows: int, drawn: bool) -> Path:
    write_lspet(root / "lspet", count=rows, drawn=drawn)
    return root / "lspet"


def _coco(root: Path, rows: int, drawn: bool) -> Path:
    write_coco(root / "coco", count=max(2, rows // 2), drawn=drawn)
    return root / "coco"


def _mpii(root: Path, rows: int, drawn: bool) -> Path:
    write_mpii(root / "mpii", count=rows, drawn=drawn)
    return root / "mpii"


def _openpose(root: Path, rows: int, drawn: bool) -> Path:
    folder = root / "openpose"
    write_openpose(folder, drawn=drawn)
    text = (folder / "keypoints" / "beach_keypoints.json").read_text()
    photo = (folder / "images" / "beach.jpg").read_bytes()
    for i in range(rows - 2):
        (folder / "keypoints" / f"{i:06d}_keypoints.json").write_text(text)
        (folder / "images" / f"{i:06d}.jpg").write_bytes(photo)
    return folder


TREES: dict[str, Callable[[Path, int, bool], Path]] = {
    "curated_fits": _curated_fits,
    "spin_smplx": _spin_smplx,
    "h36m": _h36m,
    "ehf": _ehf,
    "pw3d": _pw3d,
    "freihand": _freihand,
    "ffhq": _ffhq,
    "stirling": _stirling,
    "lsp": _lsp,
    "lspet": _lspet,
    "coco": _coco,
    "coco_wholebody": _coco,
    "mpii": _mpii,
    "openpose": _openpose,
}
"""Converter -> what writes its raw tree into a folder and returns the place for --root.

It is given about how many rows to make, and whether to draw people in the photos (blank ones are quick). The folder
is also that of `body_models`, where a data set needs one.
"""
