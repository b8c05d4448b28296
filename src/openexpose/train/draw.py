"""Pictures of what a network says during training."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openexpose.geometry.crop import MEAN_RGB, STD_RGB
from openexpose.losses.network import NetworkLoss
from openexpose.train.batch import Batch

SIDE_PX = 192
LABEL, ANSWER = (60, 200, 60), (230, 60, 60)


def picture(batch: Batch, points_u: Float[Tensor, "B K 2"], loss: NetworkLoss) -> UInt8[np.ndarray, "H W 3"]:
    """A row of crops, RGB: labelled points in green, the network's in red with a line to their labels."""
    return np.concatenate([_one(batch, points_u, i, loss.crop_px) for i in range(len(batch))], axis=1)


def _one(batch: Batch, points_u: Tensor, i: int, crop_px: int) -> UInt8[np.ndarray, "S S 3"]:
    colours = (
        batch.crops[i].float().cpu() * torch.tensor(STD_RGB)[:, None, None] + torch.tensor(MEAN_RGB)[:, None, None]
    )
    photo = colours.permute(1, 2, 0).clamp(0, 255).numpy().astype(np.uint8)
    photo = cv2.resize(photo, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    label = batch.targets["keypoints2d"].value[i].cpu().numpy()
    weight = float(batch.targets["keypoints2d"].weight[i])
    seen = weight * label[:, 2] > 0
    wanted = _fine(label[:, :2] / (crop_px - 1))
    answered = _fine((points_u[i].float().cpu().numpy() + 1) / 2)
    for a, b, known in zip(answered, wanted, seen, strict=True):
        if known:
            cv2.line(photo, a, b, ANSWER, 1, cv2.LINE_AA, 4)
            cv2.circle(photo, b, 24, LABEL, -1, cv2.LINE_AA, 4)
        cv2.circle(photo, a, 24, ANSWER, -1, cv2.LINE_AA, 4)
    return np.asarray(photo, np.uint8)


def _fine(points_01: np.ndarray) -> list[tuple[int, int]]:
    """OpenCV coordinates in sixteenths of a pixel, kept near the picture."""
    finite = np.nan_to_num(points_01, nan=-1.0, posinf=2.0, neginf=-1.0).clip(-1, 2)
    return [(round(float(x) * (SIDE_PX - 1) * 16), round(float(y) * (SIDE_PX - 1) * 16)) for x, y in finite]
