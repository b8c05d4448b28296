"""Boxes and keypoints of others: every format by a case computed by hand, names matched or refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from openexpose.detect import Detection, Detector
from openexpose.detect.given import GROW, GivenPeople, box_of_points, read_boxes, read_keypoints
from openexpose.detect.whole import WholePhoto
from openexpose.errors import DataError
from openexpose.geometry.crop import Crop
from openexpose.nets.inputs import BOX_SCALE


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


BOXES = {
    "boxes.json": {"a.jpg": [[1, 2, 30, 40, 0.5], [5, 5, 9, 9]], "b.jpg": []},
    "list.json": [
        {"photo": "a.jpg", "box_px": [1, 2, 30, 40], "score": 0.5},
        {"photo": "a.jpg", "box_px": [5, 5, 9, 9]},
    ],
    "boxes.csv": "photo,x0,y0,x1,y1,score\na.jpg,1,2,30,40,0.5\na.jpg,5,5,9,9,\n",
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_of_every_format(tmp_path, name):
    given = read_boxes(written(tmp_path / name, BOXES[name]))
    photo = tmp_path / "photos" / "a.jpg"
    first, second = given.names_of([photo])[photo]
    assert first.box_px == (1, 2, 30, 40) and first.score == 0.5
    assert second.box_px == (5, 5, 9, 9) and second.score == 1


def test_width_and_height(tmp_path):
    given = read_boxes(written(tmp_path / "b.json", {"a.jpg": [[10, 20, 5, 6]]}), box_format="xywh")
    assert given.people["a.jpg"][0].box_px == (10, 20, 15, 26)
    with pytest.raises(DataError, match=r"b.json, a.jpg, box 0: .*--box-format xywh"):
        read_boxes(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{", "no JSON"),
        ("x.json", 3, "object or list"),
        ("x.json", {"a": 3}, "a list of boxes"),
        ("x.json", {"a": [[1, 2, 3]]}, "4 numbers"),
        ("x.json", {"a": [["left", 2, 3, 4]]}, "numbers were expected"),
        ("x.json", '{"a": [[NaN, 2, 3, 4]]}', "not finite"),
        ("x.json", [{"box": [1, 2, 3, 4]}], "entry 0"),
        ("x.csv", "name,x,y\n1,2,3\n", "must name the columns"),
        ("x.csv", "photo,x0,y0,x1,y1\na,1,2,three,4\n", "line 2"),
    ],
)
def test_bad_box_files_say_where(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_boxes(written(tmp_path / name, content))
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path / "missing.json")


def people(*names: str) -> GivenPeople:
    return GivenPeople("boxes.json", {n: [Detection((0.0, 0.0, 1.0 + i, 1.0))] for i, n in enumerate(names)})


def test_names_match_by_path_then_by_name():
    a, b, c = Path("/p/one/a.jpg"), Path("/p/two/a.jpg"), Path("/p/c.v2.png")
    given = people("one/a.jpg", "two/a.jpg", "c.v2").names_of([a, b, c, Path("/p/d.jpg")])
    assert [d and d[0].box_px[2] for d in given.values()] == [1, 2, 3, None]
    assert people("train/a.jpg").names_of([a])[a] is not None
    with pytest.raises(DataError, match=r"fits .*one/a.jpg and .*two/a.jpg"):
        people("a.jpg").names_of([a, b])
    with pytest.raises(DataError, match="name it with its ending"):
        people("a", "x/a.jpg").names_of([a])
    with pytest.raises(DataError, match="names none of the 1 photos"):
        people("z.jpg").names_of([a])


def test_the_hash_follows_the_boxes_not_the_format(tmp_path):
    hashes = {read_boxes(written(tmp_path / n, c)).sha256 for n, c in BOXES.items() if n != "boxes.json"}
    assert len(hashes) == 1 and people("a.jpg").sha256 not in hashes


POINTS = np.array([[10, 10, 1], [20, 10, 1], [10, 30, 1], [20, 30, 1], [500, 500, 0]], float)
AROUND = (15 - 5 * GROW, 20 - 10 * GROW, 15 + 5 * GROW, 20 + 10 * GROW)


def test_coco_with_and_without_boxes(tmp_path):
    rows = [
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40], "keypoints": POINTS.ravel().tolist()},
        {
            "image_id": 7,
            "keypoints": POINTS[:2].ravel().tolist(),
            "face_kpts": POINTS[2:].ravel().tolist(),
            "score": 0.7,
        },
        {"image_id": 7, "keypoints": POINTS[:2].ravel().tolist()},  # too few points
        {"image_id": 7, "category_id": 18, "bbox": [0, 0, 9, 9]},  # a dog
    ]
    images = [{"id": 7, "file_name": "000000000007.jpg"}, {"id": 8, "file_name": "empty.jpg"}]
    given = read_keypoints(written(tmp_path / "coco.json", {"images": images, "annotations": rows}))
    first, second = given.people["000000000007.jpg"]
    assert first.box_px == (9.5, 19.5, 39.5, 59.5)  # COCO counts from the corner of the first pixel
    np.testing.assert_allclose(second.box_px, AROUND)
    assert second.score == 0.7 and second.keypoints.shape == (5, 3)
    assert given.people["empty.jpg"] == []
    results = read_keypoints(written(tmp_path / "results.json", rows))
    photo = Path("000000000007.jpg")
    assert len(results.names_of([photo])[photo]) == 2


def test_openpose_folder(tmp_path):
    weak = np.where(np.arange(5)[:, None] == 0, POINTS * [1, 1, 0.01], POINTS)
    rows = [
        {"pose_keypoints_2d": POINTS.ravel().tolist(), "face_keypoints_2d": []},
        {"pose_keypoints_2d": weak.ravel().tolist()},
    ]
    written(tmp_path / "a.b_keypoints.json", {"people": rows})
    photo = Path("somewhere/a.b.png")
    (one,) = read_keypoints(tmp_path).names_of([photo])[photo]  # of the second only three points are sure
    np.testing.assert_allclose(one.box_px, AROUND)
    with pytest.raises(DataError, match="--write_json"):
        read_keypoints(tmp_path.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "annotations"),
        ([{"keypoints": []}], "image_id"),
        ([{"image_id": 1, "keypoints": [1, 2]}], "threefold"),
        ({"images": [{"id": 1}], "annotations": []}, "file_name"),
    ],
)
def test_bad_keypoint_files_say_where(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_keypoints(written(tmp_path / "coco.json", content))


def test_points_in_a_line_make_no_box():
    assert box_of_points(POINTS * [1, 0, 1]) is None


def test_whole_photo_is_seen_from_end_to_end():
    detector = WholePhoto()
    assert isinstance(detector, Detector)
    (one,) = detector(np.zeros((60, 200, 3), np.uint8))
    crop = Crop.around(one.box_px, scale=BOX_SCALE, size_px=256)
    assert crop.side_px == pytest.approx(200) and crop.centre_px == pytest.approx((99.5, 29.5))


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.0, 1.0), (0.0, 0.0, float("nan"), 1.0), (5.0, 0.0, 1.0, 1.0)])
def test_boxes_without_area_are_refused(box):
    with pytest.raises(DataError, match="x1 > x0"):
        Detection(box)
