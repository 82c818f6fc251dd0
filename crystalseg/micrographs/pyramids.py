"""Read parts of large images from files of several resolutions, at the resolution that is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr


class PyramidFile:
    """A tiled TIFF file with smaller levels (`report.exports` writes it). shape: (H, W) of the image."""

    def __init__(self, path: Path):
        self._path = path
        with tifffile.TiffFile(path) as tif:
            shapes = [level.shape[:2] for level in tif.series[0].levels]
        self.shapes: list[tuple[int, int]] = [(height, width) for height, width in shapes]
        self.shape = self.shapes[0]

    def read(self, box: tuple[int, int, int, int], longest: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """Read a part (top, left, bottom, right), px, at the finest level at which its longer side is at most `longest`
        px, else at the coarsest level. Returns its pixels and the part that they show, which begins and ends at pixels
        of that level."""
        top, left, bottom, right = box
        side = max(bottom - top, right - left)
        sizes = [side * shape[0] / self.shape[0] for shape in self.shapes]
        number = next((k for k, size in enumerate(sizes) if size <= longest), len(sizes) - 1)
        (rows, up_rows), (columns, up_columns) = (
            _scaled(low, high, full, part)
            for low, high, full, part in zip((top, left), (bottom, right), self.shape, self.shapes[number], strict=True)
        )
        with tifffile.imread(self._path, aszarr=True, level=number) as store:
            level: Any = zarr.open(store, mode="r")
            pixels = np.asarray(level[rows, columns])
        return pixels, (up_rows.start, up_columns.start, up_rows.stop, up_columns.stop)


def _scaled(low: int, high: int, full: int, part: int) -> tuple[slice, slice]:
    """Scale rows `low` to `high` of `full` rows to a level of `part` rows. Returns the rows of the level, and the rows
    of the whole image that they show."""
    step = full / part
    first = int(low / step)
    last = min(part, max(first + 1, round(high / step)))
    return slice(first, last), slice(round(first * step), round(last * step))
