"""Image to overlapping tiles and tiles back to one blended map (paper section III-A, Stringer et al. 2021)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

TILE = 224
OVERLAP = 0.1  # share of a tile shared with its neighbour, at least (Cellpose's default)
_TAPER_WIDTH, _TAPER_INSET = 7.5, 20.0  # px, of Cellpose's taper mask


def limits(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 1st and 99th percentile of each channel of uint8 (H, W, 3), float32 (3,) each, as Cellpose normalises."""
    low, high = np.percentile(image[::2, ::2], (1, 99), axis=(0, 1)).astype(np.float32)
    return low, high


def normalise(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Network input: uint8 (H, W, 3) -> float32 (3, H, W) with `low` at 0 and `high` at 1.

    A channel that spans less than four gray levels is not stretched further, so that a blank image stays blank.
    """
    scaled = (image - low) / np.maximum(high - low, np.float32(4))
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def taper(height: int, width: int | None = None) -> np.ndarray:
    """Blending weight of a tile, float32 (height, width): about 1 inside, falling sigmoidally to its borders."""

    def profile(n: int) -> np.ndarray:
        from_middle = np.abs(np.arange(n) - (n - 1) / 2)
        return 1 / (1 + np.exp((from_middle - (n / 2 - _TAPER_INSET)) / _TAPER_WIDTH))

    return np.outer(profile(height), profile(width or height)).astype(np.float32)


@dataclass(frozen=True)
class Grid:
    """Tiles of `tile` px covering an (H, W) image, at least `overlap` of a tile shared; smaller images are padded."""

    height: int
    width: int
    tile: int = TILE
    overlap: float = OVERLAP

    def _starts(self, length: int) -> list[int]:
        if length <= self.tile:
            return [0]
        count = int(np.ceil((1 + 2 * self.overlap) * length / self.tile))
        return np.linspace(0, length - self.tile, count).round().astype(int).tolist()

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top-left corners (y, x), row by row."""
        return [(y, x) for y in self._starts(self.height) for x in self._starts(self.width)]

    def cut(self, array: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        """The tile (C, tile, tile) of `array` (C, H, W) at `corner`, zero-padded where the image is smaller."""
        y, x = corner
        piece = array[:, y : y + self.tile, x : x + self.tile]
        short = (self.tile - piece.shape[1], self.tile - piece.shape[2])
        return np.pad(piece, ((0, 0), (0, short[0]), (0, short[1]))) if any(short) else piece


def tiles(grid: Grid, array: np.ndarray, corners: list[tuple[int, int]], batch: int) -> Iterator[np.ndarray]:
    """Batches (b, C, tile, tile), b up to `batch`, of the tiles of `array` at `corners`."""
    for i in range(0, len(corners), batch):
        yield np.stack([grid.cut(array, corner) for corner in corners[i : i + batch]])


def blend(
    grid: Grid,
    array: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    corners: list[tuple[int, int]] | None = None,
    batch: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Run `predict`, (b, C, tile, tile) -> (b, K, tile, tile), on tiles of `array` (C, H, W) and blend the results.

    `corners` limits the work to some of the grid's tiles. Returns the map float32 (K, H, W), zero where no tile came,
    and covered bool (H, W).
    """
    corners = grid.corners if corners is None else corners
    weight = taper(grid.tile)
    total: np.ndarray | None = None
    sums = np.zeros((grid.height, grid.width), np.float32)
    done = 0
    for stack in tiles(grid, array, corners, batch):
        for result in predict(stack):
            y, x = corners[done]
            done += 1
            h, w = min(grid.tile, grid.height - y), min(grid.tile, grid.width - x)
            if total is None:
                total = np.zeros((len(result), grid.height, grid.width), np.float32)
            total[:, y : y + h, x : x + w] += (result * weight)[:, :h, :w]
            sums[y : y + h, x : x + w] += weight[:h, :w]
    if total is None:
        return np.zeros((0, grid.height, grid.width), np.float32), sums > 0
    return np.divide(total, sums, out=total, where=sums > 0), sums > 0
