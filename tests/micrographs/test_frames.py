"""Frames of one file, and when they were taken."""

import math

import numpy as np
import pytest
import tifffile

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.frames import Moment, check_interval, is_stack, read_moments, unpack
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
    found = unpack(tmp_path / "hot.ome.tif", tmp_path / "frames")
    moments, calibration = found.moments, found.calibration
    assert [moment.seconds for moment in moments] == [0, 90, 180]
    assert all(math.isnan(moment.celsius) for moment in moments)
    assert calibration.um_per_px == 0.5
    for frame, path in zip(frames, sorted((tmp_path / "frames").iterdir()), strict=True):
        np.testing.assert_array_equal(read_micrograph(path).pixels, frame)


def test_an_imagej_stack_says_its_interval(tmp_path):
    frames = stack(4, 30, 20, dtype=np.uint16)
    facts = {"axes": "TYX", "finterval": 2.5, "unit": "micron"}
    tifffile.imwrite(tmp_path / "s.tif", frames, imagej=True, resolution=(2, 2), metadata=facts)
    found = unpack(tmp_path / "s.tif", tmp_path / "frames")
    moments, calibration = found.moments, found.calibration
    assert [moment.seconds for moment in moments] == [0, 2.5, 5, 7.5]
    assert calibration.um_per_px == pytest.approx(0.5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "frames" / "0002.tif"), frames[1])


def test_a_plain_stack_says_nothing_and_one_page_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", stack(3, 30, 20), photometric="minisblack", metadata=None)
    found = unpack(tmp_path / "s.tif", tmp_path / "frames")
    moments, calibration = found.moments, found.calibration
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
        ("", "needs a header row with a column"),
        ("when\n1\n2\n3\n", "needs a header row with a column"),
        ("time_s\n1\n2\n", "2 rows, but the series has 3 frames"),
        ("time_weeks\n1\n2\n3\n", "unit of time “weeks” is not known"),
        ("temperature_F\n1\n2\n3\n", "unit of temperature “f” is not known"),
        ("time_s\n1\nlater\n3\n", "“later” where a number"),
        ("time_s\n1\ninf\n3\n", "not finite"),
        ("image,time_s\nz.png,1\n", "“z.png,1”, which is not a frame"),
        ("image,time_s\na.png,1\nb.png,2\nc.png,3\nb.png,9\n", "names “b.png” twice"),
        ("time_s\n0\n5\n5\n", "“c.png” has the same time as the frame before it, “b.png”"),
        ("time_s\n9\n5\n6\n", "“b.png” has an earlier time than the frame before it, “a.png” .5 s and 9 s."),
    ],
)
def test_a_table_that_says_nothing_is_refused(text, words):
    with pytest.raises(MicrographError, match=words):
        read_moments(text, NAMES)


def test_no_moment_is_known_by_itself():
    assert math.isnan(Moment().seconds)
    assert math.isnan(Moment().celsius)


TIMES, SMALL = stack(5, 40, 50), stack(5, 40, 50)[::-1] // 2
HYPERSTACK = np.stack((TIMES, SMALL), axis=1)  # T C Y X


def hyperstack(path, axes, array, kind, **facts):
    if kind == "ImageJ":
        tifffile.imwrite(path, array, imagej=True, metadata={"axes": axes, "finterval": 60.0})
    else:
        facts = {"TimeIncrement": 1.0, "TimeIncrementUnit": "min"} | facts
        tifffile.imwrite(path, array, ome=True, photometric="minisblack", metadata={"axes": axes} | facts)
    return path


@pytest.mark.parametrize("kind", ["ImageJ", "OME"])
def test_channels_are_no_times_and_one_is_chosen(tmp_path, kind):
    path = hyperstack(tmp_path / "s.tif", "TCYX", HYPERSTACK, kind)
    for channel, frames, words in ((None, TIMES, "the first"), (1, TIMES, "number 1"), (2, SMALL, "number 2")):
        found = unpack(path, tmp_path / f"{channel}", channel)
        assert [moment.seconds for moment in found.moments] == [0, 60, 120, 180, 240]
        assert found.notes == (f"The image has 2 channels; {words} was used.",)
        for frame, file in zip(frames, sorted((tmp_path / f"{channel}").iterdir()), strict=True):
            np.testing.assert_array_equal(read_micrograph(file).pixels[..., 0], frame)
    with pytest.raises(MicrographError, match="there is no channel 3; choose one from 1 to 2"):
        unpack(path, tmp_path / "third", 3)
    one = read_micrograph(path, channel=2)
    np.testing.assert_array_equal(one.pixels[..., 0], SMALL[0])
    assert one.notes == ("The image has 2 channels; number 2 was used.", "The file has 5 pages; the first was used.")


@pytest.mark.parametrize("kind", ["ImageJ", "OME"])
@pytest.mark.parametrize(("axes", "shape"), [("ZYX", (5, 40, 50)), ("TZYX", (3, 5, 40, 50)), ("ZCYX", (5, 2, 40, 50))])
def test_a_stack_through_the_depth_is_refused(tmp_path, kind, axes, shape):
    path = hyperstack(tmp_path / "s.tif", axes, stack(*shape), kind)
    with pytest.raises(MicrographError, match=r"a stack of 5 planes through the depth \(z\), not a series"):
        unpack(path, tmp_path / "frames")


def test_two_channels_of_one_time_are_no_series(tmp_path):
    path = hyperstack(tmp_path / "s.tif", "CYX", HYPERSTACK[0], "OME")
    with pytest.raises(MicrographError, match="it has 1 frames"):
        unpack(path, tmp_path / "frames")


@pytest.mark.parametrize(("unit", "seconds"), [("min", 60), ("s", 1), ("ms", 1e-3), ("h", 3600), ("µs", 1e-6)])
def test_units_of_the_time_increment_of_ome(tmp_path, unit, seconds):
    path = hyperstack(tmp_path / "s.tif", "TYX", TIMES, "OME", TimeIncrementUnit=unit)
    found = unpack(path, tmp_path / "frames").moments
    np.testing.assert_allclose([moment.seconds for moment in found], np.arange(5) * seconds)


def test_frames_keep_how_they_are_turned_and_what_is_white(tmp_path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        for frame in TIMES:
            tif.write(frame, photometric="miniswhite", metadata=None, extratags=[(274, "H", 1, 3, True)])
    unpack(tmp_path / "s.tif", tmp_path / "frames")
    for frame, file in zip(TIMES, sorted((tmp_path / "frames").iterdir()), strict=True):
        np.testing.assert_array_equal(read_micrograph(file).pixels[..., 0], 255 - frame[::-1, ::-1])


@pytest.mark.parametrize(
    ("names", "skips"),
    [
        (["f_1.png", "f_2.png", "f_3.png"], False),
        (["f_8.png", "f_10.png", "f_12.png"], False),
        (["f_01.png", "f_02.png", "f_07.png"], True),
        (["f_01.png", "f_06.png", "f_07.png"], True),
        (["cold.png", "warm.png", "warm2.png"], False),
        (["a1.jp2", "a2.jp2", "a4.jp2"], True),
    ],
)
def test_numbers_that_skip_have_no_one_interval(names, skips):
    if not skips:
        return check_interval(names)
    with pytest.raises(MicrographError, match="The frame numbers jump from"):
        check_interval(names)
