import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.errors import ConfigError, ShapeError
from openexpose.skeleton import PARTS, Skeleton, kinematic_parents, part_of

GOLDEN = Path(os.environ.get("OPENEXPOSE_GOLDEN", Path(__file__).parents[3] / "shared/golden/set_public"))
SIZES = {
    "human_data": 190,
    "smplx": 144,
    "flame": 73,
    "mano": 21,
    "freihand": 21,
    "face3d": 7,
    "lsp": 14,
    "lspet": 14,
    "h36m": 17,
    "h36m_smplx": 17,
    "h36m_train": 17,
    "spin_smplx": 24,
    "spin_24": 24,
    "smplx_lsp": 148,
    "coco": 17,
    "ibug68": 68,
    "coco_wholebody": 133,
    "openpose_25": 25,
    "openpose_137": 137,
    "openpose_137_mmhuman3d": 137,
    "smpl": 24,
    "smpl_45": 45,
    "mpii": 16,
    "pw3d": 18,
    "mpi_inf_3dhp": 28,
}


@pytest.fixture(scope="module")
def conventions():
    path = GOLDEN / "conventions.json"
    if not path.exists():
        pytest.skip("no golden set")
    return json.loads(path.read_text())


def test_every_table_has_its_size():
    assert set(Skeleton.available()) == set(SIZES)
    assert {n: len(Skeleton.read(n)) for n in SIZES} == SIZES


@pytest.mark.parametrize("name", sorted(SIZES))
def test_mirroring_twice_is_nothing(name):
    order = np.asarray(Skeleton.read(name).flip_permutation)
    np.testing.assert_array_equal(order[order], np.arange(len(order)))


@pytest.mark.parametrize("name", sorted(SIZES))
def test_parts_divide_the_points_and_mirrored_points_change_hands(name):
    skeleton = Skeleton.read(name)
    assert sorted(i for p in PARTS for i in skeleton.part(p)) == list(range(len(skeleton)))
    swap = {"left_hand": "right_hand", "right_hand": "left_hand"}
    for left, right in skeleton.flip_pairs:
        part = part_of(skeleton.names[left])
        assert part_of(skeleton.names[right]) == swap.get(part, part)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_bones_join_different_points_once(name):
    bones = [frozenset(b) for b in Skeleton.read(name).bones]
    assert len(set(bones)) == len(bones) and all(len(b) == 2 for b in bones)


@pytest.mark.parametrize("name", ["smplx", "smpl", "freihand", "mano"])
def test_bones_of_a_body_model_form_a_tree(name):
    skeleton = Skeleton.read(name)
    parent = dict(skeleton.bones)
    for child in parent:
        seen = {child}
        while child in parent:
            child = parent[child]
            assert child not in seen
            seen.add(child)


def test_a_skeleton_without_spine_shows_its_trunk():
    coco = Skeleton.read("coco")
    drawn = {frozenset((coco.names[a], coco.names[b])) for a, b in coco.bones}
    assert {frozenset(("left_shoulder", "left_hip_extra")), frozenset(("left_shoulder", "right_shoulder"))} <= drawn
    smplx = Skeleton.read("smplx")
    assert (smplx.index("left_shoulder"), smplx.index("left_hip")) not in smplx.bones


def test_unknown_convention_lists_those_there_are():
    with pytest.raises(ConfigError, match="coco_wholebody"):
        Skeleton.read("kinect")


def test_unknown_point_suggests_its_relatives():
    with pytest.raises(ConfigError, match="left_hip_extra"):
        Skeleton.read("lsp").index("left_hip")


def test_duplicate_names_are_refused():
    with pytest.raises(ConfigError, match="nose"):
        Skeleton("bad", ("nose", "nose"))


def test_mapping_there_and_back_keeps_common_points():
    smplx, human = Skeleton.read("smplx"), Skeleton.read("human_data")
    points = np.random.default_rng(3).normal(size=(5, 144, 3))
    np.testing.assert_array_equal(human.map_to(smplx)(smplx.map_to(human)(points)), points)


