"""Vertices, joints and landmarks of every case of the golden set: <= 1e-5 m in float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from golden_assets import golden_assets, golden_set
from openexpose.body import BodyModel, load_model
from openexpose.body.params import add_hand_mean, hand_pose_from_pca, join_pose
from openexpose.body.stages import Posed
from oracles import rodrigues

pytestmark = pytest.mark.golden
TEN_MICROMETRES = 1e-5
RENAMED = {"leye_pose": "left_eye_pose", "reye_pose": "right_eye_pose"}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    folder = golden_set()
    if folder is None:
        pytest.skip("no golden set")
    with np.load(folder / "body_models.npz") as z:
        return dict(z)


@pytest.fixture(scope="module")
def files(golden: dict[str, np.ndarray]) -> Path:
    return golden_assets() / "body_models"


@pytest.fixture(scope="module")
def smplx(files: Path) -> BodyModel:
    return load_model(files / "smplx" / "SMPLX_NEUTRAL.npz")


@pytest.fixture(scope="module")
def flame(files: Path) -> BodyModel:
    return load_model(files / "flame" / "FLAME_NEUTRAL.pkl", num_betas=100)


@pytest.fixture(scope="module")
def mano(files: Path) -> BodyModel:
    return load_model(files / "mano" / "MANO_RIGHT.pkl")


@pytest.fixture(scope="module")
def smpl(files: Path) -> BodyModel:
    return load_model(files / "smpl" / "SMPL_NEUTRAL.pkl")


def inputs(golden: dict[str, np.ndarray], *cases: str) -> dict[str, torch.Tensor]:
    """Inputs of the first case, overridden and completed by those of the next."""
    out: dict[str, torch.Tensor] = {}
    for case in cases:
        prefix = f"{case}.in."
        out |= {k[len(prefix) :]: torch.as_tensor(v) for k, v in golden.items() if k.startswith(prefix)}
    return {RENAMED.get(k, k): v for k, v in out.items()}


def rotations(aa: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(rodrigues(aa.numpy().reshape(*aa.shape[:-1], -1, 3))).float()


def posed(model: BodyModel, given: dict[str, torch.Tensor]) -> Posed:
    shape = [given.get("betas"), given.get("expression")]
    blocks = {k: v for k, v in given.items() if k.endswith(("_pose", "orient"))}
    if model.family == "mano":
        blocks = {k.replace("right_hand_pose", "hand_pose"): v for k, v in blocks.items()}
    return model.shape(*shape).pose(join_pose(model.family, blocks), given.get("transl"))


def compare(golden: dict[str, np.ndarray], case: str, what: Posed, points: str | None) -> None:
    vertices = what.skin().vertices_m.numpy()
    sample = golden[f"vertex_sample_{vertices.shape[1]}"]
    if f"{case}.vertices.sample" in golden:
        np.testing.assert_allclose(vertices[:, sample], golden[f"{case}.vertices.sample"], atol=TEN_MICROMETRES, rtol=0)
        np.testing.assert_allclose(vertices.mean(1), golden[f"{case}.vertices.mean"], atol=TEN_MICROMETRES, rtol=0)
        n = vertices.shape[1]
        W = np.random.default_rng([n, 5]).standard_normal((n * 3, 8)) / np.sqrt(n * 3)
        whole = vertices.reshape(len(vertices), -1).astype(np.float64) @ W
        np.testing.assert_allclose(whole, golden[f"{case}.vertices.proj"], atol=TEN_MICROMETRES, rtol=0)
    if points:
        np.testing.assert_allclose(what.keypoints_m().numpy(), golden[f"{case}.{points}"], atol=TEN_MICROMETRES, rtol=0)


def test_smplx_layer(golden: dict[str, np.ndarray], smplx: BodyModel) -> None:
    what = posed(smplx, inputs(golden, "smplx_layer"))
    compare(golden, "smplx_layer", what, "joints144")
    near = {"atol": TEN_MICROMETRES, "rtol": 0}
    np.testing.assert_allclose(what.regressed_m("j14").numpy(), golden["smplx_layer.joints_j14"], **near)
    np.testing.assert_allclose(what.shaped.rest_joints_m.numpy(), golden["smplx_layer.rest_joints"], **near)
    rest = what.shaped.rest_vertices_m.numpy()
    np.testing.assert_allclose(rest[:, golden["vertex_sample_10475"]], golden["smplx_layer.v_shaped.sample"], **near)


def test_smplx_layer_with_eyes_and_translation(golden: dict[str, np.ndarray], smplx: BodyModel) -> None:
    compare(golden, "smplx_layer_eyes", posed(smplx, inputs(golden, "smplx_layer", "smplx_layer_eyes")), "joints144")


def test_smplx_at_rest(golden: dict[str, np.ndarray], smplx: BodyModel) -> None:
    compare(golden, "smplx_layer_rest", smplx.shape(torch.zeros(1, 10), torch.zeros(1, 10)).pose(), "joints144")


def test_smplx_contour_follows_the_yaw(golden: dict[str, np.ndarray], smplx: BodyModel, flame: BodyModel) -> None:
    points = posed(smplx, inputs(golden, "smplx_yaw") | {"yaw_deg": torch.zeros(1)}).keypoints_m().numpy()
    np.testing.assert_allclose(points[:, 127:144], golden["smplx_yaw.contour17"], atol=TEN_MICROMETRES, rtol=0)
    np.testing.assert_allclose(points[:, 76:127], golden["smplx_yaw.static51"], atol=TEN_MICROMETRES, rtol=0)
    points = posed(flame, inputs(golden, "flame_yaw")).keypoints_m().numpy()
    np.testing.assert_allclose(points[:, 56:73], golden["flame_yaw.contour17"], atol=TEN_MICROMETRES, rtol=0)


@pytest.mark.parametrize("hands", ["smplx_aa", "smplx_aa_handmean", "smplx_aa_pca6"])
def test_smplx_from_axis_angle(golden: dict[str, np.ndarray], smplx: BodyModel, hands: str) -> None:
    """Hands flat (absolute), relative to the mean hand, and as 6 PCA coefficients on top of it."""
    given = inputs(golden, "smplx_aa", hands)
    for side in ("left", "right"):
        name = f"{side}_hand_pose"
        if hands == "smplx_aa_pca6":
            given[name] = hand_pose_from_pca(smplx.means, given[name], side, add_mean=True)
        elif hands == "smplx_aa_handmean":
            given[name] = add_hand_mean(smplx.means, given[name], side)
    given = {k: rotations(v) if k.endswith(("_pose", "orient")) else v for k, v in given.items()}
    compare(golden, hands, posed(smplx, given), "joints144")


def test_flame_layer(golden: dict[str, np.ndarray], flame: BodyModel) -> None:
    what = posed(flame, inputs(golden, "flame_layer"))
    compare(golden, "flame_layer", what, "joints73")
    face3d = what.keypoints_m()[:, [24, 27, 30, 33, 21, 36, 42]].numpy()
    np.testing.assert_allclose(face3d, golden["flame_layer.joints_face3d7"], atol=TEN_MICROMETRES, rtol=0)
    compare(golden, "flame_layer_eyes", posed(flame, inputs(golden, "flame_layer", "flame_layer_eyes")), "joints73")


def test_mano_layer(golden: dict[str, np.ndarray], mano: BodyModel) -> None:
    what = posed(mano, inputs(golden, "mano_layer"))
    compare(golden, "mano_layer", what, "joints21")
    np.testing.assert_allclose(what.joints_m.numpy(), golden["mano_layer.joints16"], atol=TEN_MICROMETRES, rtol=0)


def test_mano_from_axis_angle_relative_to_the_mean(golden: dict[str, np.ndarray], mano: BodyModel) -> None:
    given = inputs(golden, "mano_aa_handmean")
    given["hand_pose"] = add_hand_mean(mano.means, given["hand_pose"], "right")
    given = {k: rotations(v) if k.endswith(("_pose", "orient")) else v for k, v in given.items()}
    compare(golden, "mano_aa_handmean", posed(mano, given), "joints21")


def test_smpl(golden: dict[str, np.ndarray], smpl: BodyModel) -> None:
    given = inputs(golden, "smpl")
    what = posed(smpl, {k: v if k == "betas" else rotations(v) for k, v in given.items()})
    compare(golden, "smpl", what, "joints45")
    near = {"atol": TEN_MICROMETRES, "rtol": 0}
    np.testing.assert_allclose(what.regressed_m("h36m").numpy(), golden["smpl.joints_h36m17"], **near)
    np.testing.assert_allclose(what.keypoints_m().numpy(), golden["smpl_rotmat.joints45"], **near)
