"""The .glb is read back with json and struct, checked against the rules of glTF 2.0, and skinned in numpy."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from openexpose.errors import DataError
from openexpose.export.gltf import glb, quaternion, write_glb
from openexpose.export.skinned import SkinnedMesh, strongest

SIZE = {5121: 1, 5123: 2, 5125: 4, 5126: 4}
KIND = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTH = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def person(seed: int = 0, *, near: int = 4, joints: int = 12, **changes: Any) -> SkinnedMesh:
    """A ball with a random tree of joints; each vertex follows `near` of them."""
    rng = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(3, radius=0.9)
    n = len(ball.vertices)
    weights = np.zeros((n, joints))
    for row in weights:
        row[rng.choice(joints, near, replace=False)] = rng.random(near) + 0.01
    mesh = SkinnedMesh(
        name=f"person {seed}",
        vertices_rest_m=np.asarray(ball.vertices),
        faces=np.asarray(ball.faces),
        joint_names=[f"joint_{k}" for k in range(joints)],
        parents=np.array([-1] + [int(rng.integers(k)) for k in range(1, joints)]),
        joints_rest_m=rng.normal(size=(joints, 3)) * 0.4,
        weights=weights / weights.sum(axis=1, keepdims=True),
        R_parent_child=Rotation.random(joints, rng=rng).as_matrix(),
        root_m=rng.normal(size=3),
        morphs={
            "smile": np.where(rng.random((n, 1)) < 0.1, rng.normal(size=(n, 3)) * 0.02, 0.0),
            "all": rng.normal(size=(n, 3)) * 0.01,
            "none": np.zeros((n, 3)),
        },
        morph_values={"smile": 0.7, "all": -1.2},
    )
    return replace(mesh, **changes)


def skin(p: SkinnedMesh) -> np.ndarray:
    """Linear blend skinning, spec 4.1, written out with loops in float64."""
    rest = p.vertices_rest_m + sum(p.morph_values.get(k, 0.0) * m for k, m in p.morphs.items())
    G = np.zeros((p.J, 4, 4))
    for k in range(p.J):
        local = np.eye(4)
        local[:3, :3] = p.R_parent_child[k]
        parent = int(p.parents[k])
        local[:3, 3] = p.joints_rest_m[k] - (p.joints_rest_m[parent] if parent >= 0 else 0)
        G[k] = local if parent < 0 else G[parent] @ local
    out = np.zeros_like(rest)
    for k in range(p.J):
        out += p.weights[:, k : k + 1] * ((rest - p.joints_rest_m[k]) @ G[k, :3, :3].T + G[k, :3, 3])
    out += p.root_m
    return out @ p.T_world_model[:3, :3].T + p.T_world_model[:3, 3]


def parse(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, number, total = struct.unpack_from("<4sII", data)
    assert (magic, number, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert (kind, length % 4) == (b"JSON", 0)
    tree = json.loads(data[20 : 20 + length])
    length2, kind2 = struct.unpack_from("<I4s", data, 20 + length)
    assert (kind2, length2 % 4, 28 + length + length2) == (b"BIN\0", 0, total)
    return tree, data[28 + length :]


def read(tree: dict[str, Any], data: bytes, index: int) -> np.ndarray:
    a = tree["accessors"][index]
    out = np.zeros((a["count"], WIDTH[a["type"]]), dtype=KIND[a["componentType"]])
    if "bufferView" in a:
        view = tree["bufferViews"][a["bufferView"]]
        assert view["byteOffset"] % SIZE[a["componentType"]] == 0
        assert out.nbytes == view["byteLength"]
        out = np.frombuffer(data, out.dtype, out.size, view["byteOffset"]).reshape(out.shape).copy()
    if "sparse" in a:
        s = a["sparse"]
        views = [tree["bufferViews"][s[k]["bufferView"]] for k in ("indices", "values")]
        where = np.frombuffer(data, KIND[s["indices"]["componentType"]], s["count"], views[0]["byteOffset"])
        assert (np.diff(where.astype(int)) > 0).all()
        values = np.frombuffer(data, out.dtype, s["count"] * out.shape[1], views[1]["byteOffset"])
        out[where] = values.reshape(-1, out.shape[1])
    if "min" in a:
        np.testing.assert_array_equal(out.min(axis=0), np.array(a["min"], dtype=out.dtype))
        np.testing.assert_array_equal(out.max(axis=0), np.array(a["max"], dtype=out.dtype))
    return out


def world_transforms(tree: dict[str, Any]) -> list[np.ndarray]:
    local = []
    for node in tree["nodes"]:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
        T[:3, 3] = node.get("translation", [0, 0, 0])
        local.append(T)
    world: list[Any] = [None] * len(local)

    def visit(k: int, above: np.ndarray) -> None:
        assert world[k] is None, "a node has one parent"
        world[k] = above @ local[k]
        for child in tree["nodes"][k].get("children", []):
            visit(child, world[k])

    for root in tree["scenes"][0]["nodes"]:
        visit(root, np.eye(4))
    return world


def skinned_positions(tree: dict[str, Any], data: bytes, body: int) -> np.ndarray:
    """What a viewer shows for the body-th mesh node: morph, then skin (glTF 2.0, sections 3.7.2.2 and 3.7.3)."""
    node = [n for n in tree["nodes"] if "mesh" in n][body]
    mesh = tree["meshes"][node["mesh"]]
    primitive = mesh["primitives"][0]
    get = {k: read(tree, data, i) for k, i in primitive["attributes"].items()}
    v = get["POSITION"].astype(float)
    for value, target in zip(mesh.get("weights", []), primitive.get("targets", []), strict=True):
        v = v + value * read(tree, data, target["POSITION"])
    skin_item = tree["skins"][node["skin"]]
    bind = read(tree, data, skin_item["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
    world = world_transforms(tree)
    M = np.stack([world[j] @ b for j, b in zip(skin_item["joints"], bind, strict=True)])
    sets = sum(k.startswith("JOINTS_") for k in get)
    joints = np.concatenate([get[f"JOINTS_{k}"] for k in range(sets)], axis=1).astype(int)
    weights = np.concatenate([get[f"WEIGHTS_{k}"] for k in range(sets)], axis=1).astype(float)
    blended = np.einsum("vk,vkij->vij", weights, M[joints])
    return np.einsum("vij,vj->vi", blended[:, :3, :3], v) + blended[:, :3, 3]


@pytest.mark.parametrize("influences", [4, 8])
def test_viewer_shows_our_skinning(influences: int) -> None:
    p = person(near=4)
    data, report = glb([p], influences=influences)
    assert report.dropped_weight_max < 1e-9
    np.testing.assert_allclose(skinned_positions(*parse(data), 0), skin(p), atol=1e-5)  # metres, float32 file


def test_eight_influences_are_exact_and_four_report_what_they_lose() -> None:
    p = person(1, near=6, root_m=np.zeros(3))
    weights = np.zeros_like(p.weights)
    order = np.argsort(-p.weights, axis=1)
    share = np.array([0.5, 0.25, 0.15, 0.0995, 0.0003, 0.0002])  # a 0.05 % tail, like smooth body weights
    np.put_along_axis(weights, order[:, :6], np.broadcast_to(share, (len(weights), 6)), axis=1)
    p = replace(p, weights=weights, morphs={}, morph_values={})
    eight, lossless = glb([p], influences=8)
    np.testing.assert_allclose(skinned_positions(*parse(eight), 0), skin(p), atol=1e-5)  # metres
    assert lossless.dropped_weight_max < 1e-9
    four, report = glb([p], influences=4)
    assert report.dropped_weight_max == pytest.approx(5e-4, rel=1e-6)
    assert report.dropped_weight_mean == pytest.approx(5e-4, rel=1e-6)
    error = np.abs(skinned_positions(*parse(four), 0) - skin(p)).max()
    assert 1e-6 < error < 5e-3  # metres: 0.05 % of joints that are metres apart


def test_several_people_share_what_is_equal_and_stand_where_they_should() -> None:
    a = person(2)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = np.diag([1.0, -1, -1]), [2, 0, 1]
    b = replace(a, name="other", R_parent_child=person(3).R_parent_child, T_world_model=turn)
    both, one = glb([a, b])[0], glb([a])[0]
    tree, data = parse(both)
    for k, p in enumerate((a, b)):
        np.testing.assert_allclose(skinned_positions(tree, data, k), skin(p), atol=1e-5)  # metres
    assert len(both) < len(one) + 20_000  # bytes: only nodes are new
    assert len(tree["skins"]) == len(tree["meshes"]) == 2


def test_the_file_obeys_the_rules_of_gltf() -> None:
    colours = np.random.default_rng(0).random((642, 3))
    tree, data = parse(glb([person(), person(5, vertex_colours=colours)], influences=8)[0])
    assert tree["asset"]["version"] == "2.0"
    assert len(data) >= tree["buffers"][0]["byteLength"] > len(data) - 4
    for view in tree["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= tree["buffers"][0]["byteLength"]
    for mesh in tree["meshes"]:
        primitive = mesh["primitives"][0]
        get = {k: read(tree, data, i) for k, i in primitive["attributes"].items()}
        assert "min" in tree["accessors"][primitive["attributes"]["POSITION"]]
        np.testing.assert_allclose(np.linalg.norm(get["NORMAL"], axis=1), 1, atol=1e-6)
        weights = np.concatenate([get["WEIGHTS_0"], get["WEIGHTS_1"]], axis=1)
        joints = np.concatenate([get["JOINTS_0"], get["JOINTS_1"]], axis=1)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=5e-7)
        assert (joints[weights == 0] == 0).all()
        assert weights.min() >= 0
        faces = read(tree, data, primitive["indices"])
        assert faces.max() < len(get["POSITION"])
        assert len(mesh["weights"]) == len(primitive["targets"]) == len(mesh["extras"]["targetNames"])
    for node in tree["nodes"]:
        assert abs(np.linalg.norm(node.get("rotation", [0, 0, 0, 1])) - 1) < 1e-6
    assert {n["name"] for n in tree["nodes"]} >= {"joint_0", "joint_11", "person 0", "person 5"}
    bodies = [k for k, n in enumerate(tree["nodes"]) if "mesh" in n]
    assert set(bodies) <= set(tree["scenes"][0]["nodes"])  # a skinned mesh node belongs at the top
    colour = read(tree, data, tree["meshes"][1]["primitives"][0]["attributes"]["COLOR_0"])
    srgb = (colour[:, :3] / 65_535.0) ** (1 / 2.4) * 1.055 - 0.055
    np.testing.assert_allclose(np.where(colours > 0.05, srgb, colours), colours, atol=1e-3)  # sRGB 0..1


def test_trimesh_opens_it(tmp_path: Path) -> None:
    p = person()
    report = write_glb(tmp_path / "a.glb", [p])
    assert (tmp_path / "a.glb").stat().st_size == report.size_bytes
    scene = trimesh.load(tmp_path / "a.glb")
    (mesh,) = scene.geometry.values()
    assert mesh.faces.shape == p.faces.shape


def test_quaternions_turn_like_their_matrices() -> None:
    R = np.concatenate(
        [
            Rotation.random(200, rng=np.random.default_rng(0)).as_matrix(),
            [np.eye(3), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])],
        ]
    )
    q = quaternion(R)
    assert (q[:, 3] >= 0).all()
    np.testing.assert_allclose(Rotation.from_quat(q).as_matrix(), R, atol=1e-12)


def test_strongest_keeps_the_largest_and_sums_to_one() -> None:
    got = strongest(np.array([[0.1, 0.5, 0.0, 0.4], [1.0, 0, 0, 0]]), 2)
    assert got.joints.tolist() == [[1, 3], [0, 0]]
    np.testing.assert_allclose(got.weights, [[5 / 9, 4 / 9], [1, 0]], atol=1e-7)
    assert got.dropped_max == pytest.approx(0.1)
    assert strongest(np.array([[1.0]]), 4).weights.tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"parents": np.arange(12)}, "parents"),
        ({"weights": np.full((642, 12), 0.5)}, "sum to one"),
        ({"R_parent_child": np.tile(np.diag([1.0, 1, -1]), (12, 1, 1))}, "not rotations"),
        ({"morph_values": {"frown": 1.0}}, "frown"),
        ({"root_m": np.array([np.nan, 0, 0])}, "not finite"),
        ({"T_world_model": np.diag([2.0, 2, 2, 1])}, "rigid"),
    ],
)
def test_refusals(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        person(**changes)


def test_refuses_other_counts_and_nobody() -> None:
    with pytest.raises(DataError, match="influences=5"):
        glb([person()], influences=5)
    with pytest.raises(DataError, match="at least one person"):
        glb([])
