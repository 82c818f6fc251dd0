"""The files the program can hand out for a measured image, a sample or a series.

Pages, command line, batches, mosaics, series and History read this list, so a new format is one row.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np

from crystalseg.errors import UserError
from crystalseg.measurement.field import Field
from crystalseg.record.crystals import crystals_file
from crystalseg.record.runs import Run
from crystalseg.report.exports import csv, image_pyramid, labels_pyramid, labels_tiff
from crystalseg.report.html import build_html
from crystalseg.report.outlines import coco, geojson, imagej_rois
from crystalseg.report.pdf import build_pdf
from crystalseg.report.report import Part, Report
from crystalseg.report.series import Followed, animation, build_series_pdf, build_series_workbook, kymographs
from crystalseg.report.workbook import build_workbook
from crystalseg.segmentation.settings import Settings

Made = bytes | Callable[[BinaryIO], None]  # the bytes of a file, or a function that writes a large file
T = TypeVar("T")
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True)
class Measured:
    """A measured image. field: labels, crystals, pixel size and name; pixels: uint8 (H, W, 3), or None if the image was
    not kept."""

    field: Field
    settings: Settings
    pixels: np.ndarray | None = None

    @staticmethod
    def of(part: Part) -> "Measured":
        """Return a field of a report as a measured image."""
        return Measured(part.field, part.settings, part.micrograph.pixels if part.micrograph else None)

    @property
    def labels(self) -> np.ndarray:
        """The labels, int32 (H, W)."""
        return self.field.kept_labels


@dataclass(frozen=True)
class Handout(Generic[T]):
    """A file that the program can hand out.

    key: its name on the command line; words: its name for people; ending: the end of its file name; of: the type that
    `make` takes (Measured; Run, which is on record; Report; or Followed); form: the name of the report on record if the
    file is issued as a report, else ""; default: the kinds of work that write it unless told otherwise; needs_image:
    whether it shows the image itself; large: the key of the handout that replaces it for a mosaic.
    """

    key: str
    words: str
    ending: str
    media_type: str
    of: type[T]
    make: Callable[[T], Made]
    form: str = ""
    default: tuple[str, ...] = ()
    needs_image: bool = False
    large: str = ""

    def made(self, of: T) -> bytes:
        """Return the bytes of the file."""
        return in_memory(self.make(of))


def in_memory(data: Made) -> bytes:
    """Return the bytes of a file that was made."""
    buffer = io.BytesIO()
    write(data, buffer)
    return buffer.getvalue()


def write(data: Made, file: BinaryIO) -> None:
    """Write a file that was made into an open file."""
    if isinstance(data, bytes):
        file.write(data)
    else:
        data(file)


def _labels_pyramid(m: Measured) -> Made:
    return partial(labels_pyramid, labels=m.labels, um_per_px=m.field.um_per_px)


def _image_pyramid(m: Measured) -> Made:
    if m.pixels is None:
        raise UserError(f"The image of {m.field.name} was not kept. Upload it again.")
    return partial(image_pyramid, pixels=m.pixels, um_per_px=m.field.um_per_px)


def _parquet(m: Measured) -> bytes:
    return crystals_file(m.field.crystals, m.field.shape, m.settings.measuring.border_rule)


def _law(f: Followed) -> bytes:
    return json.dumps(vars(f.series.law) if f.series.law else {"why": f.series.why}, indent=1).encode()


def _by_key(*rows: Handout[Any]) -> dict[str, Handout[Any]]:
    return {row.key: row for row in rows}


IMAGE, BATCH, MOSAIC, SERIES = "segment", "batch", "mosaic", "series"
ALL = (IMAGE, BATCH, MOSAIC)

HANDOUTS = _by_key(
    Handout("pdf", "PDF report", "report.pdf", "application/pdf", Report, build_pdf, "PDF", ALL),
    Handout("html", "HTML report", "report.html", "text/html", Report, build_html, "HTML"),
    Handout("excel", "Excel workbook", "report.xlsx", XLSX, Report, build_workbook, "Excel"),
    Handout("csv", "Crystals CSV", "crystals.csv", "text/csv", Measured, lambda m: csv(m.field.crystals), default=ALL),
    Handout(
        "labels",
        "Labels TIFF",
        "labels.tif",
        "image/tiff",
        Measured,
        lambda m: labels_tiff(m.labels, m.field.um_per_px),
        default=(IMAGE, BATCH),
        large="labels-ome",
    ),
    Handout("rois", "ImageJ ROIs", "rois.zip", "application/zip", Measured, lambda m: imagej_rois(m.labels)),
    Handout(
        "geojson",
        "GeoJSON",
        "crystals.geojson",
        "application/geo+json",
        Measured,
        lambda m: geojson(m.labels, m.field.crystals),
    ),
    Handout(
        "coco",
        "COCO JSON",
        "coco.json",
        "application/json",
        Measured,
        lambda m: coco(m.labels, m.field.crystals, m.field.name),
    ),
    Handout(
        "settings",
        "Settings JSON",
        "settings.json",
        "application/json",
        Measured,
        lambda m: m.settings.to_json().encode(),
    ),
    Handout(
        "run",
        "Run JSON",
        "run.json",
        "application/json",
        Run,
        lambda run: run.to_json().encode(),
        default=(IMAGE, MOSAIC),
    ),
    Handout(
        "parquet",
        "Crystals Parquet",
        "crystals.parquet",
        "application/vnd.apache.parquet",
        Measured,
        _parquet,
        default=(MOSAIC,),
    ),
    Handout(
        "labels-ome", "Labels OME-TIFF", "labels.ome.tif", "image/tiff", Measured, _labels_pyramid, default=(MOSAIC,)
    ),
    Handout(
        "image-ome",
        "Image OME-TIFF",
        "image.ome.tif",
        "image/tiff",
        Measured,
        _image_pyramid,
        default=(MOSAIC,),
        needs_image=True,
    ),
)

SERIES_HANDOUTS = _by_key(
    Handout("pdf", "PDF report", "series_report.pdf", "application/pdf", Followed, build_series_pdf, "PDF", (SERIES,)),
    Handout(
        "excel",
        "Excel workbook",
        "series.xlsx",
        XLSX,
        Followed,
        lambda f: build_series_workbook(f.series),
        default=(SERIES,),
    ),
    Handout(
        "growth",
        "Growth curves (CSV)",
        "growth.csv",
        "text/csv",
        Followed,
        lambda f: csv(f.series.curves),
        default=(SERIES,),
    ),
    Handout(
        "frames", "Frames (CSV)", "frames.csv", "text/csv", Followed, lambda f: csv(f.series.frames), default=(SERIES,)
    ),
    Handout("law", "Growth law (JSON)", "law.json", "application/json", Followed, _law, default=(SERIES,)),
    Handout(
        "animation",
        "Animation (WebP)",
        "tracks.webp",
        "image/webp",
        Followed,
        lambda f: animation(f.shown(k) for k in range(len(f.series.frames))),
    ),
    Handout("kymograph", "Kymograph (WebP)", "kymograph.webp", "image/webp", Followed, kymographs),
)


def default(kind: str) -> tuple[str, ...]:
    """Return the keys that a kind of work writes unless told otherwise."""
    return tuple(key for key, row in HANDOUTS.items() if kind in row.default)


def chosen(words: str, kind: str) -> tuple[str, ...]:
    """Return the keys in a comma-separated list from the user, in the user's order. An empty list gives the default of
    the kind of work. UserError names the valid keys if one is unknown."""
    asked = {word.strip().lower() for word in words.split(",")} - {""}
    if unknown := asked - HANDOUTS.keys():
        raise UserError(f"There is no format “{min(unknown)}”. Choose from {', '.join(HANDOUTS)}.")
    return tuple(key for key in HANDOUTS if key in asked) or default(kind)


def for_mosaic(keys: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that a batch which writes `keys` writes for a mosaic: the variants that suit its size, and the
    files for viewing a mosaic."""
    asked = {HANDOUTS[key].large or key for key in keys}
    return tuple(key for key in HANDOUTS if key in asked.union(default(MOSAIC)))


def reports() -> list[Handout[Any]]:
    """Return the handouts that are issued as reports on record, for one image or several."""
    return [row for row in HANDOUTS.values() if row.of is Report]


def ending_of(form: str) -> str:
    """Return the file-name ending for a report's form on record, or "" if this version does not know the form."""
    return next((row.ending.rpartition(".")[2] for row in reports() if row.form == form), "")
