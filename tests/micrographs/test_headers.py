"""Pixel sizes as microscopes write them. The headers are made here, as public descriptions give them."""

import io
import math
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from crystalseg.errors import UserError
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.headers import from_sidecar, of_field, sidecar_names
from crystalseg.micrographs.units import length_um, number, seconds_in, um_in

IMAGE = np.random.default_rng(0).integers(0, 255, (150, 200), np.uint8)


def tiff(array=IMAGE, tags=(), **options):
    buffer = io.BytesIO()
    extra = [(code, kind, len(value) if kind in "sB" else 1, value, True) for code, kind, value in tags]
    tifffile.imwrite(buffer, array, photometric="minisblack", extratags=extra, **options)
    return buffer.getvalue()


def read(data, name="x.tif"):
    return read_micrograph(data, name)


def zeiss(**entries):
    lines = ["0", "0"]
    for key, value in entries.items():
        lines += [key.upper(), value]
    header = ("\r\n".join(lines) + "\r\n").encode("cp1252")
    return tiff(tags=[(34118, "s", header)])


MONITOR = {"ap_pixel_size": "Pixel Size = 97.66 nm"}
FIELD = {"ap_width": "Width = 100.0 \xb5m"}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (MONITOR | FIELD | {"dp_image_store": "Store resolution = 200 * 150"}, 0.5),
        (MONITOR | FIELD, 0.5),
        (MONITOR | {"ap_image_pixel_size": "Image Pixel Size = 500.0 nm"} | FIELD, 0.5),
        (MONITOR | {"ap_image_pixel_size": "Image Pixel Size = 500,0 nm"}, 0.5),
        (MONITOR | {"ap_image_pixel_size": "Image Pixel Size = 5000 A"}, 0.5),
        (MONITOR | {"ap_image_pixel_size": "Image Pixel Size = 5000 \xc5"}, 0.5),
        ({"ap_image_pixel_size": "Image Pixel Size = 930.4 pm"}, 930.4e-6),
        ({"ap_image_pixel_size": "Image Pixel Size = 1.488 \xb5m"}, 1.488),
        ({"ap_image_pixel_size": "Image Pixel Size = 1.488 mm"}, 1488),
    ],
)
def test_zeiss_says_the_pixel_size_of_the_file_not_of_the_monitor(entries, expected):
    found = read(zeiss(**entries))
    assert found.um_per_px == pytest.approx(expected, rel=1e-4)
    assert found.notes == ()


def test_zeiss_with_the_monitor_only_says_nothing_and_that():
    found = read(zeiss(**MONITOR))
    assert found.calibration is None
    assert "only the pixel size of the monitor" in found.notes[0]


def test_zeiss_of_a_file_that_was_scaled_since():
    # 400 px of 250 nm were stored; this file has 200
    entries = {"ap_image_pixel_size": "Image Pixel Size = 250 nm", "dp_image_store": "Store resolution = 400 * 300"}
    found = read(zeiss(**entries))
    assert found.um_per_px == pytest.approx(0.5)
    assert "scaled to a width of 200 px later. It now has 0.5 µm per pixel" in found.notes[0]


def fei(text):
    return tiff(tags=[(34682, "s", text.replace("\n", "\r\n").encode())])


SCAN = "[Scan]\nPixelWidth={0}\nPixelHeight={0}\n"


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        (SCAN.format("1.335e-007"), 0.1335, None),
        (SCAN.format("1,335e-007"), 0.1335, None),
        ("[EScan]\nPixelWidth=1e-7\nPixelHeight=1e-7\n", 0.1, None),
        (SCAN.format("1e-7") + "HorFieldsize=2e-5\n[Image]\nResolutionX=200\nResolutionY=150\n", 0.1, None),
        (SCAN.format("1e-7") + "[Image]\nResolutionX=200\nResolutionY=138\n", 0.1, None),  # and a data bar
        (SCAN.format("1e-7") + "HorFieldsize=4e-5\n[Image]\nResolutionX=400\nResolutionY=300\n", 0.2, "was scaled to"),
        (SCAN.format("1e-7") + "[Image]\nResolutionX=400\nResolutionY=276\n", 0.2, "was scaled to"),
        (SCAN.format("1e-7") + "HorFieldsize=4e-5\n", 0.2, "was scaled to"),
        (SCAN.format("1e-7") + "[Image]\nResolutionX=400\nResolutionY=900\n", None, "was cropped or scaled later"),
        (SCAN.format("broken"), None, None),
        ("[Scan]\nPixelWidth=1e-7\n", None, None),
    ],
)
def test_fei_also_of_files_that_were_scaled_since(text, expected, note):
    found = read(fei(text))
    assert found.um_per_px == (expected and pytest.approx(expected))
    assert len(found.notes) == (note is not None)
    assert note is None or note in found.notes[0]


