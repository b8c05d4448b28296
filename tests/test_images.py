import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from openexpose import images
from openexpose.errors import DataError, MissingExtra


def scene(height=60, width=84):
    """Smooth and without symmetry, so that any turn, mirror or shift shows."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    rgb = np.stack([x / width, y / height, (x * 0.7 + y) / (width + height)], -1)
    return np.rint(rgb * 220 + 15).astype(np.uint8)


def encoded(array_or_image, fmt="PNG", **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def oriented(rgb, orientation, fmt="PNG", **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(rgb, fmt, exif=exif, **options)


STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_undone(orientation):
    rgb = scene()
    data = oriented(np.ascontiguousarray(STORED[orientation](rgb)), orientation)
    np.testing.assert_array_equal(images.read_rgb(data), rgb)
    assert images.photo_size(data) == (84, 60)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("reduction", "size"), [(2, (61, 83)), (4, (63, 90)), (8, (65, 95))])
def test_reduced_pixels_lie_where_the_bookkeeping_says(orientation, reduction, size):
    rgb = scene(*size)
    data = oriented(np.ascontiguousarray(STORED[orientation](rgb)), orientation, "JPEG", quality=98, subsampling=0)
    full, small = images.decode(data), images.decode(data, density=1 / reduction)
    assert full.size_px == small.size_px == size[::-1]
    np.testing.assert_allclose(full.T_decoded_photo, np.eye(3)[:2], atol=1e-12)  # px
    h, w = small.rgb.shape[:2]
    assert sorted((h, w)) == sorted(-(-n // reduction) for n in size)
    y, x = np.mgrid[1 : h - 1, 1 : w - 1]
    A = np.vstack([small.T_decoded_photo, [0, 0, 1]])
    back = np.linalg.inv(A) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    want_red = back[0] / size[1] * 220 + 15  # the scene's red is linear in x, its green in y
    want_green = back[1] / size[0] * 220 + 15
    got = small.rgb[1 : h - 1, 1 : w - 1].reshape(-1, 3).astype(float)
    assert np.abs(got[:, 0] - want_red).mean() < 1.0  # grey levels; half a pixel of misplacement is 1.3 or more
    assert np.abs(got[:, 1] - want_green).mean() < 1.0


def test_density_decides_the_reduction():
    data = encoded(scene(800, 640), "JPEG")
    sizes = {d: images.decode(data, density=d).rgb.shape[0] for d in (1.0, 0.6, 0.5, 0.3, 0.25, 0.2, 0.125, 0.01)}
    assert sizes == {1.0: 800, 0.6: 800, 0.5: 400, 0.3: 400, 0.25: 200, 0.2: 200, 0.125: 100, 0.01: 100}
    assert images.decode(encoded(scene(800, 640)), density=0.1).rgb.shape == (800, 640, 3)  # PNG: always full


def test_a_reduced_photo_is_the_full_one_averaged():
    rng = np.random.default_rng(0)
    data = encoded(rng.integers(0, 255, (160, 240, 3), dtype=np.uint8), "JPEG", quality=95, subsampling=0)
    full, half = images.read_rgb(data).astype(float), images.decode(data, density=0.5).rgb.astype(float)
    mean = full.reshape(80, 2, 120, 2, 3).mean((1, 3))
    assert np.corrcoef(mean.ravel(), half.ravel())[0, 1] > 0.97  # low-pass by cosines, not by boxes: alike, not equal


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_come_back_exactly(fmt):
    options = {"lossless": True} if fmt == "WEBP" else {}
    np.testing.assert_array_equal(images.read_rgb(encoded(scene(), fmt, **options)), scene())


def test_every_kind_of_pixel_becomes_rgb():
    rgb, grey = scene(), scene()[..., 0]
    np.testing.assert_array_equal(images.read_rgb(encoded(grey))[..., 1], grey)
    deep = grey.astype(np.uint16) * 257
    np.testing.assert_array_equal(images.read_rgb(encoded(deep))[..., 2], grey)
    palette = Image.fromarray(rgb).quantize(200)
    assert np.abs(images.read_rgb(encoded(palette)).astype(int) - rgb).mean() < 12  # grey levels: 200 colours
    cmyk = Image.fromarray(rgb).convert("CMYK")
    assert np.abs(images.read_rgb(encoded(cmyk, "JPEG", quality=95)).astype(int) - rgb).mean() < 4  # grey levels
    assert images.read_rgb(encoded(Image.fromarray(grey > 100))).shape == (60, 84, 3)


def test_transparent_parts_become_white():
    rgba = np.dstack([scene(), np.full((60, 84), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    got = images.read_rgb(encoded(rgba))
    assert (got[:10] == 255).all()
    np.testing.assert_array_equal(got[10:], rgba[10:, :, :3])


@pytest.mark.parametrize("keep", [0, 1, 30, 400])
def test_truncated_photos_are_refused_by_name(tmp_path, keep):
    for fmt in ("JPEG", "PNG", "WEBP"):
        path = tmp_path / f"cut.{fmt}"
        path.write_bytes(encoded(np.random.default_rng(1).integers(0, 255, (90, 90, 3), dtype=np.uint8), fmt)[:keep])
        with pytest.raises(DataError, match=f"cut.{fmt}"):
            images.read_rgb(path)


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be opened"):
        images.read_rgb(tmp_path / "nowhere.jpg")
    with pytest.raises(DataError, match="not an image"):
        images.read_rgb(b"%PDF-1.7 " * 20, name="page.pdf")
    with pytest.raises(DataError, match="floating"):
        images.read_rgb(encoded(Image.fromarray(scene()[..., 0].astype(np.float32)), "TIFF"))
    with pytest.raises(DataError, match="not a folder"):
        images.list_photos(tmp_path / "none")


def test_huge_photos_need_permission():
    data = encoded(np.zeros((3000, 2000), np.uint8), compress_level=9)
    with pytest.raises(DataError, match="max_pixels"):
        images.read_rgb(data, max_pixels=1_000_000)
    assert images.read_rgb(data, max_pixels=6_000_000).shape == (3000, 2000, 3)


def test_the_size_of_a_png_is_known_without_decoding_it(monkeypatch):
    """Pillow would decode a whole PNG to look for EXIF behind its pixels: slow, and before any limit on size."""
    data = oriented(np.ascontiguousarray(STORED[6](scene())), 6)
    marker = data.index(b"eXIf") - 4
    length = int.from_bytes(data[marker : marker + 4], "big") + 12
    chunk, rest = data[marker : marker + length], data[:marker] + data[marker + length :]
    behind = rest[:-12] + chunk + rest[-12:]
    np.testing.assert_array_equal(images.read_rgb(behind), scene())
    plain = encoded(scene())
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert images.photo_size(data) == images.photo_size(behind) == images.photo_size(plain) == (84, 60)
    with pytest.raises(DataError, match="NoneType"):
        images.read_rgb(plain)  # so the line above really decoded nothing


def test_folders_are_listed_sorted(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in images.list_photos(tmp_path)] == ["a.png", "b.JPG"]


SEEDS = [
    oriented(scene(24, 40), 6, "JPEG"),
    encoded(scene(24, 40)),
    encoded(scene(24, 40), "WEBP"),
    encoded(scene(24, 40), "TIFF"),
    encoded(scene(24, 40), "BMP"),
    encoded(Image.fromarray(scene(24, 40)), "GIF"),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8),
    st.integers(0, 99),
)
def test_damaged_files_give_pixels_or_a_data_error(data, flips, cut):
    damaged = bytearray(data)
    for at, value in flips:
        damaged[at % len(damaged)] = value
    try:
        rgb = images.read_rgb(bytes(damaged[: max(1, len(damaged) * (100 - cut) // 100)]), max_pixels=10**6)
    except DataError:
        return
    assert rgb.dtype == np.uint8 and rgb.ndim == 3


@pytest.mark.parametrize(("value", "want"), [(None, None), (0, None), (28, 28 / np.hypot(36, 24) * np.hypot(84, 60))])
def test_focal_length_of_exif(value, want):
    exif = Image.Exif()
    if value is not None:
        exif.get_ifd(0x8769)[0xA405] = value  # FocalLengthIn35mmFilm, over the film's diagonal
    with images.opened(encoded(scene(), "JPEG", exif=exif)) as photo:
        assert photo.focal_px == (None if want is None else pytest.approx(want))  # pixels


def test_heic_says_which_package_reads_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(MissingExtra, match="pip install pillow-heif"):
        images.read_rgb(b"\0\0\0\x18ftypheic" + bytes(100), name="phone.heic")


def test_heic_of_a_phone_is_read_upright():
    heif = pytest.importorskip("pillow_heif")
    rgb, exif = scene(120, 168), Image.Exif()
    exif[0x0112] = 6
    turned = heif.from_pillow(Image.fromarray(np.ascontiguousarray(np.rot90(rgb))))
    turned.info["exif"] = exif.tobytes()  # the encoder turns it into the container's own rotation, which counts
    out = io.BytesIO()
    turned.save(out, quality=95)
    data = out.getvalue()
    assert b"irot" in data and images.photo_size(data) == (168, 120)
    assert np.abs(images.read_rgb(data).astype(int) - rgb).mean() < 4  # grey levels, lossy
    for length in (40, len(data) // 2, len(data) - 50):
        with pytest.raises(DataError, match="phone.heic"):
            images.read_rgb(data[:length], name="phone.heic")
