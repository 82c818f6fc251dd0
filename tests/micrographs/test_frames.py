"""Frames of one file, and when they were taken."""

import math

import numpy as np
import pytest
import tifffile

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.drift import drift
from crystalseg.micrographs.frames import Moment, is_stack, read_moments, unpack
from crystalseg.micrographs.micrograph import MicrographError

NAMES = ["a.png", "b.png", "c.png"]


def stack(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def test_an_ome_file_says_when_its_frames_were_taken(tmp_path):
    frames = stack(3, 40, 50, 3)
    planes = {"TheT": [0, 1, 2], "TheC": [0] * 3, "TheZ": [0] * 3, "DeltaT": [0.0, 1.5, 3.0], "DeltaTUnit": ["min"] * 3}
    facts = {"axes": "TYXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Plane": planes}
    tifffile.imwrite(tmp_path / "hot.ome.tif", frames, photometric="rgb", metadata=facts)
    assert is_stack(tmp_path / "hot.ome.tif")
    moments, calibration = unpack(tmp_path / "hot.ome.tif", tmp_path / "frames")
    assert [moment.seconds for moment in moments] == [0, 90, 180]
    assert all(math.isnan(moment.celsius) for moment in moments)
    assert calibration.um_per_px == 0.5
    for frame, path in zip(frames, sorted((tmp_path / "frames").iterdir()), strict=True):
        np.testing.assert_array_equal(read_micrograph(path).pixels, frame)


def test_an_imagej_stack_says_its_interval(tmp_path):
    frames = stack(4, 30, 20, dtype=np.uint16)
    facts = {"axes": "TYX", "finterval": 2.5, "unit": "micron"}
    tifffile.imwrite(tmp_path / "s.tif", frames, imagej=True, resolution=(2, 2), metadata=facts)
    moments, calibration = unpack(tmp_path / "s.tif", tmp_path / "frames")
    assert [moment.seconds for moment in moments] == [0, 2.5, 5, 7.5]
    assert calibration.um_per_px == pytest.approx(0.5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "frames" / "0002.tif"), frames[1])


def test_a_plain_stack_says_nothing_and_one_page_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", stack(3, 30, 20), photometric="minisblack", metadata=None)
    moments, calibration = unpack(tmp_path / "s.tif", tmp_path / "frames")
    assert all(math.isnan(moment.seconds) for moment in moments)
    assert calibration is None
    tifffile.imwrite(tmp_path / "one.tif", stack(30, 20))
    assert not is_stack(tmp_path / "one.tif")
    (tmp_path / "no.tif").write_text("no image")
    assert not is_stack(tmp_path / "no.tif")
    assert not is_stack(tmp_path / "missing.tif")
    with pytest.raises(MicrographError, match=r"one\.tif: it has 1 frames"):
        unpack(tmp_path / "one.tif", tmp_path / "other")
    with pytest.raises(MicrographError, match=r"no\.tif: not a TIFF file of frames"):
        unpack(tmp_path / "no.tif", tmp_path / "other")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "s.tif").read_bytes()[:900])
    with pytest.raises(MicrographError):
        unpack(tmp_path / "cut.tif", tmp_path / "third")


@pytest.mark.parametrize(
    ("text", "seconds", "celsius"),
    [
        ("time_s\n0\n10\n20\n", [0, 10, 20], [math.nan] * 3),
        ("time (min);temperature (K)\n0;1273,15\n0,5;1273,15\n1;1273,15\n", [0, 30, 60], [1000] * 3),
        ("image,time_h,temperature_C\nc.png,2,900\na.png,0,900\nb.png,1,900\n", [0, 3600, 7200], [900] * 3),
        ("Time\tTemperature °C\n1\t20\n2\t\n3\t22\n\n", [1, 2, 3], [20, math.nan, 22]),
        ("frame,time_s\nb.png,5\n", [math.nan, 5, math.nan], [math.nan] * 3),
    ],
)
def test_tables_of_times_as_people_write_them(text, seconds, celsius):
    found = read_moments(text, NAMES)
    np.testing.assert_allclose([moment.seconds for moment in found], seconds)
    np.testing.assert_allclose([moment.celsius for moment in found], celsius)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a head with a column"),
        ("when\n1\n2\n3\n", "needs a head with a column"),
        ("time_s\n1\n2\n", "2 rows, the series 3 frames"),
        ("time_weeks\n1\n2\n3\n", "unit of time “weeks” is not known"),
        ("temperature_F\n1\n2\n3\n", "unit of temperature “f” is not known"),
        ("time_s\n1\nlater\n3\n", "“later” where a number"),
        ("time_s\n1\ninf\n3\n", "not finite"),
        ("image,time_s\nz.png,1\n", "“z.png,1”, which is no frame"),
    ],
)
def test_a_table_that_says_nothing_is_refused(text, words):
    with pytest.raises(MicrographError, match=words):
        read_moments(text, NAMES)


def test_no_moment_is_known_by_itself():
    assert math.isnan(Moment().seconds)
    assert math.isnan(Moment().celsius)


@pytest.mark.parametrize("by", [(0, 0), (3, -7), (-12, 5)])
def test_drift_is_found_to_half_a_pixel_also_where_the_picture_changes(by):
    rng = np.random.default_rng(3)
    field = np.repeat(np.kron(rng.integers(40, 220, (60, 60)), np.ones((6, 6)))[..., None], 3, axis=2)

    def seen(dy, dx, seed):
        part = field[40 - dy : 300 - dy, 40 - dx : 300 - dx]
        return (part + np.random.default_rng(seed).normal(0, 10, part.shape)).clip(0, 255).astype(np.uint8)

    np.testing.assert_allclose(drift(seen(0, 0, 1), seen(*by, 2)), by, atol=0.5)
