"""Hands and heads out of rendered whole people."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from openexpose.body import load_model
from openexpose.data.humandata import HumanData
from openexpose.data.humandata_write import write_records
from openexpose.errors import ConfigError, DataError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import Skeleton
from openexpose.synth.cut import AROUND, cut
from openexpose.synth.make import Job, make
from openexpose.synth.scene import SynthConfig


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("people")
    cfg = SynthConfig(size_px=192, supersample=1, whole=0.0, upper=1.0, head=0.0, hand=0.0, crowd=0.0)
    list(make(Job(cfg, 5, 0, 6, "body", out, masks=False)))
    return out


@pytest.mark.parametrize("part", ["hand", "head"])
def test_parameters_fit_the_points_of_right_and_mirrored_left_parts(people, tmp_path, part):
    done = list(cut(people, tmp_path, part))
    data = HumanData.open(tmp_path / "labels.npz")
    assert done[-1] == (6, len(data)) and len(data) >= 4
    model = load_model(f"free-{part}", num_betas={"hand": 10, "head": 100}[part])
    if part == "hand":
        assert {"left" in data.row(i).photo for i in range(len(data))} == {True, False}
    for i in range(len(data)):
        row = data.row(i)
        p = {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in row.params.items()}
        R = torch.eye(3).repeat(1, model.num_joints, 1, 1)
        R[0, 0] = axis_angle_to_matrix(p["global_orient"])
        expression = None
        if part == "hand":
            R[0, 1:] = axis_angle_to_matrix(p["right_hand_pose"])
        else:
            R[0, 2], expression = axis_angle_to_matrix(p["jaw_pose"]), p["expression"][None, : model.num_expression]
            expression = torch.nn.functional.pad(expression, (0, model.num_expression - expression.shape[1]))
        points = model.shape(p["betas"][None, : model.num_betas], expression).pose(R).keypoints_m()[0].double()
        names = list(row.keypoints3d.skeleton.names)
        own = Skeleton.read("freihand").names[1:] if part == "hand" else Skeleton.read("ibug68").names[17:]
        shared = [n for n in own if n in names and n in model.keypoint_names]
        got = points[[list(model.keypoint_names).index(n) for n in shared]].numpy()
        want = row.keypoints3d.xyc[[names.index(n) for n in shared], :3]
        offset = (want - got).mean(0)  # same axes, no turn: only the place is free
        assert len(shared) >= 20
        assert np.abs(got + offset - want).max() < 0.003, (row.photo, part)  # metres: two models of one surface


def test_the_picture_is_the_photo_round_the_part(people, tmp_path):
    list(cut(people, tmp_path, "hand"))
    data = HumanData.open(tmp_path / "labels.npz")
    for i in range(len(data)):
        row = data.row(i)
        picture = cv2.imread(str(tmp_path / row.photo))
        side = max(row.box_xywh_px[2:]) / 1.2
        assert max(picture.shape[:2]) <= AROUND * side + 2  # pixels
        inside = (row.keypoints2d.xyc[:, :2] > -1) & (row.keypoints2d.xyc[:, :2] < picture.shape[1::-1])
        assert inside.all(1).mean() > 0.3


def test_bodies_and_photos_that_nobody_rendered_are_refused(people, tmp_path):
    with pytest.raises(ConfigError, match="hand or head"):
        list(cut(people, tmp_path, "body"))
    rows = [replace(r, extras={}) for r in HumanData.open(people / "labels.npz")]
    write_records(tmp_path / "labels.npz", rows)
    with pytest.raises(DataError, match="which points are seen"):
        list(cut(tmp_path, tmp_path / "out", "hand"))
