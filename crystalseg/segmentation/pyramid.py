"""One image as the input of the networks, at any resize factor."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor

from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.networks.sima import SIDE
from crystalseg.networks.weights import WeightsError
from crystalseg.segmentation.attention import place
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.precision import autocast, words
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.tiling import Grid, blend, grid_at, limits, normalise

BATCH = 8


class Pyramid:
    """One image as the input of the networks, at any resize factor.

    All methods share it. It keeps whatever is normalised once per image.
    """

    def __init__(self, models: Models | None, pixels: np.ndarray):
        """`pixels` uint8 (H, W, 3)."""
        self._models = models
        self.shape = pixels.shape[:2]
        self.pixels = pixels
        self._limits = limits(pixels)
        self._fell_back = False

    @property
    def models(self) -> Models:
        """The networks. Raises WeightsError if none were loaded."""
        if self._models is None:
            raise WeightsError("This method needs networks, but none were loaded.")
        return self._models

    def picture(self) -> np.ndarray:
        """The colour image, float32 (3, H, W), normalised."""
        return normalise(self.pixels, *self._limits)

    def attention(self, network: str) -> np.ndarray:
        """Return the maps of a network of size levels (`Method.attention`) for the whole image, float32 (N + 1, h, w),
        0..1, with a longer side of 224."""
        _, (h, w) = place(self.shape, SIDE)
        small = normalise(cv2.resize(self.pixels, (w, h), interpolation=cv2.INTER_AREA), *self._limits)
        padded = np.pad(small, ((0, 0), (0, SIDE - h), (0, SIDE - w)))
        return self.run(lambda x: self.models[network](x).sigmoid(), padded[None])[0, :, :h, :w]

    @property
    def device(self) -> torch.device:
        """The device of the networks: the models' device, or the CPU after that device ran out of memory."""
        return torch.device("cpu") if self._fell_back else self.models.device

    def device_words(self, exact: bool = False) -> str:
        """Return `device` and number type in words, for the record; `exact`: as in `run`."""
        more = f", because the memory of {words(self.models.device, exact)} was not enough" if self._fell_back else ""
        return words(self.device, exact) + more

    def run(self, network: Callable[[Tensor], Tensor], stack: np.ndarray, exact: bool = False) -> np.ndarray:
        """Run `network` on float32 (b, c, h, w) or vectors (b, c) and return a float32 array; `exact`: in float32 only.

        If a GPU runs out of memory, the batch is halved repeatedly. If that fails, the CPU is used until `restore`.
        """
        try:
            return self._run(network, stack, exact)
        except torch.OutOfMemoryError:
            pass  # leave the handler, which keeps references to the tensors
        if self.models.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(stack) > 1:
            half = len(stack) // 2
            return np.concatenate([self.run(network, part, exact) for part in (stack[:half], stack[half:])])
        if self.device.type == "cpu":
            raise MemoryError
        self._fell_back = True
        self._move()
        return self._run(network, stack, exact)

    def _run(self, network: Callable[[Tensor], Tensor], stack: np.ndarray, exact: bool) -> np.ndarray:
        x = torch.from_numpy(stack).to(self.device)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), nullcontext() if exact else autocast(self.device):
            return network(x).float().cpu().numpy()

    def _move(self) -> None:
        for network in self.models.networks.values():
            network.to(self.device)

    def restore(self) -> None:
        """Move the networks back to the models' device after a run."""
        if self._fell_back:
            self._fell_back = False
            self._move()

    def grid(self, factor: float) -> Grid:
        """Return the tiles at a resize factor."""
        return grid_at(self.shape, factor)

    @cached_property
    def _gray(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """The input of Cellpose's own networks, (H, W, 2): gray and an empty second channel; and its limits."""
        gray = self.pixels.mean(axis=2, dtype=np.float32)
        pixels = np.stack((gray, np.zeros_like(gray)), axis=2)
        return pixels, limits(pixels)

    def _flow_network(self, name: str) -> CPNet | FoldedCPNet:
        return cast(CPNet | FoldedCPNet, self.models[name])

    def takes_colour(self, network: str) -> bool:
        """Return whether a flow network takes colour; others take two channels, as Cellpose's own networks do."""
        return self._flow_network(network).inputs == 3

    def resized(self, network: str, factor: float) -> np.ndarray:
        """Return the normalised input of a flow network, float32 (c, h, w), at a resize factor."""
        grid = self.grid(factor)
        given = (self.pixels, self._limits) if self.takes_colour(network) else self._gray
        return resized(given[0], (grid.height, grid.width), given[1])

    def maps(self, network: str, stack: np.ndarray, exact: bool = False) -> np.ndarray:
        """Return a flow network's maps, float32 (b, K, h, w), of tiles float32 (b, c, h, w); `exact`: as in `run`."""
        y = self.run(self._flow_network(network).maps, stack, exact)
        y[:, :2] /= 5  # the network's target is 5 × the unit flow
        return y

    def level(self, factor: float) -> "Level":
        """Return the image at a resize factor, for reading part by part."""
        grid = self.grid(factor)
        return Level(self.pixels, (grid.height, grid.width), self._limits)

    def flow(
        self,
        network: str,
        factor: float,
        corners: list[tuple[int, int]] | None = None,
        report: Callable[[int], None] = lambda _: None,
        exact: bool = False,
    ) -> ScalePrediction:
        """Run a flow network at a resize factor, on all tiles or those at `corners`; call `report(n)` after each batch
        of n tiles. `network`: one of methods.FLOW_NETWORKS; `exact`: as in `run`."""
        grid = self.grid(factor)

        def predict(stack: np.ndarray) -> np.ndarray:
            y = self.maps(network, stack, exact)
            report(len(stack))
            return y

        maps, covered = blend(grid, self.resized(network, factor), predict, corners, BATCH)
        if not covered.any():
            maps = np.zeros((3, grid.height, grid.width), np.float32)
        return ScalePrediction(factor, maps[:2], maps[2], covered, maps[3] if len(maps) > 3 else None)


class Level:
    """An image, uint8 (H, W, 3), at the size `shape`, read part by part. The size must not be larger than the image, or
    must be exactly twice as large. span: its limits (`tiling.limits`)."""

    def __init__(self, pixels: np.ndarray, shape: tuple[int, int], span: tuple[np.ndarray, np.ndarray]):
        self.shape, self.span = shape, span
        self._doubled = shape == (2 * pixels.shape[0], 2 * pixels.shape[1])
        self._pixels = pixels if self._doubled else scaled(pixels, shape)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a part, uint8 (h, w, 3)."""
        if not self._doubled:
            return self._pixels[rows, columns]
        # one more pixel on each side, for interpolating the pixels at the edge of the part
        first = [max(0, s.start // 2 - 1) for s in (rows, columns)]
        last = [min(n, s.stop // 2 + 2) for s, n in zip((rows, columns), self._pixels.shape, strict=False)]
        part = self._pixels[first[0] : last[0], first[1] : last[1]]
        large = scaled(part, (2 * part.shape[0], 2 * part.shape[1]))
        top, left = rows.start - 2 * first[0], columns.start - 2 * first[1]
        return large[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]

    def stacks(self, grid: Grid, corners: list[tuple[int, int]]) -> Iterator[np.ndarray]:
        """Yield batches of BATCH tiles at `corners`, normalised and zero outside the image: float32 (b, 3, h, w)."""
        for i in range(0, len(corners), BATCH):
            stack = np.zeros((len(corners[i : i + BATCH]), 3, *grid.sides), np.float32)
            for piece, corner in zip(stack, corners[i : i + BATCH], strict=True):
                image, tile = grid.inside(corner)
                piece[:, *tile] = normalise(self.read(*image), *self.span)
            yield stack


def resized(pixels: np.ndarray, shape: tuple[int, int], span: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the image (H, W, c) at another size, normalised: float32 (c, h, w)."""
    return normalise(scaled(pixels, shape), *span)


def scaled(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the image (H, W, c) at another size: (h, w, c)."""
    if shape == pixels.shape[:2]:
        return pixels
    smaller = any(part < whole for part, whole in zip(shape, pixels.shape[:2], strict=True))
    smooth = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(pixels, shape[::-1], interpolation=smooth)


def relevant_tiles(grid: Grid, share: np.ndarray, relevance: float) -> list[tuple[int, int]]:
    """Return the corners of tiles with a pixel where `share` (h, w), 0..1, reaches `relevance`."""
    h, w = share.shape
    up, across = h / grid.height, w / grid.width

    def matters(corner: tuple[int, int]) -> bool:
        rows, columns = grid.inside(corner)[0]
        # The map is interpolated when it is enlarged, so add one map pixel of margin.
        near = share[
            max(0, int(rows.start * up) - 1) : int(np.ceil(rows.stop * up)) + 1,
            max(0, int(columns.start * across) - 1) : int(np.ceil(columns.stop * across)) + 1,
        ]
        return bool(near.max() >= relevance)

    return [corner for corner in grid.corners if matters(corner)]


def predict_scales(
    pyramid: Pyramid,
    network: str,
    factors: Sequence[float],
    shares: Sequence[np.ndarray | None],
    relevance: float,
    clock: Clock,
    progress: Callable[[Progress], None],
    span: tuple[float, float] = (0.0, 0.95),
    exact: bool = False,
) -> tuple[ScalePrediction, ...]:
    """Run a flow network at all factors; with a share map, only on tiles where it reaches `relevance`.

    `span`: progress, 0..1, at start and end; `exact`: as in `Pyramid.run`.
    """
    grids = [pyramid.grid(factor) for factor in factors]
    plans = [
        grid.corners if share is None else relevant_tiles(grid, share, relevance)
        for grid, share in zip(grids, shares, strict=True)
    ]
    first, last = span
    a_tile = (last - first) / max(1, sum(map(len, plans)))
    before = 0
    scales = []
    for factor, corners in zip(factors, plans, strict=True):
        stage = f"scale {factor:.3g}"
        done = 0

        def report(tiles: int) -> None:
            nonlocal done
            done += tiles
            progress(Progress(stage, done, len(corners), first + a_tile * (before + done)))  # noqa: B023

        progress(Progress(stage, 0, len(corners), first + a_tile * before))
        scales.append(pyramid.flow(network, factor, corners, report, exact))
        before += len(corners)
        clock.lap(stage)
    return tuple(scales)
