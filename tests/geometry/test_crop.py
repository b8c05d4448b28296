"""Crops: frames, both ways of sampling against slow twins, refusals."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from nets import golden, oracle_attention
from openexpose.errors import DataError
from openexpose.geometry import crop as crops
from openexpose.geometry.crop import Crop


def random_photo(seed: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def homogeneous(T: np.ndarray) -> np.ndarray:
    return np.vstack([T, [0, 0, 1]])


def test_photo_to_crop_and_back_is_the_identity():
    crop = Crop((210.5, -3.25), 333.3, 256)
    there_and_back = homogeneous(crop.T_photo_crop) @ homogeneous(crop.T_crop_photo)
    assert np.abs(there_and_back - np.eye(3)).max() < 1e-12  # px
    T = np.random.default_rng(0).normal(size=(4, 2, 3))
    back = crops.inverse_affine(crops.inverse_affine(T))
    assert np.abs(back - T).max() < 1e-9  # px


def test_the_centre_lands_on_half_the_size():
    """Parity row 7: the affine puts the centre on 128, not 127.5."""
    crop = Crop((100.0, 50.0), 512.0, 256)
    assert_close(crop.T_crop_photo @ np.array([100.0, 50, 1]), np.array([128.0, 128]))
    assert_close(crop.T_crop_photo @ np.array([102.0, 50, 1]), np.array([129.0, 128]))


def test_a_box_becomes_its_enlarged_square():
    crop = Crop.around((10.0, 20.0, 50.0, 100.0), scale=1.25, size_px=256)
    assert (crop.centre_px, crop.side_px, crop.size_px) == ((30, 60), 100, 256)


def test_share_of_the_crop_that_is_on_the_photo():
    assert Crop((50.0, 50.0), 20.0, 8).seen(100, 100) == 1
    assert Crop((-0.5, 50.0), 20.0, 8).seen(100, 100) == pytest.approx(0.5)
    assert Crop((-30.0, 50.0), 20.0, 8).seen(100, 100) == 0


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 0.0, 5.0), (5.0, 5.0, 1.0, 9.0), (0.0, np.nan, 4.0, 4.0), (0.0, 0.0, np.inf, 1.0)]
)
def test_boxes_without_area_are_refused(box):
    with pytest.raises(DataError, match="box"):
        Crop.around(box, scale=1.2, size_px=256)


def test_other_refusals():
    with pytest.raises(DataError, match="centre"):
        Crop((float("nan"), 0.0), 3.0, 4)
    with pytest.raises(DataError, match="side"):
        Crop((0.0, 0.0), 0.0, 4)
    with pytest.raises(DataError, match="inverse"):
        crops.inverse_affine(np.zeros((2, 3)))
    with pytest.raises(DataError, match="inverse"):
        crops.warp(random_photo(0, 8, 8).numpy(), np.full((2, 3), np.nan), 4)


def test_warping_by_whole_pixels_copies_them():
    photo = random_photo(1, 20, 30).numpy()
    out = crops.warp(photo, np.array([[1.0, 0, -3], [0, 1, -2]]), 8)
    assert_close(out, photo[2:10, 3:11])
    outside = crops.warp(photo, np.array([[1.0, 0, 100], [0, 1, 0]]), 8)
    assert (outside == 0).all()


def test_warping_interpolates_between_pixels():
    photo = np.zeros((4, 4, 3), np.uint8)
    photo[1, 2] = 200
    out = crops.warp(photo, np.array([[2.0, 0, 0], [0, 2, 0]]), 8)
    assert out[2, 4].tolist() == [200] * 3
    assert out[2, 3].tolist() == [100] * 3
    assert out[3, 3].tolist() == [50] * 3


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(-30, 70),
    st.floats(-30, 70),
    st.floats(0.5, 90),
    st.integers(1, 24),
)
def test_a_warp_that_does_not_turn_is_the_general_one(height, width, x, y, side, size):
    photo = random_photo(4, height, width).numpy()
    T = Crop((x, y), side, size).T_crop_photo
    hardly_turned = T + np.array([[0, 1e-13, 0], [0, 0, 0]]) * T[0, 0]  # lands on the same 1/32 of a pixel
    assert (crops.warp(photo, T, size) == crops.warp(photo, hardly_turned, size)).all()


def test_a_crop_cuts_what_its_affine_says():
    photo, crop = random_photo(2, 60, 40).numpy(), Crop((22.2, 31.7), 30.0, 16)
    assert_close(crop.cut(photo), crops.warp(photo, crop.T_crop_photo, 16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("centre", "side"), [((20.3, 17.6), 11.0), ((1.0, 2.0), 14.5), ((35.9, 31.0), 90.0)])
def test_squares_agree_with_grid_sample(dtype, centre, side):
    photo, S = random_photo(3, 33, 41), 24
    got = crops.sample_square(
        photo, torch.tensor(centre, dtype=dtype), torch.tensor(side, dtype=dtype), S, frame_hw=(33, 41)
    )
    steps = torch.arange(S, dtype=dtype) / (S - 1)
    x = (centre[0] - side / 2 + side * steps) * 2 / 40 - 1
    y = (centre[1] - side / 2 + side * steps) * 2 / 32 - 1
    grid = torch.stack([x.expand(S, S), y[:, None].expand(S, S)], -1)[None]
    want = functional.grid_sample(crops.normalise(photo[None], dtype), grid, align_corners=True)[0]
    assert got.dtype == dtype
    assert_close(got, want, atol=1e-4 if dtype == torch.float32 else 1e-12, rtol=0)  # deviations; white noise photo


def test_squares_agree_with_the_oracle_and_do_not_depend_on_the_batch():
    photos = [random_photo(4, 30, 50), random_photo(5, 45, 20).double(), random_photo(6, 10, 10)]
    centres = torch.tensor([[25.0, 14.2], [19.0, 44.0], [5.0, 5.0]], dtype=torch.float64)
    sides = torch.tensor([20.0, 12.5, 3.0], dtype=torch.float64)
    together = crops.sample_squares(photos, centres, sides, 9)
    for photo, centre, side, got in zip(photos, centres, sides, together, strict=True):
        want = oracle_attention.crop(photo.numpy(), centre.numpy(), float(side), 9)
        assert_close(got.numpy(), want, atol=1e-10, rtol=0)  # deviations
        alone = crops.sample_squares([photo], centre[None], side[None], 9)[0]
        assert_close(alone, got, atol=1e-10, rtol=0)


def test_only_the_needed_pixels_are_read():
    """Twelve megapixels cost no more memory than the patch: nothing as large as the photo is made."""
    photo = torch.zeros(3000, 4000, 3, dtype=torch.uint8)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        crops.sample_square(photo, torch.tensor([2000.0, 1500.0]), torch.tensor(2500.0), 224, frame_hw=(3000, 4000))
    assert sum(max(0, e.self_cpu_memory_usage) for e in profile.key_averages()) < 36_000_000  # bytes, all steps summed


def test_squares_have_gradients_towards_place_and_size():
    photo = random_photo(7, 30, 30)
    centre = torch.tensor([14.3, 12.8], dtype=torch.float64, requires_grad=True)
    side = torch.tensor(9.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, s: crops.sample_square(photo, c, s, 4, frame_hw=(30, 30)), (centre, side))


def test_useless_squares_are_empty_not_wrong():
    photo = random_photo(8, 12, 12)
    for centre in ((float("nan"), 3.0), (1e6, 3.0), (-40.0, -40.0), (float("inf"), 0.0)):
        out = crops.sample_square(photo, torch.tensor(centre), torch.tensor(5.0), 6, frame_hw=(12, 12))
        assert (out == 0).all()
    turned, there = (
        crops.sample_square(photo, torch.tensor([5.0, 6.0]), torch.tensor(side), 6, frame_hw=(12, 12))
        for side in (-4.0, 4.0)
    )
    assert_close(turned, there.flip(-1, -2), atol=1e-4, rtol=0)  # normalised grey levels; columns may run backwards
    huge = crops.sample_square(photo, torch.tensor([5.0, 6.0]), torch.tensor(3e38), 6, frame_hw=(12, 12))
    assert huge.isfinite().all()
    assert crops.sample_squares([], torch.zeros(0, 2), torch.zeros(0), 6).shape == (0, 3, 6, 6)


def test_normalising_is_mean_and_deviation_in_rgb():
    grey = torch.tensor([[[[124, 116, 104]]]], dtype=torch.uint8)
    want = torch.tensor([(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375])
    assert_close(crops.normalise(grey)[0, :, 0, 0], want, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (np.zeros((4, 5), np.uint8), "grey"),
        (np.zeros((4, 5, 4), np.uint8), "alpha"),
        (np.zeros((4, 5, 3), np.uint16), "uint16"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (torch.zeros(4, 5, 3, dtype=torch.int32), "int32"),
        ("photo.jpg", "str"),
    ],
)
def test_other_photos_are_refused(photo, says):
    with pytest.raises(DataError, match=f"here: .*{says}"):
        crops.check_photo(photo, "here")


def test_photos_are_shared_not_copied():
    array = np.zeros((4, 5, 3), np.uint8)
    array.flags.writeable = True
    assert crops.check_photo(array, "here").data_ptr() == array.ctypes.data
    frozen = array.copy()
    frozen.flags.writeable = False
    assert crops.check_photo(frozen, "here").shape == (4, 5, 3)
    assert crops.check_photo(array[:, ::-1], "here").shape == (4, 5, 3)
    with pytest.raises((DataError, jaxtyping.TypeCheckError)):
        crops.normalise(torch.zeros(4, 5, 3, dtype=torch.uint8))


@pytest.mark.golden
@pytest.mark.parametrize(
    "name", ["forward_expose", "forward_expose_border", "forward_body", "forward_hand", "forward_face"]
)
def test_body_crops_are_the_references_byte_for_byte(name):
    z = golden.load(name)
    for i, want in enumerate(z["in.crop_u8_bgr"][..., ::-1]):
        photo = golden.photo_rgb(z["in.image_seed"][i], z["in.image_hw"][i], 14)
        crop = Crop(tuple(z["in.center"][i]), float(z["in.scale"][i]), want.shape[0])
        assert np.abs(crop.T_crop_photo - z["in.crop_transform"][i]).max() < 1e-4  # px; theirs is solved in float32
        assert (crops.warp(photo, z["in.crop_transform"][i], want.shape[0]) == want).all()
        assert (np.abs(crop.cut(photo).astype(int) - want) <= 1).all()  # grey levels


@pytest.mark.golden
@pytest.mark.parametrize("name", ["forward_expose", "forward_expose_border"])
def test_attention_crops_are_the_references(name):
    """Parity row 8: endpoints, padding with the mean colour, photos of different sizes. Fed the stored boxes."""
    z = {k: torch.from_numpy(v) for k, v in golden.load(name).items()}
    photos = [
        torch.from_numpy(golden.photo_rgb(s, hw, 14))
        for s, hw in zip(z["in.image_seed"], z["in.image_hw"], strict=True)
    ]
    cut = {
        p: crops.sample_squares(photos, z[f"{p}.center"], z[f"{p}.bbox_size"], 256 if p == "face" else 224)
        for p in ("right_hand", "left_hand", "face")
    }
    hands = torch.cat([cut["right_hand"], cut["left_hand"].flip(-1)])
    assert_close(hands[..., 5::16, 5::16], z["hand.crops_right_then_flipped_left.sub"], atol=1e-4, rtol=0)  # deviations
    assert_close(cut["face"][..., 5::16, 5::16], z["face.crops.sub"], atol=1e-4, rtol=0)  # deviations
