import errno
import io
import os

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.inscriptions import _long_runs, find_data_bar, find_scale_bar
from crystalseg.micrographs.intensities import _eight_bits, to_rgb
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.pairs import read_labels, read_pairs

rng = np.random.default_rng(0)
COLOUR = cv2.resize(rng.integers(0, 256, (10, 12, 3)).astype(np.uint8), (60, 50), interpolation=cv2.INTER_CUBIC)
GRAY = COLOUR.mean(axis=2).astype(np.uint8)


def pillow(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def as_rgb(gray):
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize(("array", "expected"), [(COLOUR, COLOUR), (GRAY, as_rgb(GRAY))], ids=["colour", "gray"])
def test_lossless_formats_keep_every_pixel(kind, array, expected):
    found = read_micrograph(pillow(Image.fromarray(array), kind))
    assert found.pixels.dtype == np.uint8
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.um_per_px is None


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw"},
        {"compression": "zlib"},
        {"tile": (16, 16)},
        {"compression": "zstd", "tile": (32, 32)},
        {"planarconfig": "separate", "photometric": "rgb", "rgb_last": False},
        {"bigtiff": True},
        {"byteorder": ">"},
    ],
    ids=str,
)
def test_tiff_compressions_and_layouts(options):
    options = dict(options)
    array = COLOUR.transpose(2, 0, 1) if options.pop("rgb_last", True) is False else COLOUR
    found = read_micrograph(tiff(array, **{"photometric": "rgb"} | options))
    np.testing.assert_array_equal(found.pixels, COLOUR)


def test_jpeg_and_jpeg_in_tiff_are_close():
    for data in (
        pillow(Image.fromarray(COLOUR), "JPEG", quality=95),
        tiff(COLOUR, photometric="rgb", compression="jpeg", compressionargs={"level": 95}),
    ):
        assert np.abs(read_micrograph(data).pixels.astype(int) - COLOUR).mean() < 6


def test_transparency_becomes_white():
    alpha = np.full(GRAY.shape, 255, np.uint8)
    alpha[:10] = 0
    for image in (np.dstack((COLOUR, alpha)), np.dstack((GRAY, alpha))):
        pixels = read_micrograph(pillow(Image.fromarray(image), "PNG")).pixels
        assert (pixels[:10] == 255).all()
        np.testing.assert_array_equal(pixels[10:, :, 0], image[10:, :, 0])


def test_palette_and_cmyk():
    palette = Image.fromarray(COLOUR).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_micrograph(pillow(palette, kind)).pixels, expected)
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    for data in (pillow(cmyk, "TIFF"), pillow(cmyk, "JPEG", quality=98)):
        assert np.abs(read_micrograph(data).pixels.astype(int) - COLOUR).mean() < 8


def test_sixteen_bit_and_float_are_stretched_by_percentiles_not_cut():
    # twelve bits in a sixteen-bit file, one hot pixel: a plain shift would leave it nearly black
    deep = (GRAY.astype(np.uint16) * 16) + 100
    deep[0, 0] = 65535
    for data in (tiff(deep), pillow(Image.fromarray(deep), "PNG"), tiff(deep.astype(np.float32) * 1e-6)):
        pixels = read_micrograph(data).pixels[..., 0].astype(int)
        assert pixels.max() == 255
        assert pixels.min() == 0
        low, high = np.percentile(GRAY, (0.1, 99.9))
        expected = np.clip((GRAY - low) / (high - low), 0, 1) * 255
        assert np.abs(pixels - expected)[1:].max() < 8


def test_sixteen_bit_colour_png_is_stretched_too():
    deep = COLOUR.astype(np.uint16) * 8
    data = cv2.imencode(".png", cv2.cvtColor(deep, cv2.COLOR_RGB2BGR))[1].tobytes()
    assert np.abs(read_micrograph(data).pixels.astype(int) - COLOUR).mean() < 12


def test_not_a_number_is_the_darkest():
    values = GRAY.astype(np.float32)
    values[5, 5], values[6, 6] = np.nan, np.inf
    assert (read_micrograph(tiff(values)).pixels[5, 5] == 0).all()


