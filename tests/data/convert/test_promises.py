"""What holds for every converter, or for the few that share a quirk."""

import os
import shutil

import cv2
import pytest

from openexpose import images
from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.convert.table import CONVERTERS, converter
from tests.raw_trees.every import TREES


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_converter_decodes_a_photo(name, tmp_path, monkeypatch):
    options = Options(TREES[name](tmp_path, 4, False), body_models=tmp_path / "body_models")
    for place, function in ((images.Photo, "decode"), (cv2, "imread"), (cv2, "imdecode")):
        monkeypatch.setattr(place, function, lambda *a, **k: pytest.fail("a photo was decoded"))
    made = convert(name, options, tmp_path / "out")
    assert {o.output for o in made if o.rows} == set(CONVERTERS[name].outputs)


@pytest.mark.parametrize("name", ["ehf", "pw3d"])
def test_rows_come_in_the_file_systems_order_under_quirks_only(name, tmp_path, monkeypatch):
    root = TREES[name](tmp_path, 3, False)
    if name == "pw3d":
        sequence = next((root / "sequenceFiles" / "test").glob("*.pkl"))
        for other in ("b", "a"):
            shutil.copy(sequence, sequence.with_name(f"{other}.pkl"))
    listed = os.listdir
    module, output = converter(name), CONVERTERS[name].outputs[0]

    def sources(*, quirks: bool, turned: bool) -> list[str]:
        monkeypatch.setattr(os, "listdir", lambda p: sorted(listed(p), reverse=turned))
        found = module.jobs(output, Options(root, reference_quirks=quirks))
        return [s.name for job in found for s in job.sources if s.suffix in (".pkl", ".jpg")]

    ours = sources(quirks=False, turned=False)
    assert len(ours) >= 3 and ours == sources(quirks=False, turned=True)
    assert sources(quirks=True, turned=True) == sorted(ours, reverse=True)
    assert sources(quirks=True, turned=False) == sorted(ours)