def imagej(description, resolution):
    return tiff(description=description, resolution=resolution, resolutionunit=1, metadata=None, software="ImageJ")


@pytest.mark.parametrize(
    ("facts", "resolution", "expected", "note"),
    [
        ("unit=micron\n", (2, 2), 0.5, None),
        ("unit=\\u00B5m\n", (2, 2), 0.5, None),
        ("unit=\\u00B5m\nyunit=nm\n", (2, 0.002), 0.5, None),
        ("unit=\\u00B5m\nyunit=mm\n", (2, 2), None, "0.5 × 500 µm"),
        ("unit=\\u00C5\n", (0.0002, 0.0002), 0.5, None),
        ("unit=micrometers\n", (2, 2), 0.5, None),
        ("unit=meter\n", (2e6, 2e6), 0.5, None),
        ("unit=MM\n", (2000, 2000), 0.5, None),
        ("unit= um \n", (2, 2), 0.5, None),
        ("unit=pixel\n", (1, 1), None, None),
        ("unit=furlong\n", (2, 2), None, "“furlong”, which is not a known unit of length"),
        ("unit=um\nyunit=furlong\n", (2, 2), None, "“furlong”, which is not a known unit of length"),
    ],
)
def test_units_of_imagej(facts, resolution, expected, note):
    found = read(imagej(f"ImageJ=1.53t\n{facts}", resolution))
    assert found.um_per_px == (expected and pytest.approx(expected, rel=1e-4))
    assert len(found.notes) == (note is not None)
    assert note is None or note in found.notes[0]


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        *(
            ("nm", 500, 0.5),
            ("µm", 0.5, 0.5),
            ("μm", 0.5, 0.5),
            ("micron", 0.5, 0.5),
            ("Å", 5000, 0.5),
            ("m", 5e-7, 0.5),
        ),
        *(("\u212b", 5000, 0.5), ("thou", 1, 25.4), ("pixel", 1, None), ("reference frame", 1, None)),
    ],
)
def test_units_of_ome(unit, value, expected):
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="200" SizeY="150" '
        f'SizeC="1" SizeZ="1" SizeT="1" PhysicalSizeX="{value}" PhysicalSizeXUnit="{unit}" PhysicalSizeY="{value}" '
        f'PhysicalSizeYUnit="{unit}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    found = read(tiff(description=xml.encode(), metadata=None))
    assert found.um_per_px == (expected and pytest.approx(expected))
    assert found.notes == ()
    note = read(tiff(description=xml.replace(unit, "parsec").encode(), metadata=None)).notes[0]
    assert "“parsec”, which is not a known unit of length" in note


def sis(x, y, exponent=-6):
    """As tifffile describes tag 33560: the tag holds its data at once, and an offset within the file."""
    head = struct.pack("<4s6xhhhhh6x32sh", b"SIS0", 42, 19, 15, 10, 118, b"Image", 1)
    tags = struct.pack("<hhI", 1, 1, 0)
    blob = head + tags + struct.pack("<10xhdd8xd2x34s32s", exponent, x, y, 50.0, b"UC90", b"reflected")
    data = bytearray(tiff(tags=[(33560, "B", blob)], resolution=(72, 72), resolutionunit="INCH"))
    at = data.find(b"SIS0")
    struct.pack_into("<I", data, at + 64, at + 68)
    return bytes(data)


