"""One file out of parts that were trained apart."""

from dataclasses import replace

import pytest
import torch

from openexpose.errors import WeightsError
from openexpose.nets.build import build_one
from openexpose.nets.config import lite, only
from openexpose.nets.means import Means
from openexpose.weights.importer import header_of
from openexpose.weights.join import average, join
from openexpose.weights.models import load_part
from openexpose.weights.native import Provenance, read_header, save_weights


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    torch.manual_seed(0)
    files = []
    for part in ("body", "hand", "head"):
        config = only(part, lite())
        path = tmp_path_factory.mktemp("parts") / f"{part}.safetensors"
        save_weights(build_one(part, config, means=Means()).state_dict(), path,
                     header_of(config, Provenance("trained with openexpose", note=f"seed of {part}")))  # fmt: skip
        files.append(path)
    return files


def test_the_whole_has_each_part_and_says_where_it_came_from(tmp_path, parts):
    out = tmp_path / "lite.safetensors"
    assert join(parts, out) == lite()
    found = read_header(out)
    assert found.header.storage == "float16" and "hand: seed of hand" in found.header.provenance.note
    assert found.n_bytes < 20 * 2**20
    for path, part in zip(parts, ("body", "hand", "head"), strict=True):
        a, b = load_part(path, part).state_dict(), load_part(out, part).state_dict()
        assert a.keys() == b.keys()
        assert all((a[k] - b[k]).abs().max() <= 1e-3 * a[k].abs().max() + 1e-7 for k in a if a[k].numel())  # float16


def test_a_body_trained_without_mirror_on_small_crops_is_joined_with_the_presets_settings(tmp_path, parts):
    small = replace(lite(), body=replace(lite().part("body"), mirror=False, closer=0.0, crop_px=128))
    path = tmp_path / "small.safetensors"
    save_weights(build_one("body", only("body", small), means=Means()).state_dict(), path,
                 header_of(only("body", small), Provenance("trained with openexpose")))  # fmt: skip
    out = tmp_path / "lite.safetensors"
    body = join([path, *parts[1:]], out).part("body")
    assert body.mirror and body.closer == lite().part("body").closer > 0
    assert len(load_part(out, "body").backbone.twins) == len(lite().part("body").points)
    assert len(load_part(path, "body").backbone.twins) == 0


def test_missing_parts_and_other_sizes_are_refused(tmp_path, parts):
    with pytest.raises(WeightsError, match="holds the head network"):
        join(parts[:2], tmp_path / "x.safetensors")
    wide = replace(lite(), hand=replace(lite().part("hand"), width=64))
    path = tmp_path / "wide.safetensors"
    save_weights(build_one("hand", only("hand", wide), means=Means()).state_dict(), path,
                 header_of(only("hand", wide), Provenance("trained with openexpose")))  # fmt: skip
    with pytest.raises(WeightsError, match="other sizes"):
        join([parts[0], path, parts[2]], tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_the_mean_of_files_is_their_mean_and_says_of_what(tmp_path, parts):
    other, out = tmp_path / "other.safetensors", tmp_path / "mean.safetensors"
    torch.manual_seed(1)
    config = only("hand", lite())
    save_weights(build_one("hand", config, means=Means()).state_dict(), other,
                 header_of(config, Provenance("trained with openexpose", note="later")))  # fmt: skip
    assert average([parts[1], other], out) == config
    a, b, mean = (load_part(p, "hand").state_dict() for p in (parts[1], other, out))
    floats = [k for k in a if a[k].is_floating_point()]
    assert max((mean[k] - (a[k] + b[k]) / 2).abs().max() for k in floats if a[k].numel()) < 1e-6
    assert all(torch.equal(mean[k], a[k]) for k in a if k not in floats)
    assert read_header(out).header.provenance.note == "mean of 2 files: seed of hand; later"
    with pytest.raises(WeightsError, match="at least two"):
        average([other], out)
    with pytest.raises(WeightsError, match="only networks of one kind"):
        average([other, parts[0]], out)