def test_first_of_many_pages_and_it_says_so():
    found = read_micrograph(tiff(np.stack([GRAY, GRAY // 2]), photometric="minisblack"))
    np.testing.assert_array_equal(found.pixels, as_rgb(GRAY))
    assert "2 pages" in found.notes[0]


def test_white_is_zero():
    np.testing.assert_array_equal(
        read_micrograph(tiff(np.where(GRAY > 99, 255, 0).astype(np.uint8), photometric="miniswhite")).pixels[..., 0],
        np.where(GRAY > 99, 0, 255),
    )


PNG = pillow(Image.fromarray(COLOUR), "PNG")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not an image"),
        (PNG[: len(PNG) // 2], "truncated"),
        (tiff(COLOUR)[:3000], "truncated"),
        (pillow(Image.fromarray(COLOUR), "JPEG")[:400], "truncated"),
        (b"II*\0" + b"\xff" * 40, "damaged"),
        (pillow(Image.fromarray(COLOUR[:20]), "PNG"), "at least 32 px"),
        (pillow(Image.fromarray(COLOUR), "GIF"), "save it as"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(data, words):
    with pytest.raises(MicrographError, match=words) as caught:
        read_micrograph(data, "sample.x")
    assert str(caught.value).startswith("sample.x: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(MicrographError, match="cannot be opened"):
        read_micrograph(tmp_path / "none.png")


def test_size_is_checked_before_pixels_are_decoded():
    big = pillow(Image.new("L", (20_000, 10_000)), "PNG")
    with pytest.raises(MicrographError, match="200 megapixels"):
        read_micrograph(big[:200] + b"broken from here on")  # pixels could not be decoded
    with pytest.raises(MicrographError, match=r"limit of 0\.001"):
        read_micrograph(PNG, max_megapixels=0.001)


@settings(max_examples=150)
@example("TIFF", 134, 0, False)  # no samples per pixel
@given(st.sampled_from(["PNG", "JPEG", "BMP", "TIFF"]), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_byte_or_cut_gives_a_micrograph_or_one_sentence(kind, place, value, cut):
    data = bytearray(pillow(Image.fromarray(COLOUR), kind))
    place %= len(data)
    data[place] = value
    try:
        found = read_micrograph(bytes(data[:place] if cut else data))
    except MicrographError as error:
        sentence = str(error)
    else:
        sentence = ""
        assert found.pixels.dtype == np.uint8
        assert found.pixels.shape[2] == 3
    assert "\n" not in sentence


def test_crop_keeps_the_place_in_the_file():
    found = read_micrograph(PNG)
    part = found.crop(5, 3, 45, 50).crop(2, 1, 40, 47)
    np.testing.assert_array_equal(part.pixels, COLOUR[7:45, 4:50])
    assert part.region == (7, 4, 45, 50)
    for wrong in ((0, 0, 99, 50), (-1, 0, 40, 40), (10, 0, 20, 60)):
        with pytest.raises(MicrographError):
            found.crop(*wrong)


def sem(bar=True, tone=0, seed=0):
    noise = np.random.default_rng(seed)
    image = np.clip(cv2.GaussianBlur(noise.normal(120, 200, (700, 900)), (0, 0), 2) + 20, 0, 255).astype(np.uint8)
    if bar:
        image[640:] = tone
        ink = 255 - tone
        cv2.putText(image, "HV 15.00 kV  mag 500 x  WD 10 mm", (20, 680), cv2.FONT_HERSHEY_SIMPLEX, 0.9, ink, 2)
        cv2.line(image, (700, 660), (860, 660), ink, 4)
    return as_rgb(image)


@pytest.mark.parametrize("tone", [0, 255])
def test_a_data_bar_is_found_at_its_first_row(tone):
    assert abs(find_data_bar(sem(tone=tone)) - 640) <= 1


def test_no_data_bar_where_there_is_none():
    assert find_data_bar(sem(bar=False)) is None
    grain = np.full((400, 400, 3), 8, np.uint8)  # a bright grain on black resin
    cv2.circle(grain, (200, 200), 150, (200, 200, 200), -1)
    assert find_data_bar(grain) is None
    assert find_data_bar(np.zeros((100, 100, 3), np.uint8)) is None


def test_labels_and_pairs(tmp_path):
    labels = (GRAY // 50).astype(np.uint16) * 300
    Image.fromarray(labels).save(tmp_path / "a_label.png")
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", labels.astype(np.uint32))
    numbered = np.unique(labels, return_inverse=True)[1] + (labels.min() > 0)
    np.testing.assert_array_equal(read_labels(tmp_path / "b.tif"), numbered)
    ((micrograph, found),) = read_pairs(tmp_path)
    np.testing.assert_array_equal(found, numbered)
    assert micrograph.name == "a"
    Image.fromarray(COLOUR).save(tmp_path / "c_label.png")
    with pytest.raises(MicrographError, match="one channel"):
        read_labels(tmp_path / "c_label.png")
    with pytest.raises(MicrographError, match="no <id>"):
        read_pairs(tmp_path / "empty")


@pytest.mark.parametrize(("bright", "ticks"), [(True, False), (True, True), (False, True)])
def test_a_scale_bar_is_found_with_its_ends(bright, ticks):
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(60, 190, (600, 800, 1), np.uint8), 3, axis=2)
    tone = 250 if bright else 5
    pixels[540:580, 90:330] = 255 - tone
    pixels[560:565, 110:310] = tone
    if ticks:
        pixels[553:572, 110:112] = pixels[553:572, 308:310] = tone
        cv2.putText(pixels, "20 um", (170, 555), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (tone,) * 3)
    assert find_scale_bar(pixels) == (110, 562.5, 310, 562.5)


def test_no_scale_bar_is_made_up():
    rng = np.random.default_rng(0)
    assert find_scale_bar(np.repeat(rng.integers(0, 256, (300, 400, 1), np.uint8), 3, axis=2)) is None
    assert find_scale_bar(np.zeros((300, 400, 3), np.uint8)) is None
    framed = np.full((300, 400, 3), 120, np.uint8)
    framed[280:284] = 255  # a frame from edge to edge
    assert find_scale_bar(framed) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((40, 40), np.nan, np.float32), "none of its values is a finite number"),
        (np.full((40, 40), -np.inf), "none of its values is a finite number"),
        (np.ones((40, 40), np.complex64), "complex"),
    ],
    ids=["not a number", "infinite", "complex"],
)
def test_what_would_be_black_is_refused(values, words):
    with pytest.raises(MicrographError, match=words):
        read_micrograph(tiff(values), "sample.tif")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EIO, r"cannot be read \(Input/output error\)"),
    ],
)
def test_what_the_disk_refuses_is_not_called_damaged(number, words, monkeypatch):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tifffile.TiffPage.asarray", refuse)
    with pytest.raises(MicrographError, match=words):
        read_micrograph(tiff(GRAY), "sample.tif")


def test_values_that_are_no_numbers_are_counted():
    values = GRAY.astype(np.float32)
    values[5, 5] = values[7, 8] = np.nan
    assert "2 of its values are not finite numbers; they were set to black." in read_micrograph(tiff(values)).notes


def test_memory_is_limited_by_what_pixels_take_not_by_their_number(monkeypatch):
    wide = tiff(np.zeros((64, 64, 500), np.float64), photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr("crystalseg.micrographs.decoding.MAX_BYTES", 10**6)
    with pytest.raises(MicrographError, match="too large: at 4000 bytes a pixel"):
        read_micrograph(wide, max_megapixels=0.01)
    assert read_micrograph(wide, max_megapixels=1).shape == (64, 64)  # who allows larger images has the memory
    assert read_micrograph(tiff(np.zeros((64, 64, 3), np.uint8), photometric="rgb")).shape == (64, 64)
    # a tile may be stated far larger than the image
    with pytest.raises(MicrographError, match="a tile exceeds the memory limit"):
        read_micrograph(tiff(GRAY, tile=(4096, 4096), compression="zlib"), max_megapixels=0.01)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint16, np.int32, np.float32, np.float64]), st.integers(1, 4))
@settings(max_examples=30)
def test_strips_give_what_the_whole_image_gives(seed, kind, channels):
    values = (np.random.default_rng(seed).normal(500, 200, (23, 17, channels))).clip(1).astype(kind)
    span = np.percentile(values[..., : 3 if channels > 2 else 1].astype(np.float32), (0.1, 99.9))
    whole = _eight_bits(values, tuple(span))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crystalseg.micrographs.intensities.STRIP", 40)
        found = to_rgb(23, 17, lambda rows, columns: values[rows, columns])
    np.testing.assert_array_equal(found, np.broadcast_to(whole, found.shape))


def test_huge_images_are_stretched_by_a_sample(monkeypatch):
    values = np.random.default_rng(0).normal(size=(900, 1000)).astype(np.float32)
    exact = read_micrograph(tiff(values)).pixels.astype(int)
    monkeypatch.setattr("crystalseg.micrographs.intensities.SAMPLE", 200_000)
    assert np.abs(read_micrograph(tiff(values)).pixels - exact).max() <= 3


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
@settings(max_examples=50)
def test_long_runs_are_what_a_morphological_opening_leaves(seed, least):
    mask = np.random.default_rng(seed).random((6, 40)) < 0.8
    padded = np.pad(mask, ((0, 0), (least, least)))  # outside is nothing
    opened = ndimage.binary_opening(padded, np.ones((1, least)))[:, least:-least]
    np.testing.assert_array_equal(_long_runs(mask, least), opened)
