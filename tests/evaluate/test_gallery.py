"""The page of a benchmark: the right samples, drawn once each, everything escaped."""

from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.errors import ConfigError, DataError
from openexpose.evaluate import Outcome, Score
from openexpose.evaluate.gallery import gallery_page, write_gallery


def outcome(n: int) -> Outcome:
    each = torch.arange(float(n))
    scores = (Score.of("MPJPE", -each + 100), Score.of("PA-MPJPE", each))
    return Outcome("3dpw", "mmhuman3d", scores, ("hips <on> hips",), {"per joint": {"neck": 4.0}})


def names(n: int) -> list[str]:
    return [f"p{i:02d}.jpg" for i in range(n)]


def test_worst_and_median_are_shown_and_drawn_once(tmp_path: Path) -> None:
    drawn: list[int] = []

    def draw(row: int) -> np.ndarray:
        drawn.append(row)
        return np.full((20, 30, 3), row, np.uint8)

    path = write_gallery(tmp_path, outcome(60), names(60), draw, figure="PA-MPJPE", about="weights <a>")
    page = path.read_text()
    assert path.name == "3dpw_mmhuman3d.html"
    assert sorted(drawn) == [*range(18, 60)]  # worst 36..59, median 18..41
    worst = page[page.index("Worst by PA-MPJPE") : page.index("Around the median")]
    assert worst.count("<figure") == 24 and worst.index("p59.jpg") < worst.index("p58.jpg")
    assert "p59.jpg: PA-MPJPE 59.0 mm (MPJPE 41.0)" in worst
    assert "60.43" in page and "hips &lt;on&gt; hips" in page and "weights &lt;a&gt;" in page


def test_few_samples_and_refusals() -> None:
    def draw(row: int) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)

    page = gallery_page(outcome(2), names(2), draw, cases=24).html()
    assert page.count("p01.jpg: MPJPE") == 2 and "in the middle" in page
    with pytest.raises(DataError, match="3 samples, but 2 names"):
        gallery_page(outcome(3), names(2), draw)
    with pytest.raises(ConfigError, match="no figure 'PVE'"):
        gallery_page(outcome(3), names(3), draw, figure="PVE")
