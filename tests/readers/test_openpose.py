"""OpenPose's files: parts as they stand, sure points, the 137 of BODY_25; what is no such file is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from openexpose.errors import AssetError, DataError
from openexpose.readers.openpose import PARTS, body_25, read_openpose, sure
from tests.raw_trees.openpose import write_openpose


def test_people_come_back_part_by_part(tmp_path: Path) -> None:
    truth = write_openpose(tmp_path, drawn=False)
    for photo, xyc in truth.items():
        (person,) = read_openpose(tmp_path / "keypoints" / f"{photo.rsplit('.', 1)[0]}_keypoints.json")
        assert list(person) == list(PARTS)
        np.testing.assert_allclose(body_25(person, "it"), xyc)
    assert len(person["face"]) == 0  # was not looked for
    assert read_openpose(tmp_path / "keypoints" / "empty_keypoints.json") == []


def test_points_below_their_parts_least_confidence_are_zero() -> None:
    person = {part: np.array([[1, 2, 0.3], [3, 4, 0.1], [5, 6, 0.05]]) for part in PARTS}
    known = {part: (xyc[:, 2] > 0).tolist() for part, xyc in sure(person).items()}
    assert known == {
        "pose": [True, True, True], "hand_left": [True, False, False], "hand_right": [True, False, False],
        "face": [False, False, False],
    }  # fmt: skip
    np.testing.assert_array_equal(sure(person)["hand_left"], [[1, 2, 0.3], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"people": {}}, "no list"),
        ([1], "no list"),
        ({"people": [3]}, "person 0 has no pose_keypoints_2d"),
        ({"people": [{"face_keypoints_2d": []}]}, "person 0 has no pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": [1, 2]}]}, "person 0: pose_keypoints_2d should be finite"),
        ({"people": [{"pose_keypoints_2d": [1, 2, float("nan")]}]}, "finite"),
        ({"people": [{"pose_keypoints_2d": "abc"}]}, "N numbers"),
    ],
)
def test_what_is_not_openposes_is_named(tmp_path: Path, content: object, said: str) -> None:
    file = tmp_path / "a_keypoints.json"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"a_keypoints\.json.*{said}"):
        read_openpose(file)


def test_other_body_models_and_missing_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a_keypoints.json"
    file.write_text(json.dumps({"people": [{"pose_keypoints": [0] * 54}]}))  # of a version before 1.2
    (person,) = read_openpose(file)
    with pytest.raises(DataError, match="it: pose has 18 points, not 25"):
        body_25(person, "it")
    with pytest.raises(AssetError, match="no such file"):
        read_openpose(tmp_path / "none.json")