def test_absent_points_get_zero_everywhere():
    m = Skeleton.read("h36m_smplx").map_to(Skeleton.read("human_data"))
    out = m(np.ones((2, 17, 4), np.float32))
    assert out.dtype == np.float32 and out.shape == (2, 190, 4)
    assert out[..., 3].sum(-1).tolist() == [15, 15]  # 15 of 17 names survive (spec 6.2)
    assert set(m.dropped) == {"spine", "neck/nose"}


def test_known_losses_of_the_reference_tables():
    smplx = Skeleton.read("smplx")
    reference = Skeleton.read("openpose_137_mmhuman3d").map_to(smplx)
    ours = Skeleton.read("openpose_137").map_to(smplx)
    assert sum(ours.present) - sum(reference.present) == 10  # the eyebrows (spec 10.1)
    head = [reference.present[i] for i in smplx.part("head")]
    assert (sum(head), len(head)) == (63, 77)  # spec 7.2: face weights cap at 63/77
    spin = Skeleton.read("spin_smplx").map_to(Skeleton.read("human_data"))
    assert len(spin.pairs) == 19


def test_tensors_and_arrays_agree():
    m = Skeleton.read("coco_wholebody").map_to(Skeleton.read("smplx"), stand_ins={"left_hip": "left_hip_extra"})
    points = np.random.default_rng(0).normal(size=(3, 2, 133, 3)).astype(np.float32)
    np.testing.assert_array_equal(m(torch.from_numpy(points)).numpy(), m(points))
    assert m.present[1] and not m.present[2]


def test_stand_ins_must_exist_and_must_not_hide_a_point():
    coco, smplx = Skeleton.read("coco"), Skeleton.read("smplx")
    with pytest.raises(ConfigError, match="no point"):
        coco.map_to(smplx, stand_ins={"left_hip": "belt"})
    with pytest.raises(ConfigError, match="very point"):
        coco.map_to(smplx, stand_ins={"nose": "left_ear"})


def test_wrong_number_of_points_is_refused():
    m = Skeleton.read("coco").map_to(Skeleton.read("smplx"))
    with pytest.raises(ShapeError, match="17 points"):
        m(np.zeros((16, 3)))


def test_freihand_is_the_mano_hand_in_another_order():
    freihand, mano = Skeleton.read("freihand"), Skeleton.read("mano")
    assert set(freihand.names) == set(mano.names)
    assert freihand.names[:5] == ("right_wrist", "right_thumb_1", "right_thumb_2", "right_thumb_3", "right_thumb")


def test_tree_has_one_root_and_no_cycle():
    parent = kinematic_parents()
    for name in parent:
        steps = 0
        while name in parent:
            name, steps = parent[name], steps + 1
            assert steps < 20
        assert name == "pelvis"


@pytest.mark.golden
@pytest.mark.parametrize("name", ["smplx", "flame", "mano", "face3d", "lsp", "h36m", "human_data"])
def test_names_and_flips_agree_with_the_reference(conventions, name):
    want = conventions[name]
    skeleton = Skeleton.read(name)
    assert list(skeleton.names) == want["names"]
    if "flip_pairs" in want:
        assert [list(p) for p in skeleton.flip_pairs] == want["flip_pairs"]


@pytest.mark.golden
def test_parts_and_chains_agree_with_the_reference(conventions):
    for key, want in conventions["parts"].items():
        name, part = key.split(".")
        skeleton = Skeleton.read(name)
        got = skeleton.index(part) if isinstance(want, int) else list(skeleton.part(part))
        assert got == want, key
    smplx = Skeleton.read("smplx")
    assert {n: list(smplx.chain(n)) for n in conventions["kin_chain"]} == conventions["kin_chain"]


@pytest.mark.golden
def test_flame_to_face3d_agrees_with_the_reference(conventions):
    m = Skeleton.read("flame").map_to(Skeleton.read("face3d"))
    there, here = conventions["map_flame_to_face3d"]
    assert [list(p) for p in m.pairs] == [list(p) for p in zip(here, there, strict=True)]
