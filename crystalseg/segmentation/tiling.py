"""Divide an image into overlapping tiles and blend tiles into one map (paper section III-A, Stringer et al. 2021)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

TILE = 224
OVERLAP = 0.1  # least share of a tile that its neighbour also covers (Cellpose's default)
_TAPER_WIDTH, _TAPER_INSET = 7.5, 20.0  # px; parameters of Cellpose's taper mask


def limits(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 1st and 99th percentile of each channel of uint8 (H, W, 3), float32 (3,) each, as Cellpose uses
    them."""
    low, high = np.percentile(image[::2, ::2], (1, 99), axis=(0, 1)).astype(np.float32)
    return low, high


def normalise(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Normalise uint8 (H, W, 3) to network input float32 (3, H, W), with `low` at 0 and `high` at 1.

    A channel that spans less than four gray levels is not stretched further, so a blank image stays blank.
    """
    normalised = np.empty((image.shape[2], *image.shape[:2]), np.float32)
    span = np.maximum(high - low, np.float32(4))
    for k, channel in enumerate(normalised):  # in memory order: four times as fast
        np.subtract(image[..., k], low[k], out=channel)
        channel /= span[k]
    return normalised


def taper(height: int, width: int) -> np.ndarray:
    """Return the blending weight of a tile, float32 (height, width): about 1 inside, falling sigmoidally to its
    borders.

    A tile smaller than TILE gets the middle of the weight of a full tile, as in Cellpose.
    """

    def profile(n: int) -> np.ndarray:
        whole = max(TILE, n)
        from_middle = np.abs(np.arange(whole) - (whole - 1) / 2)
        weight = 1 / (1 + np.exp((from_middle - (whole / 2 - _TAPER_INSET)) / _TAPER_WIDTH))
        return weight[whole // 2 - n // 2 :][:n]

    return np.outer(profile(height), profile(width)).astype(np.float32)


@dataclass(frozen=True)
class Grid:
    """Tiles that cover an (H, W) image and a margin of zeros around it, as Cellpose places them.

    The margin is at least half of `multiple` on each side and makes the sides multiples of it. Tiles have up to `tile`
    px a side and overlap by at least `overlap` of that. Corners are in image coordinates, so the first lie outside.
    """

    height: int
    width: int
    tile: int = TILE
    overlap: float = OVERLAP
    multiple: int = 16

    def _side(self, length: int) -> int:
        return min(self.tile, -(-length // self.multiple) * self.multiple + self.multiple)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of a tile."""
        return self._side(self.height), self._side(self.width)

    def _starts(self, length: int) -> list[int]:
        missing = -length % self.multiple
        first = -(self.multiple // 2 + missing // 2)
        whole = length + missing + self.multiple
        count = 1 if whole <= self.tile else int(np.ceil((1 + 2 * self.overlap) * whole / self.tile))
        return (first + np.linspace(0, whole - self._side(length), count).astype(int)).tolist()

    @property
    def corners(self) -> list[tuple[int, int]]:
        """The top-left corners (y, x), row by row."""
        return [(y, x) for y in self._starts(self.height) for x in self._starts(self.width)]

    def inside(self, corner: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the rows and columns of the image that the tile at `corner` covers, and the same part in the tile."""
        image, tile = [], []
        for start, side, length in zip(corner, self.sides, (self.height, self.width), strict=True):
            low, high = max(start, 0), min(start + side, length)
            image.append(slice(low, high))
            tile.append(slice(low - start, high - start))
        return (image[0], image[1]), (tile[0], tile[1])

    def cut(self, array: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        """Return the tile (C, h, w) of `array` (C, H, W) at `corner`, zero outside the image."""
        image, tile = self.inside(corner)
        piece = np.zeros((len(array), *self.sides), array.dtype)
        piece[:, *tile] = array[:, *image]
        return piece


def grid_at(shape: tuple[int, int], factor: float) -> Grid:
    """Return the tiles of an (H, W) image at a resize factor."""
    return Grid(*(max(1, round(length * factor)) for length in shape))


def looks(shape: tuple[int, int], factors: Iterable[float]) -> int:
    """Return the total number of tiles of an (H, W) image at all resize factors."""
    return sum(len(grid_at(shape, factor).corners) for factor in factors)


def tiles(grid: Grid, array: np.ndarray, corners: list[tuple[int, int]], batch: int) -> Iterator[np.ndarray]:
    """Yield batches (b, C, h, w), b up to `batch`, of the tiles of `array` at `corners`."""
    for i in range(0, len(corners), batch):
        yield np.stack([grid.cut(array, corner) for corner in corners[i : i + batch]])


def blended_rows(
    grid: Grid, corners: list[tuple[int, int]], results: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blend the `results` float32 (K, h, w) of the tiles at `corners`, in the order of the grid, from top to bottom.

    Yields all rows of the image, a few at a time, as soon as no further tile reaches them: float32 (K, n, W), zero
    where there was no tile, and covered, bool (n, W). Yields nothing if there is no tile.
    """
    weight = taper(*grid.sides)
    high = grid.sides[0]
    sums = np.zeros((high, grid.width), np.float32)
    total: np.ndarray | None = None
    top = 0  # row of the image that the first row of both holds
    for corner, result in zip(corners, results, strict=True):
        if total is None:
            total = np.zeros((len(result), high, grid.width), np.float32)
        (rows, columns), tile = grid.inside(corner)
        while top < rows.start:
            done = min(rows.start - top, high)
            yield _divided(total[:, :done], sums[:done])
            top += done
            for values in (*total, sums):
                values[: high - done] = values[done:]
                values[high - done :] = 0
        here = slice(rows.start - top, rows.stop - top)
        total[:, here, columns] += (result * weight)[:, *tile]
        sums[here, columns] += weight[tile]
    while total is not None and top < grid.height:
        done = min(grid.height - top, high)
        yield _divided(total[:, :done], sums[:done])
        total, sums = np.zeros_like(total), np.zeros_like(sums)
        top += done


def _divided(total: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean, zero where there is no weight, and where there is weight."""
    covered = sums > 0
    return np.divide(total, sums, out=np.zeros_like(total), where=covered), covered


def blend(
    grid: Grid,
    array: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    corners: list[tuple[int, int]] | None = None,
    batch: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Run `predict`, (b, C, h, w) -> (b, K, h, w), on tiles of `array` (C, H, W) and blend the results.

    `corners` selects some of the grid's tiles. Returns the map, float32 (K, H, W), zero where there was no tile, and
    covered, bool (H, W).
    """
    corners = grid.corners if corners is None else corners
    results = (result for stack in tiles(grid, array, corners, batch) for result in predict(stack))
    whole = np.zeros((0, grid.height, grid.width), np.float32)
    covered = np.zeros((grid.height, grid.width), bool)
    top = 0
    for maps, seen in blended_rows(grid, corners, results):
        if not len(whole):
            whole = np.empty((len(maps), grid.height, grid.width), np.float32)
        rows = slice(top, top + len(seen))
        whole[:, rows], covered[rows] = maps, seen
        top = rows.stop
    return whole, covered
