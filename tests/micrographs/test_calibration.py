import io

import numpy as np
import pytest
import tifffile

from crystalseg.errors import UserError
from crystalseg.micrographs.calibration import (
    Calibration,
    NotSquareError,
    by_hand,
    from_resolution,
    from_scale_bar,
    from_um_per_px,
)
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.headers import _ome, from_tiff
from crystalseg.micrographs.tiff_pages import main_page

IMAGE = np.zeros((40, 40), np.uint8)


def calibration(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, IMAGE, **options)
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as tif:
        return from_tiff(tif, main_page(tif), [])


def test_by_hand():
    assert from_um_per_px(0.25).um_per_px == 0.25
    assert by_hand("pixels per mm", 200, 640).um_per_px == 5
    assert by_hand("pixels per µm", 4, 640).um_per_px == 0.25
    assert by_hand("nm per pixel", 50, 640).um_per_px == 0.05
    assert by_hand("image width, mm", 1.28, 640).um_per_px == 2
    assert by_hand("image width, µm", 128, 640).um_per_px == 0.2
    assert by_hand("image width, nm", 6400, 640).um_per_px == 0.01
    assert by_hand("image width, nm", 6400, 640, 2).source == "image width of 6400 nm, entered by hand"
    assert by_hand("image width, nm", 6400, 640, 2).uncertainty == 0.02
    assert from_scale_bar(100, (10, 7), (13, 11)).um_per_px == 20  # 3, 4, 5 px


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: from_um_per_px(0),
        lambda: from_um_per_px(float("nan")),
        lambda: by_hand("pixels per mm", -3, 640),
        lambda: from_scale_bar(100, (5, 5), (5, 5)),
        lambda: from_scale_bar(0, (5, 5), (50, 5)),
        lambda: Calibration(float("inf"), ""),
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(UserError, match=r"\.$"):
        wrong()


def test_ome_xml():
    meta = {"axes": "YX", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}
    found = calibration(ome=True, metadata=meta)
    assert found.um_per_px == pytest.approx(0.25)
    assert "OME" in found.source


@pytest.mark.parametrize(
    "xml",
    [
        '<OME><!-- <Pixels PhysicalSizeX="0.3" PhysicalSizeY="0.3"/> --><Image><Pixels SizeX="4"/></Image></OME>',
        '<!DOCTYPE OME [<!ENTITY a "0.3">]><OME><Pixels PhysicalSizeX="&a;" PhysicalSizeY="&a;"/></OME>',
        '<OME><Pixels PhysicalSizeX="0.3" PhysicalSizeY="0.3">',
        '<OME><Pixels PhysicalSizeX="0.3" PhysicalSizeXUnit="parsec" PhysicalSizeY="0.3"/></OME>',
        '<OME><Pixels PhysicalSizeX="three" PhysicalSizeY="three"/></OME>',
        "not XML at all",
    ],
    ids=["in a comment", "an entity", "cut off", "unknown unit", "no number", "no XML"],
)
def test_ome_xml_that_states_no_pixel_size(xml):
    assert _ome(xml, (4, 4), []) is None


def test_imagej():
    found = calibration(imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    assert found.um_per_px == pytest.approx(0.25)
    assert "ImageJ" in found.source


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}, 2.0),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # a screen
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # a printer
        ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, 1.0),
        ({"resolution": (5000, 5000), "resolutionunit": "NONE"}, None),
        ({"resolution": (72, 144), "resolutionunit": "INCH"}, None),
        ({}, None),
    ],
)
def test_resolution_tags_only_where_they_are_real(options, expected):
    found = calibration(**options)
    assert (found.um_per_px if found else None) == (pytest.approx(expected) if expected else None)


def test_pixels_that_are_no_squares_are_told_and_not_taken():
    meta = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.4}
    for options in (
        {"resolution": (5000, 2500), "resolutionunit": "CENTIMETER"},
        {"ome": True, "metadata": meta, "resolution": (5000, 5000), "resolutionunit": "CENTIMETER"},
        {"imagej": True, "resolution": (4, 5), "metadata": {"unit": "um"}},
    ):
        with pytest.raises(NotSquareError, match=r"µm \(.*\) are not square"):
            calibration(**options)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, IMAGE, ome=True, metadata=meta)
    read = read_micrograph(buffer.getvalue(), "a.tif")
    assert read.calibration is None
    said = "The pixels of 0.3 × 0.4 µm (OME-XML metadata) are not square; resample the image to square pixels."
    assert read.notes == (said,)


def test_unknown_units_say_nothing():
    assert from_resolution(100, 100, "pixel") is None
    assert from_resolution(0, 0, "mm") is None


def test_the_uncertainty_of_a_scale_bar_by_hand():
    # ends read within ±1 px, evenly: variance 1/3 each; 200 px long: √(2/3)/200 = 0.408 %; certificate 1 µm of 100
    made = from_scale_bar(100, (10, 5), (210, 5), 1.0)
    assert made.uncertainty == pytest.approx(np.hypot(np.sqrt(2 / 3) / 200, 0.01))
    exact = from_scale_bar(100, (10, 5), (210, 5), 0.0)
    assert exact.uncertainty == pytest.approx(np.sqrt(2 / 3) / 200)
    assert from_scale_bar(100, (10, 5), (210, 5)).uncertainty is None  # blank is not known
    with pytest.raises(UserError, match="uncertainty of the length"):
        from_scale_bar(100, (10, 5), (210, 5), -1)
    with pytest.raises(UserError, match="between 0 and 100"):
        Calibration(1.0, "by hand", 1.5)
