"""Which page of a TIFF file is the picture, and how it is turned."""

from typing import Any, cast

import numpy as np
import tifffile

REDUCED = 1  # bit of the NewSubfileType tag: a smaller version of another page (TIFF 6.0, page 36)
_MASK = 4


def main_page(tif: tifffile.TiffFile) -> tifffile.TiffPage:
    """The page that is the picture: the largest that is not marked as a reduced version or a mask of another, in the
    file or in a page's SubIFDs, and of equal ones the first."""
    heads: list[Any] = [series.keyframe for series in tif.series] or [tif.pages[0]]
    pages: list[Any] = []
    for head in heads:
        pages += [head, *(sub for sub in (head.pages or ()) if sub is not None)] if head.subifds else [head]
    whole = [page for page in pages if not int(page.subfiletype) & (REDUCED | _MASK)] or pages
    return cast(tifffile.TiffPage, max(whole, key=lambda page: page.imagelength * page.imagewidth))


def orientation_of(page: Any) -> int:
    """How the page's rows and columns lie, 1..8 (TIFF 6.0, page 36; as in Exif); 1 where the tag says nothing."""
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """An array (H, W, ...) as stored, as it is meant to be seen."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array
