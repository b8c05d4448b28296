"""metrics.npz of the golden set: every case within 1e-4 mm."""

import numpy as np
import pytest
import torch

from golden_assets import golden_set
from openexpose.metrics import (
    FaceMask,
    auc3d_01,
    fit_similarity,
    pck3d_01,
    point_errors_mm,
    pve_mm,
    rmse3d,
)

pytestmark = [pytest.mark.golden, pytest.mark.skipif(golden_set() is None, reason="the golden set is not there")]
NEAR = 1e-4  # mm
ROUNDING = 1e-5  # per cent, dimensionless: the reference counted in float32


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    folder = golden_set()
    assert folder is not None
    with np.load(folder / "metrics.npz") as z:
        return dict(z)


def metres(stored: dict[str, np.ndarray], key: str) -> torch.Tensor:
    return torch.from_numpy(stored[key]).double() / 1000


@pytest.mark.parametrize("align", ["none", "scale", "procrustes"])
def test_point_metrics(stored: dict[str, np.ndarray], align: str) -> None:
    pred, true = metres(stored, "kp.in.pred"), metres(stored, "kp.in.gt")
    seen = torch.from_numpy(stored["kp.in.mask"])
    error = point_errors_mm(pred, true, align=align)
    assert error.mean().item() == pytest.approx(stored[f"kp.mpjpe_{align}"], abs=NEAR)
    one = error[seen][None]  # the reference averages over all visible points, not person by person
    assert one.mean().item() == pytest.approx(stored[f"kp.mpjpe_masked_{align}"], abs=NEAR)
    per_cent = 100 * pck3d_01(one, at_mm=150.0)
    assert per_cent.item() == pytest.approx(stored[f"kp.pck150_masked_{align}"], abs=ROUNDING)
    per_cent = 100 * auc3d_01(one)
    assert per_cent.item() == pytest.approx(stored[f"kp.auc_masked_{align}"], abs=ROUNDING)
    pred, true = metres(stored, "pve.in.pred"), metres(stored, "pve.in.gt")
    assert pve_mm(pred, true, align=align).mean().item() == pytest.approx(stored[f"pve.{align}"], abs=NEAR)


def test_similarity_transforms(stored: dict[str, np.ndarray]) -> None:
    """All six, one of which a mirroring solution would fit better."""
    pred, true = (torch.from_numpy(stored[f"kp.in.{k}"]) for k in ("pred", "gt"))
    fit = fit_similarity(pred, true)
    for i in range(len(pred)):
        case = f"kp.procrustes_{i}"
        np.testing.assert_allclose(fit.R[i], stored[f"{case}.rotation"], atol=1e-9)  # dimensionless
        np.testing.assert_allclose(fit.scale[i], stored[f"{case}.scale"], atol=1e-9)  # dimensionless
        np.testing.assert_allclose(fit.t[i], stored[f"{case}.translation"][:, 0], atol=NEAR)
        np.testing.assert_allclose(fit(pred)[i], stored[f"{case}.aligned"], atol=NEAR)


def test_3drmse(stored: dict[str, np.ndarray]) -> None:
    marks, scan = stored["rmse3d.in.scan_landmarks"], stored["rmse3d.in.scan"]
    mask = FaceMask.of(marks)
    np.testing.assert_allclose(mask.centre, stored["rmse3d.face_centre"], atol=NEAR)
    assert mask.radius == pytest.approx(stored["rmse3d.mask_radius"], abs=NEAR)
    assert mask.holds(scan).sum() == stored["rmse3d.num_points_in_mask"]
    value = rmse3d(
        stored["rmse3d.in.mesh_vertices"],
        stored["rmse3d.in.mesh_faces"],
        stored["rmse3d.in.mesh_landmarks"],
        scan=scan,
        scan_landmarks=marks,
    )
    assert value == pytest.approx(stored["rmse3d.value"], abs=NEAR)
