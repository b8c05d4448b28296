"""Photos in, people out: the same answers whatever the company, cameras that agree, refusals that say why."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import roma
import torch
from PIL import Image

import openexpose
from openexpose.detect import Detection
from openexpose.detect.whole import WholePhoto
from openexpose.errors import ConfigError, DataError, WeightsError
from openexpose.nets.params import BodyParams
from openexpose.predict import Predictor, read_shot
from openexpose.predict import predictor as module
from openexpose.prediction import Prediction
from tiny_weights import blobs

PEOPLE = [Detection((20.0, 10.0, 70.0, 110.0), 0.9), Detection((60.0, 5.0, 150.0, 118.0), 0.6)]


def numbers(p: Prediction) -> dict[str, np.ndarray]:
    values = {f.name: getattr(p.params, f.name).numpy() for f in fields(BodyParams)}
    for name in ("weak_camera", "transl_m", "joints_m", "keypoints_m", "keypoints_px", "box_px"):
        values[name] = getattr(p, name)
    return values | {f"square {k}": s.corners_px for k, s in p.parts.items()}


def assert_same(a: Prediction, b: Prediction, atol: float) -> None:
    for name, value in numbers(a).items():
        # metres, pixels of small photos, matrix entries
        scale = max(1.0, float(np.abs(value).max()) / 100)
        np.testing.assert_allclose(value, numbers(b)[name], atol=atol * scale, rtol=0, err_msg=name)


def test_a_person_is_the_same_alone_and_in_any_batch(predictor):
    photos = [blobs(0), blobs(1, 97, 201), blobs(2, 300, 180)]
    together = predictor.batch(photos, people=[PEOPLE, PEOPLE[:1], PEOPLE])
    assert [len(group) for group in together] == [2, 1, 2]
    for photo, group in zip(photos, together, strict=True):
        for answer in group:
            alone = predictor(photo, people=[PEOPLE[answer.person]])[0]
            assert_same(answer, alone, atol=1e-4)


def test_threads_change_nothing(predictor):
    photo, threads = blobs(3), torch.get_num_threads()
    want = predictor(photo, people=PEOPLE)
    try:
        torch.set_num_threads(2)
        again = predictor(photo, people=PEOPLE)
    finally:
        torch.set_num_threads(threads)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: predictor(photo, people=PEOPLE), range(3)))
    for group in [again, *answers]:
        for a, b in zip(want, group, strict=True):
            assert_same(a, b, atol=1e-4)


def test_an_answer_is_whole_and_agrees_with_itself(predictor):
    first, second = predictor(blobs(4), people=PEOPLE, name="blobs")
    assert (first.photo, first.person, second.person, first.score) == ("blobs", 0, 1, 0.9)
    assert first.camera is second.camera and first.photo_size_px == (160, 120)
    assert first.focal_from == "default" and first.camera.K[0, 0] == pytest.approx(np.hypot(160, 120))  # pixels
    first.check()
    assert first.reprojection_px() < 0.01
    assert first.joints_m.shape == (55, 3) and first.keypoints_px.shape == (144, 2)
    assert (first.keypoints_m[:, 2] > 0).all()  # in front of the camera
    posed = predictor.body_model.shape(first.params.betas, first.params.expression).pose(first.params.R_parent_child())
    np.testing.assert_allclose(first.vertices_m, posed.skin().vertices_m.numpy() + first.transl_m, atol=1e-5)  # metres
    assert first.faces.max() == len(first.vertices_m) - 1
    assert first.model.body_model == predictor.body_model.label and "tiny.safetensors" in first.model.weights


def test_files_bytes_and_pixels_give_the_same(predictor, tmp_path):
    rgb = blobs(5)
    path = tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    want = predictor(rgb)[0]
    for photo in (path, str(path), path.read_bytes(), read_shot(path)):
        group = predictor.batch([photo])[0]
        assert_same(group[0], want, atol=0)
    assert predictor(path)[0].photo == "a.png"


def test_focal_length_comes_from_exif_or_from_the_caller(predictor):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50  # FocalLengthIn35mmFilm
    out = io.BytesIO()
    Image.fromarray(blobs(6)).save(out, "JPEG", exif=exif)
    seen = predictor(out.getvalue())[0]
    assert seen.focal_from == "exif"
    assert seen.camera.K[0, 0] == pytest.approx(50 / 43.2666 * 200, rel=1e-4)  # diagonal of 160 x 120 is 200 px
    given = predictor(out.getvalue(), focal_px=500.0)[0]
    assert given.focal_from == "given" and given.camera.K[1, 1] == 500
    assert given.transl_m[2] > 2 * seen.transl_m[2] * 0.9  # a longer lens stands further away


def test_nobody_is_an_empty_list(predictor):
    assert predictor(blobs(7), people=[]) == []
    assert predictor.batch([]) == []


def test_fast_networks_answer_like_the_plain_ones(predictor, tiny_file):
    plain = Predictor.load(tiny_file, detector="whole", fast=False)
    assert_same(plain(blobs(8))[0], predictor(blobs(8))[0], atol=2e-4)


def test_refusals_name_the_photo(predictor):
    with pytest.raises(DataError, match=r"street: the box .* lies beside the 160 x 120 px photo"):
        predictor(blobs(9), people=[Detection((900.0, 900.0, 950.0, 990.0))], name="street")
    with pytest.raises(DataError, match="uint8 array"):
        predictor(blobs(9).astype(np.float32))
    with pytest.raises(DataError, match=r"1 lists of people for 2 photos"):
        predictor.batch([blobs(0), blobs(1)], people=[[]])


def test_refusals_of_files(tmp_path, monkeypatch, tiny_file):
    monkeypatch.setattr(module, "SHIPPED_WEIGHTS", tmp_path / "lite.safetensors")
    with pytest.raises(WeightsError, match="ships no weights"):
        Predictor.load(detector=WholePhoto())
    with pytest.raises(WeightsError, match="does not exist"):
        Predictor.load(tmp_path / "none.safetensors", detector="whole")
    with pytest.raises(ConfigError, match="not known"):
        Predictor.load(tiny_file, detector="crystal ball")  # type: ignore[arg-type]


def test_the_package_offers_it_by_name():
    assert openexpose.Predictor is Predictor and openexpose.Prediction is Prediction
    with pytest.raises(AttributeError, match="nothing"):
        openexpose.nothing  # noqa: B018


def test_rotations_come_out_clean(predictor):
    params = predictor(blobs(2))[0].params
    R = params.R_parent_child()
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand(55, 3, 3), atol=1e-6, rtol=0)
    bent = replace(params, body_pose=params.body_pose + 1e-3 * torch.randn(21, 3, 3, generator=torch.Generator()))
    again = module.orthonormal(bent).body_pose
    nearest = roma.special_procrustes(bent.body_pose)  # the slow twin: singular values
    torch.testing.assert_close(again, nearest, atol=2e-6, rtol=0)


def test_answers_that_are_not_finite_are_refused(tiny_file):
    broken = Predictor.load(tiny_file, detector=WholePhoto(), fast=False)
    with torch.no_grad():
        broken.network.body.regressor.output.bias.fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        broken(blobs(1))
