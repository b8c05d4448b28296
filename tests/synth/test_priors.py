"""The Gaussians that ship are those of what the data engine draws."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from openexpose.nets import priors
from openexpose.synth.priors import EXPRESSIONS, KINDS, measured


@pytest.fixture(scope="module")
def again() -> dict[str, NDArray[np.float32]]:
    return measured()


def test_the_shipped_priors_are_the_measured_ones_and_usable(again):
    for kind, size in (("body", 63), ("hand", 45), ("face", 3 + EXPRESSIONS)):
        prior, groups = priors.shipped(kind), KINDS[kind]
        assert prior.mean.shape == (groups, size) and prior.precision.shape == (groups, size, size)
        np.testing.assert_allclose(prior.mean.numpy(), again[f"{kind}.mean"], atol=1e-5)  # radians, coefficients
        np.testing.assert_allclose(prior.weight.numpy(), again[f"{kind}.weight"], atol=1e-6)
        assert abs(float(prior.weight.sum()) - 1) < 1e-6
        covariance = np.linalg.inv(prior.precision.numpy())
        np.testing.assert_allclose(covariance, again[f"{kind}.covariance"], atol=1e-4)
        assert np.linalg.eigvalsh(covariance).min() > 5e-4  # nothing is impossible: 0.03 rad at least


def test_knees_bend_backwards_and_arms_hang_in_the_prior():
    mean = priors.shipped("body").mean[0].view(21, 3)
    left_knee, right_knee = mean[3], mean[4]
    assert left_knee[0] > 0.2 and right_knee[0] > 0.2  # radians about +x: the shank goes back
    assert abs(left_knee[0] - right_knee[0]) < 0.1  # mirrored poses are as good


def test_the_groups_of_hands_are_worth_having(again):
    prior, mean = priors.shipped("hand"), again["hand.mean"]
    together = (prior.weight[:, None] * torch.from_numpy(mean)).sum(0)
    curl = prior.mean.view(len(mean), 15, 3).norm(dim=-1).mean(1)
    assert curl.max() > 1.5 * curl.min()  # radians: fists are not flat hands
    assert (prior.mean - together).norm(dim=-1).min() > 0.1  # none is the mean hand