PHENOM = (
    b'<?xml version="1.0"?><FeiImage><pixelWidth unit="nm">133.5</pixelWidth>'
    b'<pixelHeight unit="nm">133.5</pixelHeight></FeiImage>'
)
THERMO = (
    b'<Metadata><BinaryResult><PixelSize><X unit="m">1.335e-7</X><Y unit="m">1.335e-7</Y></PixelSize>'
    b"</BinaryResult></Metadata>"
)
TESCAN = b"\x01\x02\x00[MAIN]\r\nDevice=VEGA\r\nPixelSizeX=1.335e-007\r\nPixelSizeY=1.335e-007\r\n"
NIKON = b'<variant><dCalibration runtype="double" value="0.1335"/></variant>'
KEYENCE = (
    b"<Data><Shooting><XyStageRegion><X>1</X><Width>26700</Width><Height>20025</Height></XyStageRegion></Shooting>"
    b"<SavingImageSize><Width>200</Width><Height>150</Height></SavingImageSize></Data>"
)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (sis(0.1335, 0.1335), "Olympus SIS header"),
        (sis(133.5, 133.5, -9), "Olympus SIS header"),
        (tiff(tags=[(34683, "s", PHENOM)]), "Phenom header"),
        (tiff(tags=[(34683, "s", THERMO)]), "Phenom header"),
        (tiff(tags=[(50431, "B", TESCAN)]), "Tescan header"),
        (tiff(tags=[(65326, "d", 0.1335)]), "Nikon NIS-Elements header"),
        (tiff(tags=[(65332, "B", NIKON)]), "Nikon NIS-Elements header"),
        (tiff() + KEYENCE, "Keyence header"),
    ],
)
def test_private_tags_of_other_microscopes(data, source):
    found = read(data)
    assert found.um_per_px == pytest.approx(0.1335)
    assert found.calibration.source == source
    np.testing.assert_array_equal(found.pixels[..., 0], IMAGE)


def test_a_keyence_jpeg_says_it_at_its_end():
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "JPEG")
    assert read(buffer.getvalue() + KEYENCE, "x.jpg").um_per_px == pytest.approx(0.1335)


HITACHI = "[SemImageFile]\nInstructName=S-4800\nDataSize=200x150\nPixelSize=133,5\nMagnification=2000\n"
JEOL = "$CM_FORMAT JPEG\n$CM_FULL_SIZE 200 140\n$$SM_MICRON_BAR 80\n$$SM_MICRON_MARKER 10.68um\n"
HDR = "[MAIN]\nDevice=VEGA\nPixelSizeX=1.335e-007\nPixelSizeY=1.335e-007\n"
LAS = "<CalImage><XMetresPerPixel>1.335E-07</XMetresPerPixel><YMetresPerPixel>1.335E-07</YMetresPerPixel></CalImage>"
LASX = "".join(
    f'<DimensionDescription DimID="{axis}" NumberOfElements="{n}" Length="{(n - 1) * 1.335e-7!r}" Unit="m"/>'
    for axis, n in (("X", 200), ("Y", 150))
)


