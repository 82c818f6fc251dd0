"""Run SiMA+ on images whose maps do not fit into memory: scale by scale, band by band, window by window.

The result equals that of `sima_plus.run`, except where a flow extends further than a window reads. Maps are not kept.
Proposals are kept with one bit per pixel, so the choice among them considers the whole image at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation.effort import EFFORTS, ENLARGED
from crystalseg.segmentation.memory import give_back
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.proposals import features_of
from crystalseg.segmentation.pyramid import BATCH, Level, Pyramid, relevant_tiles
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Settings, SettingsError
from crystalseg.segmentation.sima_plus import Chosen, places, surest, without_maps
from crystalseg.segmentation.tiling import Grid, blended_rows, looks
from crystalseg.segmentation.windows import (
    CORE,
    REACH,
    Band,
    Task,
    Window,
    WindowProposals,
    band_cuts,
    banded,
    columns_of,
    find,
    nothing,
)

WHOLE = 32e6  # px; larger images are segmented in windows
MOST = 100e6  # px; largest image for methods that cannot work in windows


class Compute(Protocol):
    """Where the work is done. Results come in the order of the requests."""

    def tiles(self, stacks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Run the flow network on batches of tiles float32 (b, 3, h, w): its maps (b, K, h, w), with flow of unit
        length."""

    def windows(self, tasks: Iterable[Task], choices: Sequence[Instances]) -> Iterator[list[WindowProposals]]:
        """Return the proposals of each window for each of the choices."""


class BandCache(Protocol):
    """Results of an interrupted run, by scale and band."""

    def bands(self, scale: int) -> int:
        """Return how many bands of a scale are finished, from the top."""

    def get(self, scale: int, band: int) -> list[WindowProposals]:
        """Return the proposals of a band for each of the choices."""

    def put(self, scale: int, band: int, found: list[WindowProposals]) -> None:
        """Keep the proposals of a band."""


