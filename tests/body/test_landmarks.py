"""The moving jaw contour: which table row fits which yaw (spec 4.2), by hand-computed cases."""

import math

import pytest
import torch

from openexpose.body.landmarks import contour_rows


def yaw(degrees: float) -> torch.Tensor:
    a = math.radians(degrees)
    return torch.tensor(
        [[[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]]], dtype=torch.float64
    )


def test_rotations_that_are_no_numbers_do_not_crash() -> None:
    assert contour_rows(torch.full((1, 3, 3), torch.nan)).item() == 0


FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("degrees", "row"),
    [(0, 0), (10, 49), (-10, 10), (-39, 39), (-60, 39), (39, 78), (38.6, 78), (60, 78), (-0.4, 0), (1, 40)],
)
def test_rows_by_hand(degrees: float, row: int) -> None:
    assert contour_rows(yaw(degrees)).item() == row


@pytest.mark.parametrize(("degrees", "row"), [(10, 10), (-10, 49)])
def test_rows_in_camera_axes(degrees: float, row: int) -> None:
    """A head seen by ExPose stands on its head (180 degrees about x), which swaps the sides (spec 4.2, [run])."""
    assert contour_rows(FLIP @ yaw(degrees)).item() == row
