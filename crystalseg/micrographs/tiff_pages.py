"""Find which page of a TIFF file is the picture, and how it is oriented."""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import tifffile

REDUCED = 1  # bit of the NewSubfileType tag: a smaller version of another page (TIFF 6.0, page 36)
_MASK = 4


def main_page(tif: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the page that is the picture: the largest page in the file or in a page's SubIFDs that is not marked as a
    reduced version or a mask of another. Of equally large pages it is the first."""
    heads: list[Any] = [series.keyframe for series in tif.series] or [tif.pages[0]]
    pages: list[Any] = []
    for head in heads:
        pages += [head, *(sub for sub in (head.pages or ()) if sub is not None)] if head.subifds else [head]
    whole = [page for page in pages if not int(page.subfiletype) & (REDUCED | _MASK)] or pages
    return cast(tifffile.TiffPage, max(whole, key=lambda page: page.imagelength * page.imagewidth))


@dataclass(frozen=True)
class Planes:
    """The planes of the picture in a file. axes: tifffile's letters of all axes other than rows, columns and samples.
    shape: their lengths. pages: the pages of all planes, in order. notes: which parts of the file are left out."""

    axes: str
    shape: tuple[int, ...]
    pages: tuple[Any, ...]
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        return self.length("C")

    def length(self, axis: str) -> int:
        """Return the number of planes along an axis; 1 if there is no such axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def page(self, channel: int, **where: int) -> Any:
        """Return the page of a channel, 1, 2, …, at the indices `where` along other axes, or at the first index."""
        place = [where.get(axis, channel - 1 if axis == "C" else 0) for axis in self.axes]
        return self.pages[int(np.ravel_multi_index(place, self.shape))] if place else self.pages[0]


def planes_of(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> Planes:
    """Return the planes that belong together with `page`, the picture."""
    series = next((one for one in tif.series if one.keyframe is page), None)
    notes = []
    if page is not tif.pages.first and page.shape != tif.pages.first.shape:
        notes.append("The file's first page is a smaller preview; its full picture was used.")
    if series is None or any(one is None for one in series.pages):
        return Planes("", (), (page,), tuple(notes))
    letters = [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXS"]
    axes, shape = "".join(a for a, _ in letters), tuple(n for _, n in letters)
    pages = tuple(series.pages)
    if math.prod(shape) != len(pages):  # a page holds several planes, as in volumes
        return Planes("", (), (page,), tuple(notes))
    others = sum(len(one.pages) for one in tif.series if one is not series and one.keyframe.shape == page.shape)
    count = len(pages) // (shape[axes.index("C")] if "C" in axes else 1) + others
    if count > 1:
        notes.append(f"The file has {count} pages; the first was used.")
    return Planes(axes, shape, pages, tuple(notes))


def orientation_of(page: Any) -> int:
    """Return how the rows and columns of the page lie, 1..8 (TIFF 6.0, page 36; as in Exif); 1 if the tag says
    nothing."""
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a stored array (H, W, ...) as it is meant to be seen."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array