@pytest.mark.parametrize(
    ("name", "other", "text", "source"),
    [
        ("x.tif", "x.txt", HITACHI, "Hitachi .txt file"),
        ("x.bmp", "x.txt", JEOL, "JEOL .txt file"),
        ("x.tif", "x-tif.hdr", HDR, "Tescan .hdr file"),
        ("x.png", "x.hdr", HDR, "Tescan .hdr file"),
        ("x.tif", "x.tif.cal.xml", LAS, "Leica XML file"),
        ("x.tif", "MetaData/x_Properties.xml", f"<Data><Image>{LASX}</Image></Data>", "Leica XML file"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_text_files_beside_an_image(tmp_path, name, other, text, source, encoding):
    Image.fromarray(IMAGE).save(tmp_path / name)
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_bytes(text.replace("\n", "\r\n").encode(encoding))
    found = read_micrograph(tmp_path / name)
    assert found.um_per_px == pytest.approx(0.1335)
    assert found.calibration.source == source
    assert found.notes == ()
    uploaded = read_micrograph((tmp_path / name).read_bytes(), name)
    assert uploaded.calibration is None
    files = {(tmp_path / other).name: (tmp_path / other).read_bytes()}
    assert read_micrograph((tmp_path / name).read_bytes(), name, beside=files.get).um_per_px == pytest.approx(0.1335)


def test_a_scaled_image_beside_a_header():
    notes = []
    assert from_sidecar(HITACHI.encode(), (100, 75), notes).um_per_px == pytest.approx(0.267)
    assert "was scaled to a width of 100 px later" in notes[0]
    assert from_sidecar(HITACHI.encode(), (100, 40), notes) is None
    assert "was cropped or scaled later" in notes[1]


def test_text_beside_an_image_that_says_nothing(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "x.png")
    (tmp_path / "x.txt").write_text("my notes: 3 nm of gold\nPixelSize=?\n")
    found = read_micrograph(tmp_path / "x.png")
    assert (found.calibration, found.notes) == (None, ())


@given(st.binary(max_size=200), st.sampled_from([HITACHI, JEOL, HDR, LAS, LASX, ""]), st.integers(0, 200))
@example(b"PixelSize=1e999\n", "", 0)
@example(b"$$SM_MICRON_BAR 0\n$$SM_MICRON_MARKER 1um\n", "", 0)
def test_any_text_beside_an_image_gives_a_size_or_none(junk, text, at):
    data = text.encode()
    notes = []
    try:
        found = from_sidecar(data[:at] + junk + data[at:], (200, 150), notes)
    except UserError:
        return
    assert found is None or 0 < found.um_per_px < math.inf


@given(
    st.sampled_from([34118, 34680, 34682, 34683, 33560, 33471, 50431, 65326, 65332, 270]),
    st.binary(min_size=1, max_size=300),
)
def test_any_private_tag_gives_a_micrograph(code, value):
    found = read(tiff(tags=[(code, "B", value)], metadata=None))
    assert found.um_per_px is None or 0 < found.um_per_px < math.inf
    np.testing.assert_array_equal(found.pixels[..., 0], IMAGE)


@given(st.text(max_size=80), st.sampled_from(["ap_image_pixel_size", "ap_width", "dp_image_store"]))
def test_any_zeiss_entry_gives_a_micrograph(value, key):
    line = f"x = {value}".encode("cp1252", "replace").decode("cp1252")
    found = read(zeiss(**{key: line}))
    assert found.um_per_px is None or 0 < found.um_per_px < math.inf


@given(st.floats(allow_nan=False), st.integers(1, 9999), st.integers(1, 9999), st.floats(), st.integers(1, 999))
def test_a_field_gives_a_pixel_size_or_none(um, width, height, field, side):
    for header in ((width, height), None):
        found = of_field(um, header, field, (side, side), "header", [])
        assert found is None or 0 < found.um_per_px < math.inf


def test_lengths_numbers_and_times():
    assert length_um("48,83 nm") == pytest.approx(0.04883)
    assert length_um("10um") == 10
    assert length_um("1.5e-3 m") == pytest.approx(1500)
    for text in ("", "nm", "5", "-3 nm", "0 nm", "5 parsec", "1,2,3 nm", "nan nm"):
        assert length_um(text) is None
    assert number("1,5") == number("1.5") == number(" 1.5 ") == 1.5
    for value in ("1.000,5", "1_5", "", None, "inf", "nan", [], 10**400):
        assert math.isnan(number(value))
    assert um_in("Micrometers") == um_in("µM") == um_in("mikrometer") == 1
    assert um_in("centimetres") == 1e4
    assert um_in("smoot") is None
    assert seconds_in("Min") == 60
    assert seconds_in("fortnight") is None


def test_names_of_files_beside_an_image():
    assert sidecar_names("a.b.tif")[:4] == ("a.b.txt", "a.b.hdr", "a.b-tif.hdr", "a.b.tif.hdr")
