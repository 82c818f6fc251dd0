"""Frames of an experiment in time: the pages of one TIFF file, with the time and temperature of each."""

import csv
import io
import itertools
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from defusedxml import ElementTree
from tifffile import PHOTOMETRIC

from crystalseg.micrographs.calibration import Calibration, NotSquareError
from crystalseg.micrographs.headers import from_tiff
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.names import visible
from crystalseg.micrographs.tiff_pages import Planes, main_page, orientation_of, planes_of
from crystalseg.micrographs.tiff_values import samples_of
from crystalseg.micrographs.units import number, seconds_in

MOST = 2000  # the largest number of frames in a series
_TIMES = "TIQ"  # axes that are times: tifffile's codes for time, and for pages that a file says no more about
_LAST_NUMBER = re.compile(r"([0-9]{1,18})(?=[^0-9]*(\.\w+)?$)")  # in a name without its ending
_COLUMN = re.compile(r"(image|frame|time|temperature)\s*[_,(\[]?\s*°?\s*([a-z]*)\s*[)\]]?")


@dataclass(frozen=True)
class Moment:
    """The time of a frame, s after the first frame or any other start, and its temperature, °C; NaN if not known."""

    seconds: float = math.nan
    celsius: float = math.nan


@dataclass(frozen=True)
class Unpacked:
    """The frames of a TIFF file: the time of each, the pixel size or None, and notes for the user."""

    moments: list[Moment]
    calibration: Calibration | None
    notes: tuple[str, ...]


def is_stack(path: Path) -> bool:
    """Whether a file is a TIFF file of several pages, which may be frames."""
    try:
        with warnings.catch_warnings(), tifffile.TiffFile(path) as tif:
            warnings.simplefilter("ignore")
            return len(planes_of(tif, main_page(tif)).pages) > 1
    except Exception:  # tifffile raises every kind of error; `unpack` and `read_micrograph` say what is wrong
        return False


def unpack(path: Path, folder: Path, channel: int | None = None) -> Unpacked:
    """Write the frames of a TIFF file unchanged into `folder` as files `0001.tif`, …. `channel`: which channel, 1, 2,
    …; None takes the first. Raises MicrographError if the file cannot be read as frames of one kind, such as a stack
    through the depth."""
    name = visible(path.name)
    notes: list[str] = []
    try:
        with warnings.catch_warnings(), tifffile.TiffFile(path) as tif:
            warnings.simplefilter("ignore")
            key = main_page(tif)
            planes = planes_of(tif, key)
            channels = planes.channels
            if channel is not None and not 1 <= channel <= channels:
                raise MicrographError(f"{name}: there is no channel {channel}; choose one from 1 to {channels}.")
            if channels > 1:
                which = f"number {channel}" if channel else "the first"
                notes.append(f"The image has {channels} channels; {which} was used.")
            pages = _in_time(planes, channel or 1, name)
            folder.mkdir(parents=True, exist_ok=True)
            samples = samples_of(key, name)
            colour = samples.colour >= 3
            for k, page in enumerate(pages, start=1):
                _write(folder / f"{k:04d}.tif", page, key, colour)
            calibration = from_tiff(tif, key, notes)
            return Unpacked(_moments(tif, len(pages), channel or 1), calibration, tuple(notes))
    except MicrographError:
        raise
    except NotSquareError as error:
        raise MicrographError(f"{name}: {error}") from error
    except OSError as error:
        raise MicrographError(f"{name}: cannot be opened or unpacked ({error.strerror}).") from error
    except Exception as error:  # decoders raise every kind of error for damaged files
        raise MicrographError(f"{name}: not a TIFF file of frames, or damaged; export it again.") from error


