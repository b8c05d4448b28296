"""Right hands and heads as 2D points alone (`proxies.py` has what they share with bodies)."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from openexpose.body import BodyModel, Posed, load_model
from openexpose.body.free import load_facial_actions
from openexpose.body.hands import hand_axes
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.synth.labels import PartShapes
from openexpose.synth.poses import draw_face, draw_hand, hand_rotations
from openexpose.synth.proxies import ProxySource, Sight, turns

BANK = 8000
"""Hands and faces drawn beforehand; each use adds noise of its own."""
_BANK_SEED = 20_261


class HandProxies(ProxySource):
    """Right hands turned anyhow: half of them close up, as cameras see single hands."""

    def __init__(self, model: BodyModel, names: tuple[str, ...]) -> None:
        super().__init__(model, names, Sight((0.35, 4.0), (1.1, 2.9), 0.12, 0.03, 0.35, 0.2, 0.0))
        rng = np.random.default_rng(_BANK_SEED)
        axes = hand_axes(load_model("free"), "right").numpy().astype(np.float64)
        R = np.stack([hand_rotations(draw_hand(rng), axes) for _ in range(BANK)])
        self._fingers = torch.from_numpy(R).float()

    def draw(self, rng: np.random.Generator, size: int) -> Mapping[str, Tensor]:
        """Hands of the bank with every joint bent a little more or less."""
        wrist = Rotation.random(size, random_state=rng).as_matrix()
        noise = axis_angle_to_matrix(torch.from_numpy(rng.normal(0, 0.04, (size, 15, 3))).float())
        fingers = self._fingers[rng.integers(BANK, size=size)] @ noise
        betas = torch.from_numpy(rng.normal(0, 1, (size, self.model.num_betas))).float().clamp(-2.8, 2.8)
        return {"global_orient": torch.from_numpy(wrist).float(), "right_hand_pose": fingers, "betas": betas}

    def posed(self, params: Mapping[str, Tensor]) -> Posed:
        """FreeHand."""
        full = torch.cat([params["global_orient"][:, None], params["right_hand_pose"]], 1)
        return self.model.shape(params["betas"]).pose(full)


class HeadProxies(ProxySource):
    """Heads, mostly seen from the front, with the faces that rendered people make."""

    def __init__(self, model: BodyModel, names: tuple[str, ...]) -> None:
        super().__init__(model, names, Sight((0.5, 4.0), (1.15, 2.2), 0.07, 0.012, 0.15, 0.05, 0.0))
        rng, actions = np.random.default_rng(_BANK_SEED), load_facial_actions()
        faces = [draw_face(actions, self.model.num_expression, rng) for _ in range(BANK)]
        self._expression = np.stack([f.expression for f in faces])
        self._jaw_rad = np.stack([f.jaw_rad for f in faces])
        self._betas = PartShapes.fitted().head

    def draw(self, rng: np.random.Generator, size: int) -> Mapping[str, Tensor]:
        """Faces of the bank on the heads of bodies."""
        face = rng.integers(BANK, size=size)
        pose = turns(rng, size, frontal=0.85, spread=(0.45, 0.25, 0.3))
        betas = np.zeros((size, self.model.num_betas))
        there = rng.normal(0, 1, (size, self._betas.shape[1])).clip(-2.8, 2.8) @ self._betas.T
        betas[:, : there.shape[1]] = there[:, : betas.shape[1]]
        expression = self._expression[face] + rng.normal(0, 0.1, (size, self.model.num_expression))
        jaw = axis_angle_to_matrix(torch.from_numpy(self._jaw_rad[face] + rng.normal(0, 0.02, (size, 3))).float())
        numbers = {"betas": betas, "expression": expression, "global_orient": pose}
        return {"jaw_pose": jaw} | {name: torch.from_numpy(value).float() for name, value in numbers.items()}

    def posed(self, params: Mapping[str, Tensor]) -> Posed:
        """FreeHead, its neck straight."""
        full = torch.eye(3).repeat(len(params["betas"]), self.model.num_joints, 1, 1)
        full[:, 0], full[:, 2] = params["global_orient"], params["jaw_pose"]
        return self.model.shape(params["betas"], params["expression"]).pose(full)
