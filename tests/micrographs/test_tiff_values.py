"""What values of TIFF and other files mean, as every viewer shows them."""

import io

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import MicrographError

GRAY = np.random.default_rng(0).integers(0, 255, (50, 70), np.uint8)
OTHER = GRAY[::-1] // 3 + 60
ZERO, HALF = np.zeros_like(GRAY), np.full_like(GRAY, 128)


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def pillow(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gray(data, **more):
    found = read_micrograph(data, "x", **more)
    assert (found.pixels == found.pixels[..., :1]).all()
    return found.pixels[..., 0], found.notes


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_unspecified_samples_are_channels_and_no_transparency(planar):
    both = np.stack([GRAY, OTHER], axis=-1 if planar == "contig" else 0)
    options = {"photometric": "minisblack", "planarconfig": planar, "extrasamples": ["unspecified"]}
    for channel, expected, which in ((None, GRAY, "the first"), (2, OTHER, "number 2")):
        pixels, notes = gray(tiff(both, **options), channel=channel)
        np.testing.assert_array_equal(pixels, expected)
        assert notes == (f"The image has 2 channels; {which} was used.",)
    assert read_micrograph(tiff(both, **options)).channels == 2
    assert read_micrograph(tiff(both, **options), channel=2).channel == 2
    with pytest.raises(MicrographError, match="there is no channel 3, because it has 2 channels"):
        read_micrograph(tiff(both, **options), channel=3)
    with pytest.raises(MicrographError, match="there is no channel 2, because it has one channel"):
        read_micrograph(tiff(GRAY, photometric="minisblack"), channel=2)


def test_a_further_sample_beside_colours_is_a_channel():
    data = tiff(np.dstack([GRAY] * 3 + [255 - GRAY]), photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(gray(data)[0], GRAY)
    np.testing.assert_array_equal(gray(data, channel=2)[0], 255 - GRAY)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_associated_alpha_is_applied_once(kind):
    scale = 257 if kind == np.uint16 else 1
    deep = [v.astype(kind) * kind(scale) for v in (GRAY // 2, GRAY // 2, GRAY // 2, HALF)]
    pixels, _ = gray(tiff(np.dstack(deep), photometric="rgb", extrasamples=["assocalpha"]))
    expected = (GRAY // 2 + 127).astype(float)  # on white
    if kind == np.uint16:  # stretched
        low, high = np.percentile(expected, (0.1, 99.9))
        expected = np.clip((expected - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(pixels, expected, atol=1)


def test_alpha_that_hides_everything_is_left_out_and_said():
    data = tiff(np.dstack([GRAY, GRAY, GRAY, ZERO]), photometric="rgb", extrasamples=["unassalpha"])
    pixels, notes = gray(data)
    np.testing.assert_array_equal(pixels, GRAY)
    assert notes == ("The transparency channel hides the whole image, so it was ignored.",)
    half = tiff(np.dstack([GRAY, GRAY, GRAY, HALF]), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_allclose(gray(half)[0], GRAY * (128 / 255) + 127, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_obeyed_as_by_other_programs(orientation):
    data = tiff(GRAY, photometric="minisblack", extratags=[(274, "H", 1, orientation, True)])
    exif = Image.Exif()
    exif[274] = orientation
    deep = pillow(Image.fromarray(GRAY.astype(np.uint16) * 257), "PNG", exif=exif)
    webp = pillow(Image.fromarray(GRAY).convert("RGB"), "WEBP", lossless=True, exif=exif)
    turned = {2: GRAY[:, ::-1], 3: GRAY[::-1, ::-1], 4: GRAY[::-1], 5: GRAY.T, 6: np.rot90(GRAY, -1)}
    turned |= {1: GRAY, 7: GRAY[::-1, ::-1].T, 8: np.rot90(GRAY)}
    np.testing.assert_array_equal(gray(data)[0], turned[orientation])
    np.testing.assert_array_equal(gray(webp)[0], turned[orientation])
    np.testing.assert_allclose(gray(deep)[0], turned[orientation], atol=2)


@pytest.mark.parametrize("kind", ["LAB", "ICC", "deep"])
def test_cie_lab_is_gray_where_a_and_b_are_none(kind):
    lab = np.asarray(Image.fromarray(GRAY).convert("RGB").convert("LAB"))
    stored = np.array(lab) ^ np.array([0, 128, 128], np.uint8) if kind == "ICC" else np.array(lab)
    if kind == "deep":
        stored = stored.astype(np.uint16) << 8
    data = tiff(stored, photometric="icclab" if kind == "ICC" else "cielab")
    np.testing.assert_allclose(read_micrograph(data).pixels, np.repeat(GRAY[..., None], 3, 2), atol=3)


def test_cie_lab_as_pillow_writes_it():
    colour = np.dstack([GRAY // 2 + 60, GRAY[::-1] // 2 + 60, OTHER])
    data = pillow(Image.fromarray(colour).convert("LAB"), "TIFF")
    expected = np.asarray(Image.fromarray(colour).convert("LAB"))
    found = np.asarray(Image.fromarray(read_micrograph(data).pixels).convert("LAB"))
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_white_is_zero_of_all_bits_not_of_the_largest_value():
    faint = GRAY // 4
    np.testing.assert_array_equal(gray(tiff(255 - faint, photometric="miniswhite"))[0], faint)
    np.testing.assert_array_equal(gray(tiff(GRAY // 2, photometric="miniswhite"))[0], 255 - GRAY // 2)
    deep = gray(tiff(65535 - GRAY.astype(np.uint16) * 200, photometric="miniswhite"))[0]
    assert np.corrcoef(deep.ravel(), GRAY.ravel())[0, 1] > 0.999
    for kind in (np.float32, np.int16):
        found = gray(tiff(GRAY.astype(kind), photometric="miniswhite"))[0]
        assert np.corrcoef(found.ravel(), GRAY.ravel())[0, 1] < -0.999


def test_less_than_eight_bits_fill_the_scale():
    four = (GRAY // 16).astype(np.uint8)
    np.testing.assert_array_equal(gray(tiff(four, photometric="minisblack", bitspersample=4))[0], four * 17)


def test_ycbcr_that_is_no_jpeg():
    stored = np.asarray(Image.fromarray(GRAY).convert("RGB").convert("YCbCr"))
    subsampling = [(530, "H", 2, (1, 1), True)]
    data = tiff(np.array(stored), photometric="ycbcr", compression="zlib", extratags=subsampling)
    np.testing.assert_allclose(read_micrograph(data).pixels, np.repeat(GRAY[..., None], 3, 2), atol=1)


def test_raw_values_of_a_camera_are_refused():
    with pytest.raises(MicrographError, match=r"cannot be read \(CFA\), such as raw values of a camera"):
        read_micrograph(tiff(GRAY, photometric="cfa"), "x.dng")


def test_jpeg_2000_and_webp():
    deep = GRAY.astype(np.uint16) * 257
    np.testing.assert_array_equal(gray(pillow(Image.fromarray(GRAY), "JPEG2000"))[0], GRAY)
    found, notes = gray(pillow(Image.fromarray(deep), "JPEG2000"))
    np.testing.assert_allclose(found, GRAY, atol=2)
    assert notes == ("16-bit intensities were scaled to 8 bit.",)
    colour = np.dstack([GRAY, OTHER, HALF])
    for data in (pillow(Image.fromarray(colour), k, **o) for k, o in (("JPEG2000", {}), ("WEBP", {"lossless": True}))):
        np.testing.assert_array_equal(read_micrograph(data).pixels, colour)


SMALL = GRAY[::2, ::2]
SCALE = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "metadata": None, "photometric": "minisblack"}


@pytest.mark.parametrize("way", ["first", "second", "SubIFD", "unmarked", "marked wrongly"])
def test_the_picture_is_the_largest_page_that_is_no_preview(way):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tif:
        if way == "second":
            tif.write(GRAY, subfiletype=0, **SCALE)
        preview = GRAY[:, :35] if way == "unmarked" else SMALL
        more = {"subifds": 1} if way == "SubIFD" else {}
        tif.write(preview, subfiletype=0 if way == "unmarked" else 1, **SCALE, **more)
        if way != "second":
            tif.write(GRAY, subfiletype=1 if way == "marked wrongly" else 0, **SCALE)
    pixels, notes = gray(buffer.getvalue())
    np.testing.assert_array_equal(pixels, GRAY)
    assert read_micrograph(buffer.getvalue()).um_per_px == 0.5
    assert notes == (
        () if way == "second" else ("The file's first page is a smaller preview; its full picture was used.",)
    )


@given(
    st.sampled_from(["minisblack", "miniswhite", "rgb", "cielab", "icclab", "ycbcr", "separated", "cfa"]),
    st.sampled_from([np.uint8, np.uint16, np.int8, np.int16, np.float32, bool]),
    st.integers(1, 6),
    st.integers(0, 9),
    st.lists(st.sampled_from(["unspecified", "assocalpha", "unassalpha"]), max_size=3),
    st.sampled_from(["contig", "separate"]),
)
def test_any_tags_give_a_picture_or_a_sentence(photometric, kind, samples, orientation, extra, planar):
    shape = (40, 33, samples) if planar == "contig" else (samples, 40, 33)
    values = np.random.default_rng(0).integers(0, 2 if kind is bool else 100, shape).astype(kind)
    tags = [(274, "H", 1, orientation, True)]
    try:
        options = {"photometric": photometric, "planarconfig": planar if samples > 1 else None}
        data = tiff(np.squeeze(values), **options, extratags=tags, **({"extrasamples": extra} if extra else {}))
    except Exception:  # what cannot be written
        return
    try:
        found = read_micrograph(data, "x")
    except MicrographError as error:
        assert str(error).endswith(".")  # noqa: PT017
        return
    assert found.pixels.shape in ((40, 33, 3), (33, 40, 3))