def _in_time(planes: Planes, channel: int, name: str) -> list[Any]:
    """Return the pages of a channel in the order of time. Raises MicrographError if an axis other than time has several
    planes."""
    if planes.length("Z") > 1:
        raise MicrographError(
            f"{name}: it is a stack of {planes.length('Z')} planes through the depth (z), not a series in time; if "
            "the planes are times, say so in the file (in ImageJ: Image › Properties, frames instead of slices)."
        )
    several = [axis for axis, length in zip(planes.axes, planes.shape, strict=True) if length > 1 and axis != "C"]
    if len(several) > 1 or not set(several) <= set(_TIMES):
        raise MicrographError(
            f"{name}: its planes have the axes {', '.join(several)}; a series has only times; save it with times only."
        )
    count = planes.length(several[0]) if several else 1
    if not 2 <= count <= MOST:
        raise MicrographError(f"{name}: it has {count} frames; a series has 2 to {MOST}.")
    return [planes.page(channel, **{several[0]: k}) for k in range(count)]


def _write(path: Path, page: Any, key: Any, colour: bool) -> None:
    """Write a page as a separate file with the same meaning."""
    tags = [(274, "H", 1, orientation_of(key), True)]
    kind = key.photometric
    known = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB, PHOTOMETRIC.SEPARATED, PHOTOMETRIC.PALETTE)
    shade = kind if kind in known else PHOTOMETRIC.RGB if colour else PHOTOMETRIC.MINISBLACK
    more: dict[str, Any] = {"extrasamples": key.extrasamples} if key.extrasamples else {}
    if kind == PHOTOMETRIC.PALETTE:
        more["colormap"] = key.colormap
    planar = key.planarconfig if key.samplesperpixel > 1 else None
    tifffile.imwrite(
        path, page.asarray(), photometric=shade, planarconfig=planar, extratags=tags, metadata=None, **more
    )


def _moments(tif: tifffile.TiffFile, count: int, channel: int) -> list[Moment]:
    """Read the times from the OME DeltaT of each plane, the OME TimeIncrement, or the ImageJ frame interval."""
    interval = number((tif.imagej_metadata or {}).get("finterval"))
    seconds = [math.nan] * count
    if tif.ome_metadata:
        seconds = _by_plane(tif.ome_metadata, count, channel)
        if not all(map(math.isfinite, seconds)):
            for pixels in _elements(tif.ome_metadata, "Pixels")[:1]:
                unit = seconds_in(pixels.get("TimeIncrementUnit", "s"))
                interval = number(pixels.get("TimeIncrement")) * (math.nan if unit is None else unit)
    if interval > 0:
        seconds = [k * interval for k in range(count)]
    return [Moment(value) for value in seconds]


def _by_plane(xml: str, count: int, channel: int) -> list[float]:
    seconds = [math.nan] * count
    for plane in _elements(xml, "Plane"):
        at, delta = plane.get("TheT", ""), plane.get("DeltaT")
        unit = seconds_in(plane.get("DeltaTUnit", "s"))
        if at.isdecimal() and int(at) < count and plane.get("TheC", "0") in ("0", str(channel - 1)):
            value = number(delta) * (math.nan if unit is None else unit)
            if math.isnan(seconds[int(at)]) or plane.get("TheC") == str(channel - 1):
                seconds[int(at)] = value
    return seconds


def _elements(xml: str, name: str) -> list[Any]:
    try:
        return [e for e in ElementTree.fromstring(xml).iter() if str(e.tag).rpartition("}")[2] == name]
    except (ElementTree.ParseError, ValueError):
        return []


