"""Frames of an experiment in time: pages of one TIFF file, and when and how hot each was."""

import csv
import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from defusedxml import ElementTree

from crystalseg.micrographs.calibration import Calibration, NotSquareError, from_tiff
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.names import visible

MOST = 2000  # frames of one series
_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "min": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hours": 3600.0,
}
_COLUMN = re.compile(r"(image|frame|time|temperature)\s*[_,(\[]?\s*°?\s*([a-z]*)\s*[)\]]?")


@dataclass(frozen=True)
class Moment:
    """When a frame was taken, s after the first or after any beginning, and at how many °C; NaN if not known."""

    seconds: float = math.nan
    celsius: float = math.nan


def is_stack(path: Path) -> bool:
    """Whether a file is a TIFF of several pages, which are frames."""
    try:
        with warnings.catch_warnings(), tifffile.TiffFile(path) as tif:
            warnings.simplefilter("ignore")
            return len(_pages(tif)) > 1
    except (OSError, tifffile.TiffFileError, ValueError, IndexError):
        return False


def _pages(tif: tifffile.TiffFile) -> list[Any]:
    """The pages that are frames: those of the first series, at their full resolution."""
    return [page for page in tif.series[0].pages if page is not None] if tif.series else []


def unpack(path: Path, folder: Path) -> tuple[list[Moment], Calibration | None]:
    """Write the frames of a TIFF file as files `0001.tif`, … into `folder`, as they are; returns when each was taken
    and the pixel size, by OME or ImageJ metadata. MicrographError if the file cannot be read as frames of one kind."""
    name = visible(path.name)
    try:
        with warnings.catch_warnings(), tifffile.TiffFile(path) as tif:
            warnings.simplefilter("ignore")
            pages = _pages(tif)
            if not 2 <= len(pages) <= MOST:
                raise MicrographError(f"{name}: it has {len(pages)} frames; a series has 2 to {MOST}.")
            folder.mkdir(parents=True, exist_ok=True)
            for k, page in enumerate(pages, start=1):
                key = page.keyframe
                shade = tifffile.PHOTOMETRIC.RGB if key.samplesperpixel >= 3 else tifffile.PHOTOMETRIC.MINISBLACK
                planar = key.planarconfig if key.samplesperpixel >= 3 else None
                tifffile.imwrite(folder / f"{k:04d}.tif", page.asarray(), photometric=shade, planarconfig=planar)
            return _moments(tif, len(pages)), from_tiff(tif)
    except MicrographError:
        raise
    except NotSquareError as error:
        raise MicrographError(f"{name}: {error}") from error
    except OSError as error:
        raise MicrographError(f"{name}: cannot be opened or unpacked ({error.strerror}).") from error
    except Exception as error:  # decoders raise every kind of error for damaged files
        raise MicrographError(f"{name}: not a TIFF file of frames, or a damaged one; export it again.") from error


def _moments(tif: tifffile.TiffFile, count: int) -> list[Moment]:
    """By OME's DeltaT of each plane, or ImageJ's frame interval."""
    seconds = [math.nan] * count
    interval = (tif.imagej_metadata or {}).get("finterval")
    if isinstance(interval, int | float) and interval > 0:
        seconds = [k * float(interval) for k in range(count)]
    elif tif.ome_metadata:
        for plane in _planes(tif.ome_metadata):
            at, delta = plane.get("TheT", ""), plane.get("DeltaT", "")
            unit = _SECONDS.get(plane.get("DeltaTUnit", "s"), math.nan)
            if at.isdecimal() and int(at) < count:
                try:
                    seconds[int(at)] = float(delta) * unit
                except ValueError:
                    continue
    return [Moment(value) for value in seconds]


def _planes(xml: str) -> list[Any]:
    try:
        return [e for e in ElementTree.fromstring(xml).iter() if str(e.tag).rpartition("}")[2] == "Plane"]
    except (ElementTree.ParseError, ValueError):
        return []


def read_moments(text: str, names: Sequence[str]) -> list[Moment]:
    """When frames of these names were taken, from a CSV table with a head: `time_s` (or _min, _h), `temperature_C` (or
    _K), and `image` with their names; without that column, in their order. MicrographError says what is wrong."""
    head, *rows = list(csv.reader(io.StringIO(text), _dialect(text))) or [[]]
    columns = {}
    for place, words in enumerate(head):
        found = _COLUMN.fullmatch(words.strip().lower().lstrip("\ufeff"))
        if found:
            columns[found[1]] = place, found[2]
    if "time" not in columns and "temperature" not in columns:
        raise MicrographError(
            "The table of times needs a head with a column such as time_s, time_min or time_h, and may have "
            "temperature_C and image."
        )
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    named = columns.get("image") or columns.get("frame")
    if named and not all(len(row) > named[0] and row[named[0]].strip() in names for row in rows):
        missing = next(row for row in rows if len(row) <= named[0] or row[named[0]].strip() not in names)
        raise MicrographError(
            f"The table of times names “{visible(','.join(missing))}”, which is no frame of the series."
        )
    if not named and len(rows) != len(names):
        raise MicrographError(
            f"The table of times has {len(rows)} rows, the series {len(names)} frames: give a row for each, or their "
            "names in a column image."
        )
    order = [names.index(row[named[0]].strip()) for row in rows] if named else range(len(names))
    moments = [Moment()] * len(names)
    for k, row in zip(order, rows, strict=True):
        seconds = _number(row, columns.get("time"), _as_seconds)
        moments[k] = Moment(seconds, _number(row, columns.get("temperature"), _as_celsius))
    return moments


def _dialect(text: str) -> str:
    """Tables of German and French Excel are divided by semicolons."""
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
        raise MicrographError("A number in the table of times is not finite.")
    return convert(value, column[1])


def _as_seconds(value: float, unit: str) -> float:
    factor = _SECONDS.get(unit or "s")
    if factor is None:
        raise MicrographError(f"The unit of time “{visible(unit)}” is not known: use s, min or h.")
    return value * factor


def _as_celsius(value: float, unit: str) -> float:
    if unit in ("", "c"):
        return value
    if unit == "k":
        return value - 273.15
    raise MicrographError(f"The unit of temperature “{visible(unit)}” is not known: use C or K.")