class Here:
    """Does all work in this process."""

    def __init__(self, pyramid: Pyramid, settings: Settings):
        self._pyramid, self._network = pyramid, settings.architecture
        self._judge = pyramid.models.judge(settings)

    def tiles(self, stacks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return (self._pyramid.maps(self._network, stack) for stack in stacks)

    def windows(self, tasks: Iterable[Task], choices: Sequence[Instances]) -> Iterator[list[WindowProposals]]:
        return ([find(task, choice, self._judge) for choice in choices] for task in tasks)


class InMemory:
    """Keeps results for this run only."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], list[WindowProposals]] = {}

    def bands(self, scale: int) -> int:
        return sum(key[0] == scale for key in self._found)

    def get(self, scale: int, band: int) -> list[WindowProposals]:
        return self._found[scale, band]

    def put(self, scale: int, band: int, found: list[WindowProposals]) -> None:
        self._found[scale, band] = found


def run(
    pyramid: Pyramid,
    settings: Settings,
    clock: Clock,
    progress: Callable[[Progress], None],
    compute: Compute | None = None,
    kept: BandCache | None = None,
) -> Segmentation:
    """Like `sima_plus.run`, without the maps. Raises SettingsError for resize factors that do not work in windows."""
    shape, effort = pyramid.shape, EFFORTS[settings.effort]
    factors = settings.scales.octaves(shape)
    _check(factors, shape)
    whole, finer = settings.steps(shape)
    usual = Instances() if finer else settings.instances
    # The usual thresholds decide where to look more finely (see sima_plus.run); they may differ from the requested
    # ones.
    choices = [usual] if _alike(usual, settings.instances) else [usual, settings.instances]
    work = _Work(pyramid, choices, compute or Here(pyramid, settings), kept or InMemory(), clock, progress)
    judge = pyramid.models.judge(settings)
    # The share to enlarge is known late; until then assume that it costs as much as the rest.
    work.total = looks(shape, factors) * (2 if ENLARGED in finer else 1)
    used = whole
    scales = [work.scale(k, factor, pyramid.grid(factor).corners) for k, factor in enumerate(whole)]

    def chosen_by(lowest: float | None) -> Chosen:
        choice = usual if lowest is None else replace(usual, min_confidence=lowest)
        return _chosen(judge, scales, 0, choice, shape)

    for factor in finer:
        where = places(chosen_by, factor, used[-1], effort)
        corners = relevant_tiles(pyramid.grid(factor), where, 1.0) if where.any() else []
        del where
        clock.lap("crystals")
        if not corners:
            break
        if factor == ENLARGED:
            work.total = work.done + len(corners)
        scales.append(work.scale(len(scales), factor, corners))
        used += (factor,)
    progress(Progress("crystals", 0, 1, 0.96))
    chosen = _chosen(judge, scales, len(choices) - 1, settings.instances, shape)
    return without_maps(chosen, settings, used)


def _chosen(
    judge: Confidence,
    scales: Sequence[list[WindowProposals]],
    choice: int,
    instances: Instances,
    shape: tuple[int, int],
) -> Chosen:
    """Return the surest proposals of the windows of all scales, for one of the choices."""
    found = [scale[choice] for scale in scales]
    masks = [f.masks for f in found]
    features = features_of(masks, [f.quality for f in found], [f.figures for f in found])
    seen = [torch.from_numpy(f.seen).to(judge.line.device) for f in found]
    return surest(judge, masks, features, seen, shape, instances)


def _alike(one: Instances, other: Instances) -> bool:
    """Return whether both choices lead to the same proposals; the selection may still differ."""
    return one == replace(other, min_confidence=one.min_confidence, flow_threshold=one.flow_threshold)


def _check(factors: Sequence[float], shape: tuple[int, int]) -> None:
    if max(factors) > 1:
        raise SettingsError(
            f"Resize factors above 1 are for images of up to {WHOLE / 1e6:.0f} megapixels. Without your own factors, a "
            "larger image is enlarged automatically where it has small crystals."
        )
    most = CORE + 2 * REACH  # one window
    if min(factors) * max(shape) > most:
        raise SettingsError(
            f"For an image of {shape[1]} × {shape[0]} px, the first resize factor must be at most "
            f"{most / max(shape):.2g}, so that one scale shows the largest crystals whole. Or let the program choose "
            "the factors."
        )


class _Work:
    """The scales of one image, one after another. total, done: numbers of tiles."""

    def __init__(
        self,
        pyramid: Pyramid,
        choices: Sequence[Instances],
        compute: Compute,
        kept: BandCache,
        clock: Clock,
        progress: Callable[[Progress], None],
    ):
        self.pyramid, self.choices, self.compute, self.kept = pyramid, choices, compute, kept
        self.clock, self.progress = clock, progress
        self.total = self.done = 0

    def scale(self, index: int, factor: float, corners: list[tuple[int, int]]) -> list[WindowProposals]:
        """Return the proposals of a scale's windows for each of the choices; `corners` are the corners of its tiles."""
        grid = self.pyramid.grid(factor)
        shape = grid.height, grid.width
        cores = band_cuts(shape)
        before, ready = self.done, self.kept.bands(index)
        if ready < len(cores):
            level, stage = self.pyramid.level(factor), f"scale {factor:.3g}"
            rows = self._rows(level, grid, corners, cores[ready][0], stage)
            for k, band in enumerate(banded(rows, grid.height, cores[ready:]), start=ready):
                self.clock.lap(stage)
                tasks = (_task(band, w, shape, factor, index == 0, level) for w in columns_of(band, shape))
                parts = list(self.compute.windows((t for t in tasks if t.covered.any()), self.choices))
                joined = (
                    [WindowProposals.joined([part[c] for part in parts]) for c in range(len(self.choices))]
                    if parts
                    else []
                )
                self.kept.put(index, k, joined)
                give_back()
                self.clock.lap("crystals")
        self.done = before + len(corners)
        bands = [found for k in range(self.kept.bands(index)) if (found := self.kept.get(index, k))]
        if not bands:
            return [nothing(shape)] * len(self.choices)
        return [WindowProposals.joined([found[c] for found in bands]) for c in range(len(self.choices))]

    def _rows(
        self, level: Level, grid: Grid, corners: list[tuple[int, int]], core: int, stage: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the maps of a scale like `tiling.blended_rows`, complete from the rows that the band with the core at
        row `core` reads. The batches equal those of an uninterrupted run, because they affect the numbers."""
        needed = [k for k, (y, _) in enumerate(corners) if y + grid.sides[0] > core - REACH]
        first = needed[0] // BATCH * BATCH if needed else len(corners)
        self.done += first
        count = first

        def counted() -> Iterator[np.ndarray]:
            nonlocal count
            for batch in self.compute.tiles(level.stacks(grid, corners[first:])):
                count += len(batch)
                self.done += len(batch)
                self.progress(Progress(stage, count, len(corners), 0.95 * self.done / self.total))
                yield from batch

        return blended_rows(grid, corners[first:], counted())


def _task(band: Band, window: Window, shape: tuple[int, int], factor: float, is_coarsest: bool, level: Level) -> Task:
    top, left, bottom, right = window.read
    here = slice(top - band.top, bottom - band.top), slice(left, right)
    near = window.near
    pixels = level.read(slice(near[0], near[2]), slice(near[1], near[3]))
    return Task(window, shape, factor, is_coarsest, band.maps[:, *here], band.covered[here], pixels, level.span)
