"""Photos: exact labels, true visibility, one picture from both renderers, the same bytes for a seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openexpose.body.load import load_arrays
from openexpose.body.stages import BodyModel
from openexpose.data import augment
from openexpose.data.dataset import HumanDataStore, Samples, Store
from openexpose.data.humandata import HumanData
from openexpose.data.sample import body_layout, hand_layout, head_layout
from openexpose.errors import ConfigError
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.skeleton import J14_EXTRAS, Skeleton
from openexpose.synth.ahead import DrawAhead
from openexpose.synth.labels import PARTS, PartShapes, record_of
from openexpose.synth.light import lit_share, openness
from openexpose.synth.make import Job, make
from openexpose.synth.mannequin import Mannequin, free_with_whole_face
from openexpose.synth.photo import Photos, Studio
from openexpose.synth.scene import SynthConfig
from openexpose.synth.sets import FIRST_TEST_SEED, TEST_SETS, check_training_seed
from openexpose.synth.stream import BodyBatches, CropConfig, SynthStore, cropped


def test_params_give_the_keypoints_back(photos: Photos) -> None:
    model = BodyModel(free_with_whole_face())
    shapes = PartShapes.fitted()
    for row in range(len(photos.draws)):
        record = record_of(photos, row, "x.jpg", "body", shapes)
        p = {k: torch.tensor(v, dtype=torch.float32) for k, v in record.params.items()}
        blocks = ["global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose"]
        R = axis_angle_to_matrix(torch.cat([p[b].view(-1, 3) for b in [*blocks, "right_hand_pose"]]))
        posed = model.shape(p["betas"], p["expression"]).pose(R, p["transl"])
        points = torch.cat([posed.keypoints_m(), posed.regressed_m("j14")[list(J14_EXTRAS.values())]])
        assert record.keypoints3d is not None and record.keypoints2d is not None
        want = record.keypoints3d.xyc[:, :3]
        assert np.abs(points.numpy() - want).max() < 2e-5  # metres; float32 at some metres from the camera
        K = np.asarray(record.extras["K"])
        px = want @ K.T
        known = record.keypoints2d.xyc[:, 2] > 0
        assert np.abs(px[:, :2] / px[:, 2:] - record.keypoints2d.xyc[:, :2])[known].max() < 1e-3  # pixels


def test_part_labels_are_the_same_body(photos: Photos) -> None:
    shapes = PartShapes.fitted()
    hand, head = (record_of(photos, 0, "x", part, shapes) for part in ("hand", "head"))
    assert hand.family == "mano" and hand.keypoints2d is not None and len(hand.keypoints2d.skeleton) == 21
    assert head.family == "flame" and head.params["betas"].shape == (100,) and head.params["expression"].shape == (50,)
    for part, region in (("free-hand", "right_hand"), ("free-head", "head")):
        own, body = load_arrays(part), load_arrays("free")
        betas = np.random.default_rng(0).normal(size=10)
        matrix = shapes.hand if region == "right_hand" else shapes.head
        a = own.shapedirs @ (matrix @ betas)
        b = body.shapedirs[body.regions[region]] @ betas
        apart_m = np.linalg.norm((a - a.mean(0)) - (b - b.mean(0)), axis=1)
        assert apart_m.mean() < 0.0015  # metres: what the part's own shape space can express


def test_visible_points_lie_in_the_photo_and_mostly_on_the_person(photos: Photos) -> None:
    side = photos.rgb.shape[1]
    for row in range(len(photos.draws)):
        seen = photos.visible[row]
        px = photos.keypoints_px[row][seen]
        assert ((px > -0.5) & (px < side - 0.5)).all()
        at = px.round().long().clamp(0, side - 1)
        wide = torch.nn.functional.max_pool2d(photos.mask[row][None, None].float(), 3, 1, 1)[0, 0]
        on = wide[at[:, 1], at[:, 0]]  # points of the surface may round off the outline
        assert len(on) == 0 or on.mean() > 0.95
    assert 0.05 < float(photos.mask.float().mean()) < 0.9


def test_a_back_view_hides_the_face(mannequin: Mannequin) -> None:
    cfg = SynthConfig(size_px=96, whole=0.0, upper=0.0, head=1.0, hand=0.0, crowd=0.0, clean=1.0)
    studio = Studio(cfg, mannequin=mannequin)
    names = Skeleton.read("smplx").names
    eyes = [names.index(n) for n in ("right_eye", "left_eye", "nose", "mouth_top")]
    draw = studio.draw(0, 0)
    numbers = dict(draw.numbers) | {"up": np.array([0.0, -1, 0], np.float32)}
    numbers["occluders"] = np.zeros_like(numbers["occluders"])
    outfit = np.zeros_like(draw.outfit)
    for turned, seen in ((np.diag([1.0, -1, -1]), True), (np.diag([-1.0, -1, 1]), False)):
        R = np.tile(np.eye(3, dtype=np.float32), (3, 55, 1, 1))
        R[0, 0] = turned
        photo = studio.shoot([replace(draw, R=R, numbers=numbers, outfit=outfit)])
        assert photo.visible[0][eyes].all() if seen else not photo.visible[0][eyes].any()


def test_both_renderers_take_the_same_picture(mannequin: Mannequin) -> None:
    cfg = SynthConfig(size_px=96, clean=1.0, crowd=1.0)
    rays, raster = (Studio(cfg, renderer=r, mannequin=mannequin) for r in ("embree", "raster"))
    for index in (0, 1):
        a, b = (s.shoot([s.draw(4, index)]) for s in (rays, raster))
        apart = (a.rgb.float() - b.rgb.float()).abs().mean(-1)
        assert apart.mean() < 0.25 and (apart > 16).float().mean() < 0.004  # grey levels; outlines, shadows' borders
        assert (a.mask != b.mask).float().mean() < 0.002 and (a.visible != b.visible).float().mean() < 0.02
        assert torch.equal(a.keypoints_px, b.keypoints_px)
        box, present = a.box_px[0], a.draws[0].present
        assert torch.equal(a.crowd_px[0, 0], box) and a.crowd_px[0].isfinite().all(1).tolist() == present.tolist()
        share = float(a.mask[0].sum() / (box[2:] - box[:2]).prod())
        assert float(a.crowd_seen[0, 0]) == pytest.approx(share, abs=1e-4) and (a.crowd_seen[0, ~present] == 0).all()
        assert present.sum() > 1 and (a.crowd_seen - b.crowd_seen).abs().max() < 0.01


def test_scenes_look_the_same_alone_and_together(studio: Studio, photos: Photos) -> None:
    alone = studio.shoot([photos.draws[1]])
    assert (alone.rgb[0].float() - photos.rgb[1].float()).abs().max() <= 2  # grey levels: sums in another order
    assert torch.allclose(alone.keypoints_px[0], photos.keypoints_px[1], atol=1e-2)  # pixels, float32
    with pytest.raises(ConfigError, match="embree draws on the CPU"):
        Studio(device="meta", renderer="embree")


def test_light_is_darker_in_shadow_and_crevices(photos: Photos, studio: Studio) -> None:
    from openexpose.render.raster import Fragments
    from openexpose.synth.light import ShadowMap

    depth = torch.full((1, 32, 32), 5.0)
    eye = torch.eye(3)[None]
    shadow = ShadowMap(depth, eye, torch.zeros(1, 3), 100.0)
    share = lit_share(shadow, torch.tensor([[0.0, 0, 4.9], [0, 0, 5.5]]), torch.zeros(2, dtype=torch.long), 0.02)
    assert share.tolist() == [1.0, 0.0]
    deep = torch.full((1, 40, 40), 2.0)
    deep[0, :, :20] = 1.95
    none = torch.zeros((1, 40, 40), dtype=torch.long)
    seen = Fragments(none, none, torch.zeros(1, 40, 40, 3), deep)
    free = openness(seen, torch.tensor([400.0]), torch.tensor([20 * 40 + 21, 20 * 40 + 39]))
    assert free[0] < 0.95 and free[1] > 0.99


def test_the_store_feeds_the_data_pipeline(mannequin: Mannequin) -> None:
    studio = Studio(SynthConfig(size_px=96), mannequin=mannequin)
    layouts = {"body": (body_layout(), augment.body()), "hand": (hand_layout(), augment.hand())}
    layouts["head"] = (head_layout(), augment.head())
    for part in PARTS:
        store = SynthStore(studio, seed=1, count=4, part=part)
        assert isinstance(store, Store) and len(store) == 4
        layout, cfg = layouts[part]
        samples = Samples(store, layout, cfg, seed=0, box_scale=1.2, on_error="raise")
        sample = samples.sample(2, epoch=0, index=2)
        assert sample.targets["global_orient"].weight == 1 and sample.targets["keypoints2d"].weight == 1
        assert torch.equal(samples.sample(2, epoch=0, index=2).crop, sample.crop)
    with pytest.raises(ConfigError, match="test sets"):
        SynthStore(studio, seed=FIRST_TEST_SEED, count=1)


def test_batches_carry_every_target_and_crops_agree_with_their_affine(mannequin: Mannequin) -> None:
    studio = Studio(SynthConfig(size_px=96), mannequin=mannequin)
    batches = BodyBatches(studio, seed=1, cfg=CropConfig(crop_px=64))
    batch = batches.batch([5, 6])
    layout = body_layout(10, 50)
    assert {n: tuple(t.value.shape[1:]) for n, t in batch.targets.items()} == layout.shapes()
    assert batch.crops.shape == (2, 64, 64, 3) and len(batch) == 2
    again = batches.batch([6])
    assert (again.crops[0].float() - batch.crops[1].float()).abs().mean() < 0.1  # grey levels
    with pytest.raises(ConfigError):
        CropConfig(crop_px=4)
    with pytest.raises(ConfigError, match="not those of seed"):
        batches.batch([5], [studio.draw(2, 5)])


def test_scenes_drawn_ahead_are_those_of_the_studio(studio: Studio) -> None:
    with DrawAhead(studio.cfg, seed=1, workers=1, ahead=2) as pool:
        got = list(pool.batches([[0, 1], [7], [2]]))
    assert [p for p, _ in got] == [[0, 1], [7], [2]]
    for positions, draws in got:
        for p, d in zip(positions, draws, strict=True):
            want = studio.draw(1, p)
            assert np.array_equal(d.R, want.R) and np.array_equal(d.outfit, want.outfit)
    with pytest.raises(ConfigError, match="at least one"):
        DrawAhead(studio.cfg, seed=1, workers=0)


def test_crops_show_what_their_affine_says() -> None:
    photo = torch.zeros(1, 40, 40, 3, dtype=torch.uint8)
    photo[0, 10, 30] = 255
    crop, T = cropped(photo, torch.tensor([[30.0, 10.0]]), torch.tensor([10.0]), 20)
    place = T[0, :, :2] @ torch.tensor([30.0, 10.0]) + T[0, :, 2]
    assert place.tolist() == [10.0, 10.0] and int(crop[0, 10, 10, 0]) == 255
    whole, _ = cropped(photo, torch.tensor([[20.0, 20.0]]), torch.tensor([40.0]), 40)
    assert torch.equal(whole, photo)


def test_files_are_the_same_bytes_for_a_seed_and_read_back(tmp_path: Path) -> None:
    cfg = SynthConfig(size_px=64, whole=1.0, upper=0.0, head=0.0, hand=0.0)
    for name in ("a", "b"):
        assert list(make(Job(cfg, 8, 0, 2, "body", tmp_path / name))) == [1, 2]
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 5  # two photos, two masks, one table
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    store = HumanDataStore(HumanData.open(tmp_path / "a" / "labels.npz"), tmp_path / "a")
    samples = Samples(store, body_layout(10, 50), augment.body(), seed=0, box_scale=1.2, on_error="raise")
    assert samples.sample(1, epoch=0, index=1).targets["expression"].value.shape == (50,)
    list(make(Job(cfg, 8, 0, 1, "body", tmp_path / "c", renderer="raster")))
    same, drawn = (np.asarray(Image.open(next((tmp_path / n / "images").glob("*0.jpg"))), int) for n in ("a", "c"))
    assert np.abs(same - drawn).mean() < 2  # grey levels: the other renderer
    with pytest.raises(ConfigError, match="at least 1"):
        Job(cfg, 8, 0, 0, "body", tmp_path)


def test_the_fixed_sets_are_three_and_apart_from_training() -> None:
    assert set(TEST_SETS) == {"synth-body", "synth-hand", "synth-head"}
    assert all(s.count == 2000 and s.cfg.held_out and s.seed >= FIRST_TEST_SEED for s in TEST_SETS.values())
    assert check_training_seed(5) == 5
    with pytest.raises(ConfigError, match="kept for test sets"):
        check_training_seed(FIRST_TEST_SEED + 1)
