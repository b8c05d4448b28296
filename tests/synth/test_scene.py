"""Scenes: one seed decides everything; framing, light and backgrounds are what the settings ask for."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openexpose.data.pack import PhotoPack
from openexpose.errors import ConfigError, DataError
from openexpose.readers import write_npz
from openexpose.synth.background import SHAPES, crops_without_people, draw_background, paint_background, screen_noise
from openexpose.synth.lens import NAMES, damaged, developed, draw_lens, jpeg_blocks
from openexpose.synth.noise import Noise
from openexpose.synth.photo import Studio
from openexpose.synth.scene import FRAMINGS, SynthConfig, draw_light, framed_points


def same(a: object, b: object) -> bool:
    for name in ("present", "betas", "expression", "R", "outfit", "beside_m"):
        if not np.array_equal(getattr(a, name), getattr(b, name)):
            return False
    return all(np.array_equal(x, b.numbers[k]) for k, x in a.numbers.items())  # type: ignore[attr-defined]


def test_a_scene_is_a_function_of_seed_and_index(studio: Studio) -> None:
    assert same(studio.draw(5, 2), studio.draw(5, 2))
    assert not same(studio.draw(5, 2), studio.draw(5, 3)) and not same(studio.draw(5, 2), studio.draw(6, 2))


def test_rotations_are_rotations_and_framings_have_their_shares(studio: Studio) -> None:
    draws = [studio.draw(1, i) for i in range(60)]
    R = np.stack([d.R[0] for d in draws])
    assert np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max() < 1e-5 and (np.linalg.det(R) > 0).all()  # float32
    assert {d.framing for d in draws} == set(FRAMINGS)
    upright = np.mean([d.R[0, 0, 1, 1] < 0 for d in draws])  # the body's y points up, the camera's down
    assert upright > 0.6
    with pytest.raises(ConfigError, match="framing shares"):
        SynthConfig(whole=-1.0)
    with pytest.raises(ConfigError, match="size_px"):
        SynthConfig(size_px=8)


def test_framed_points_are_the_part() -> None:
    assert framed_points("whole").all() and framed_points("hand").sum() == 21
    assert framed_points("head").sum() == 68 + 4 and framed_points("upper").sum() < 144


def test_light_comes_from_unit_directions(rng: np.random.Generator) -> None:
    light = draw_light(rng, np.array([0.0, -1.0, 0.0]))
    assert np.linalg.norm(light["key"]) == pytest.approx(1, abs=1e-6) and light["key"][1] < 0  # from above
    assert light["exposure"] > 0 and (light["key_rgb"] > 0).all()


def test_backgrounds_fill_the_picture_and_keep_to_their_numbers(rng: np.random.Generator) -> None:
    noise = Noise(torch.device("cpu"))
    numbers = draw_background(rng, bank=0, bank_share=0.5)
    assert numbers["shapes"].shape == (SHAPES, 12) and numbers["bank"][0] == -1
    tensors = {k: torch.tensor(v)[None] for k, v in numbers.items()}
    grid = torch.linspace(-0.5, 0.5, 32)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], -1)[None]
    up = torch.tensor([[0.0, -1.0, 0.0]])
    rgb, point, floor = paint_background(tensors, rays, up, torch.tensor([-1.0]), noise, None)
    assert rgb.shape == (1, 32, 32, 3) and torch.isfinite(rgb).all() and rgb.min() >= 0
    assert not floor[0, :16].any()  # nothing of the floor above the horizon
    assert torch.allclose(point[floor][:, 1], torch.ones(int(floor.sum())))  # one metre below the camera
    bank = torch.rand(2, 16, 16, 3)
    tensors["bank"] = torch.tensor([[1.0, 0, 1.0, 0, 0, 1.0]])
    real, _, none = paint_background(tensors, rays, up, torch.tensor([-1.0]), noise, bank)
    assert not none.any() and float((real.mean() - bank[1].mean()).abs()) < 0.05
    assert float(screen_noise(noise, torch.tensor([1.0]), 32).std()) > 0.3


def test_crops_of_a_pack_miss_the_person(tmp_path: Path) -> None:
    rgb = np.full((100, 100, 3), 30, np.uint8)
    rgb[:, 64:] = 200
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "WEBP", lossless=True)
    data = np.frombuffer(file.getvalue(), np.uint8)
    points = np.zeros((1, 14, 3), np.float32)
    points[0, :2] = [[66, 10, 1], [94, 94, 1]]
    write_npz(
        tmp_path / "pack.npz",
        {"webp": data, "offsets": np.array([0, len(data)]), "keypoints2d": points, "image_size": np.array(100)},
        compressed=True,
    )
    pack = PhotoPack.open(tmp_path / "pack.npz")
    crops = crops_without_people(pack, side_px=32)
    assert crops.shape == (1, 32, 32, 3) and crops.max() < 60  # the person's side is bright
    with pytest.raises(DataError, match="beside its person"):
        crops_without_people(pack, smallest_px=90)


def test_a_lens_without_damage_changes_nothing(rng: np.random.Generator) -> None:
    lens = torch.zeros(1, len(NAMES))
    lens[:, NAMES.index("shrink")] = 1
    picture = torch.tensor(rng.uniform(size=(1, 32, 32, 3)), dtype=torch.float32)
    assert torch.allclose(damaged(picture, lens), picture, atol=1e-5)  # float32
    for name in ("contrast", "saturation", "r", "g", "b"):
        lens[:, NAMES.index(name)] = 1
    grey = developed(torch.full((1, 8, 8, 3), 0.214), lens, torch.ones(1))
    assert torch.allclose(grey, torch.full_like(grey, 0.5), atol=2e-3)  # the sRGB curve at linear 0.214
    assert draw_lens(rng).shape == (len(NAMES),)


def test_blur_smooths_noise_roughens_and_jpeg_comes_near_the_real_one(rng: np.random.Generator) -> None:
    picture = torch.tensor(rng.uniform(size=(1, 64, 64, 3)), dtype=torch.float32)

    def with_(name: str, value: float) -> torch.Tensor:
        lens = torch.zeros(1, len(NAMES))
        lens[:, NAMES.index("shrink")] = 1
        lens[:, NAMES.index(name)] = value
        return damaged(picture, lens)

    assert with_("blur_px", 1.5).std() < 0.5 * picture.std() and with_("shrink", 3.0).std() < 0.6 * picture.std()
    assert (with_("noise", 0.05) - picture).std() > 0.01
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), size=64, mode="bicubic").clamp(0, 1)
    ours = jpeg_blocks(smooth, torch.tensor([30.0]))
    file = io.BytesIO()
    pixels = (smooth[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=30, subsampling=0)
    theirs = np.asarray(Image.open(file), np.float32) / 255
    lost = float((ours[0].permute(1, 2, 0) - smooth[0].permute(1, 2, 0)).abs().mean())
    assert 0.3 < lost / float(np.abs(theirs - pixels / 255).mean()) < 3  # the same order of damage
    assert torch.equal(jpeg_blocks(smooth, torch.tensor([0.0])), smooth)
