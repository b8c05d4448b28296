"""dataset_metrics.npz of the golden set: what the reference's evaluate() printed, within 1e-4 mm."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_assets import golden_assets, golden_set
from openexpose.body import BodyModel, Posed, load_model
from openexpose.body.load import load_arrays
from openexpose.body.params import join_pose
from openexpose.evaluate import Outcome, ehf, freihand, pw3d, stirling
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.metrics import mpjpe_mm

pytestmark = [pytest.mark.golden, pytest.mark.skipif(golden_set() is None, reason="the golden set is not there")]
NEAR = 1e-4  # mm


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    folder = golden_set()
    assert folder is not None
    with np.load(folder / "dataset_metrics.npz") as z:
        return dict(z)


@pytest.fixture(scope="module")
def files() -> Path:
    return golden_assets() / "body_models"


def inputs(stored: dict[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: torch.from_numpy(v) for k, v in stored.items() if k.startswith(prefix)}


def posed(model: BodyModel, given: dict[str, Tensor]) -> Posed:
    blocks = {k: v for k, v in given.items() if k.endswith(("pose", "orient"))}
    if model.family == "mano":
        blocks["hand_pose"] = blocks.pop("right_hand_pose")
    return model.shape(given["betas"], given.get("expression")).pose(join_pose(model.family, blocks))


def agree(found: Outcome, stored: dict[str, np.ndarray], prefix: str) -> None:
    want = {k[len(prefix) :]: float(v) for k, v in stored.items() if k.startswith(prefix)}
    assert {k: found.score(k).value for k in want} == pytest.approx(want, abs=NEAR)


def test_3dpw(stored: dict[str, np.ndarray], files: Path) -> None:
    """The reference passes the gender and ignores it; the figures are those of the neutral body."""
    models = {g: load_model(files / "smpl" / f"SMPL_{g.upper()}.pkl") for g in ("neutral", "male", "female")}
    smpl = inputs(stored, "pw3d.in.smpl.")
    pose = torch.cat([smpl["global_orient"], smpl["body_pose"]], 1).reshape(-1, 24, 3)
    genders = ["m" if m else "f" for m in stored["pw3d.in.gender_m"]]
    pred = torch.from_numpy(stored["pw3d.in.pred_keypoints"])
    R = axis_angle_to_matrix(pose)
    true = pw3d.true_joints_m(models, smpl["betas"], R, truth="neutral", genders=genders)
    agree(pw3d.outcome(pred, true, protocol="mmhuman3d", truth="neutral"), stored, "pw3d.result.")
    gendered = pw3d.true_joints_m(models, smpl["betas"], R, truth="gendered", genders=genders)
    assert (gendered - true).norm(dim=-1).mean() > 0.001  # m: the quirk does move the truth


def test_ehf(stored: dict[str, np.ndarray], files: Path) -> None:
    file = files / "smplx" / "SMPLX_NEUTRAL.npz"
    anatomy, model = ehf.Anatomy.of(load_arrays(file)), load_model(file)
    pred, true = (posed(model, inputs(stored, f"ehf.in.{k}_param.")).skin().vertices_m for k in ("pred", "gt"))
    found = ehf.outcome(anatomy, pred, true, protocol="mmhuman3d")
    agree(found, stored, "ehf.result.")
    for name in ("MPJPE", "PVE", "PA-PVE"):
        assert found.score(name).value == pytest.approx(stored[f"ehf.result_nobodypart.{name}"], abs=NEAR)
    pa = mpjpe_mm(anatomy.joints_m(pred), anatomy.joints_m(true), align="procrustes").mean().item()
    assert pa == pytest.approx(stored["ehf.result_nobodypart.PA-MPJPE"], abs=NEAR)
    j14 = ehf.outcome(anatomy, pred, true, protocol="paper").score("BODY PA-MPJPE").value
    assert j14 == pytest.approx(stored["ehf.result_j14.PA-MPJPE"], abs=NEAR)


def test_freihand(stored: dict[str, np.ndarray], files: Path) -> None:
    model, gt = load_model(files / "mano" / "MANO_RIGHT.pkl"), inputs(stored, "freihand.in.gt.")
    true = freihand.true_vertices_m(model, gt["betas"], gt["global_orient"][:, 0], gt["right_hand_pose"])
    joints = torch.from_numpy(stored["freihand.in.keypoints3d"])[..., :3]
    pred = posed(model, inputs(stored, "freihand.in.pred_param."))
    agree(freihand.outcome(pred, joints, true, protocol="mmhuman3d"), stored, "freihand.result.")


def test_stirling(stored: dict[str, np.ndarray], files: Path) -> None:
    model = load_model(files / "flame" / "FLAME_NEUTRAL.pkl", num_betas=100)
    marks = stored["stirling.in.keypoints3d"][..., :3]
    scans = [stirling.Scan(p, m) for p, m in zip(stored["stirling.in.scan"], marks, strict=True)]
    pred = posed(model, inputs(stored, "stirling.in.pred_param."))
    agree(stirling.outcome(pred, scans, protocol="mmhuman3d", quality="HQ"), stored, "stirling.result.")
