"""Result files: valid against their schema, the same numbers in both, enough to rebuild everybody, honest about age."""

import json
from importlib import resources

import numpy as np
import pytest
import torch

from json_schema import problems
from openexpose.detect import Detection
from openexpose.detect.whole import WholePhoto
from openexpose.errors import DataError
from openexpose.export.result import (
    NPZ_NAME,
    About,
    clear_old,
    is_complete,
    read_document,
    read_result,
    write_result,
)
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.predict import Predictor
from openexpose.predict.predictor import as_shot
from openexpose.prediction import POSE_BLOCKS, Prediction
from tiny_weights import blobs, save_tiny

BOXES = [Detection((20.0, 10.0, 70.0, 110.0), 0.9), Detection((60.0, 5.0, 150.0, 118.0), 0.6)]
SCHEMA = json.loads(resources.files("openexpose.export").joinpath("result.schema.json").read_text())


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> list[Prediction]:
    file = save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return Predictor.load(file, detector=WholePhoto())(blobs(0), people=BOXES, name="a.jpg")


def about(people: list[Prediction], **settings: object) -> About:
    shot, model = as_shot(blobs(0), name="a.jpg"), people[0].model
    return About("a.jpg", (160, 120), shot.camera, "default", model, "whole", settings)


def test_files_are_valid_and_agree_with_each_other(people, tmp_path):
    write_result(tmp_path, people, about(people), files=["mesh.glb"])
    document, arrays = read_result(tmp_path)
    assert problems(document, SCHEMA) == []
    assert document["files"] == [NPZ_NAME, "mesh.glb"] and len(document["people"]) == 2
    for i, (person, row) in enumerate(zip(people, document["people"], strict=True)):
        for name in POSE_BLOCKS:
            block, matrices = row["pose"][name], getattr(person.params, name).numpy().reshape(-1, 3, 3)
            np.testing.assert_allclose(block["matrix"], matrices, atol=1e-6)
            again = axis_angle_to_matrix(torch.tensor(block["axis_angle_rad"])).numpy()
            np.testing.assert_allclose(again, matrices, atol=1e-5)
            np.testing.assert_array_equal(arrays[name][i].reshape(-1, 3, 3), matrices)
            np.testing.assert_allclose(arrays[f"{name}_rad"][i].reshape(-1, 3), block["axis_angle_rad"], atol=1e-6)
        for name in ("betas", "expression", "transl_m", "box_px"):
            np.testing.assert_allclose(arrays[name][i], row[name], atol=1e-5)
        for j, name in enumerate(arrays["joint_names"]):
            np.testing.assert_allclose(arrays["joints_m"][i, j], row["joints_m"][name], atol=1e-6)  # metres
        for j, name in enumerate(arrays["keypoint_names"]):
            np.testing.assert_allclose(arrays["keypoints_px"][i, j], row["keypoints_px"][name], atol=1e-3)  # pixels


def test_a_stranger_can_project_the_points_again(people, tmp_path):
    """With nothing but the file: K times the camera-frame points are the pixels, within half a pixel."""
    write_result(tmp_path, people, about(people))
    document = read_document(tmp_path / "result.json")
    K = np.array(document["camera"]["K"])
    for row in document["people"]:
        points = np.array(list(row["keypoints_m"].values()))
        seen = points @ K.T
        off = seen[:, :2] / seen[:, 2:] - np.array(list(row["keypoints_px"].values()))
        assert np.abs(off).max() < 0.5 and row["reprojection_px"] < 0.5  # pixels


def test_a_photo_without_people_has_a_result_too(people, tmp_path):
    write_result(tmp_path, [], about(people))
    document, arrays = read_result(tmp_path)
    assert problems(document, SCHEMA) == [] and document["people"] == []
    assert arrays["box_px"].shape == (0, 4)


def test_the_same_people_give_the_same_bytes(people, tmp_path):
    for name in ("one", "two"):
        write_result(tmp_path / name, people, about(people))
    for file in ("result.json", NPZ_NAME):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_complete_means_all_files_and_the_same_settings(people, tmp_path):
    assert not is_complete(tmp_path, {})
    (tmp_path / "mesh.glb").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("mine")
    write_result(tmp_path, people, about(people, focal=None, meshes=("glb",)), files=["mesh.glb"])
    assert is_complete(tmp_path, {"focal": None, "meshes": ("glb",)})
    assert not is_complete(tmp_path, {"focal": 500.0, "meshes": ("glb",)})
    (tmp_path / "mesh.glb").unlink()
    assert not is_complete(tmp_path, {"focal": None, "meshes": ("glb",)})
    clear_old(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]  # what we did not write stays


def test_names_that_leave_the_folder_are_never_touched(people, tmp_path):
    outside = tmp_path / "precious.txt"
    outside.write_text("mine")
    write_result(tmp_path / "a", people, about(people), files=["../precious.txt", str(outside), ".."])
    clear_old(tmp_path / "a")
    assert outside.read_text() == "mine" and not (tmp_path / "a" / "result.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a result"),
        ('{"schema": "openexpose-result", "schema_version": 99}', "version 99, this program reads 1"),
    ],
)
def test_foreign_and_newer_files_are_refused(tmp_path, text, message):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_document(tmp_path / "result.json")


def test_the_schema_check_finds_mistakes(people, tmp_path):
    write_result(tmp_path, people, about(people))
    document = read_document(tmp_path / "result.json")
    document["people"][0]["box_px"] = [1, 2, 3]
    document["surprise"] = 1
    del document["camera"]["K"]
    assert len(problems(document, SCHEMA)) == 3