def read_moments(text: str, names: Sequence[str]) -> list[Moment]:
    """Read when the frames called `names` were taken, from a CSV table with a header row. Columns: `time_s` (or _min,
    _h), `temperature_C` (or _K), and `image` with the names; without `image`, the rows are in the order of the frames.
    Raises MicrographError, which says what is wrong."""
    head, *rows = list(csv.reader(io.StringIO(text), _dialect(text))) or [[]]
    columns = {}
    for place, words in enumerate(head):
        found = _COLUMN.fullmatch(words.strip().lower().lstrip("\ufeff"))
        if found:
            columns[found[1]] = place, found[2]
    if "time" not in columns and "temperature" not in columns:
        raise MicrographError(
            "The table of times needs a header row with a column such as time_s, time_min or time_h, and may have "
            "temperature_C and image."
        )
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    named = columns.get("image") or columns.get("frame")
    if named and not all(len(row) > named[0] and row[named[0]].strip() in names for row in rows):
        missing = next(row for row in rows if len(row) <= named[0] or row[named[0]].strip() not in names)
        raise MicrographError(
            f"The table of times names “{visible(','.join(missing))}”, which is not a frame of the series."
        )
    if not named and len(rows) != len(names):
        raise MicrographError(
            f"The table of times has {len(rows)} rows, but the series has {len(names)} frames; give one row for each "
            "frame, or name the frames in a column image."
        )
    order = [names.index(row[named[0]].strip()) for row in rows] if named else list(range(len(names)))
    twice = next((k for k in order if order.count(k) > 1), None)
    if twice is not None:
        raise MicrographError(f"The table of times names “{visible(names[twice])}” twice; give each frame one row.")
    moments = [Moment()] * len(names)
    for k, row in zip(order, rows, strict=True):
        seconds = _number(row, columns.get("time"), _as_seconds)
        moments[k] = Moment(seconds, _number(row, columns.get("temperature"), _as_celsius))
    check_times(moments, names)
    return moments


def check_times(moments: Sequence[Moment], names: Sequence[str]) -> None:
    """Raise MicrographError if the known times do not increase from frame to frame. Frames are in the order of their
    names."""
    known = [
        (moment.seconds, name) for moment, name in zip(moments, names, strict=True) if math.isfinite(moment.seconds)
    ]
    for (before, one), (after, other) in itertools.pairwise(known):
        if after <= before:
            how = "the same time as" if after == before else "an earlier time than"
            raise MicrographError(
                f"“{visible(other)}” has {how} the frame before it, “{visible(one)}” ({after:g} s and {before:g} s); "
                "give the times in the order of the frames' names."
            )


def check_interval(names: Sequence[str]) -> None:
    """Raise MicrographError if the numbers in the frames' names skip some, because then no single interval fits all
    frames."""
    numbers = [_LAST_NUMBER.search(name) for name in names]
    if not all(numbers) or len({_LAST_NUMBER.sub("#", name) for name in names}) > 1:
        return
    steps = [int(b[1]) - int(a[1]) for a, b in itertools.pairwise(found for found in numbers if found)]
    for step, (one, other) in zip(steps, itertools.pairwise(names), strict=True):
        if step > min(steps) >= 1:
            raise MicrographError(
                f"The frame numbers jump from “{visible(one)}” to “{visible(other)}”, so one interval does not fit all "
                "frames; give a table of times."
            )


def _dialect(text: str) -> str:
    """Return the separator of a table. German and French Excel use semicolons."""
    csv.register_dialect("semicolon", delimiter=";")
    first = text.partition("\n")[0]
    return "semicolon" if first.count(";") > first.count(",") else "excel-tab" if "\t" in first else "excel"


def _number(row: Sequence[str], column: tuple[int, str] | None, convert: Any) -> float:
    if column is None or len(row) <= column[0] or not row[column[0]].strip():
        return math.nan
    text = row[column[0]].strip().replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        raise MicrographError(f"The table of times has “{visible(text)}” where a number is expected.") from None
    if not math.isfinite(value):
        raise MicrographError("A number in the table of times is not finite; correct it.")
    return convert(value, column[1])


def _as_seconds(value: float, unit: str) -> float:
    factor = seconds_in(unit or "s")
    if factor is None:
        raise MicrographError(f"The unit of time “{visible(unit)}” is not known; use s, min or h.")
    return value * factor


def _as_celsius(value: float, unit: str) -> float:
    if unit in ("", "c"):
        return value
    if unit == "k":
        return value - 273.15
    raise MicrographError(f"The unit of temperature “{visible(unit)}” is not known; use C or K.")
