"""One scale of an image too large for memory: its maps as bands of rows, its proposals from overlapping windows.

A window proposes the crystals whose middle lies in its core, and reads as far around the core as they can depend on.
All windows together propose what the whole scale would: each crystal once, including crystals across a corner of four.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crystalseg.micrographs.labels import areas, keep_labels
from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.masks import PackedMasks, boxes_of
from crystalseg.segmentation.proposals import CONTEXT, LARGEST, Proposed, fit_quality, flow_fit, own_figures, traced
from crystalseg.segmentation.settings import Instances
from crystalseg.segmentation.sima_plus import looked
from crystalseg.segmentation.tiling import TILE, normalise

CORE = 2048  # px; side of a window's core
SEEN = int(CONTEXT / 2 * LARGEST) + 4  # px around a core that pictures of its proposals show
REACH = 512  # px around a core that are read: SEEN and the largest crystal in such a picture
BUFFER = 84_000_000  # px of a band with its reach, at 17 bytes each

Box = tuple[int, int, int, int]  # top, left, bottom, right, ends excluded


@dataclass(frozen=True)
class Window:
    """A part of a scale. core, read: boxes at the scale's resolution; near: the box of the image pixels that it
    sees."""

    core: Box
    read: Box
    near: Box

    @staticmethod
    def around(core: Box, shape: tuple[int, int]) -> "Window":
        """Return the window of a core in a scale of size `shape`."""
        return Window(core, _grown(core, REACH, shape), _grown(core, SEEN, shape))


@dataclass(frozen=True)
class WindowProposals:
    """The proposals of some windows of a scale. masks: their masks; quality, figures: as in `Proposed`, float64; seen:
    float32 (n, k), what the judge saw in their pictures."""

    masks: PackedMasks
    quality: np.ndarray
    figures: np.ndarray
    seen: np.ndarray

    @staticmethod
    def joined(parts: Sequence["WindowProposals"]) -> "WindowProposals":
        """Join the proposals of several windows, numbered as in a label image of the whole scale."""
        masks = PackedMasks.joined([part.masks for part in parts])
        order = masks.ordered()
        filled = [part for part in parts if len(part.quality)] or parts[:1]
        quality, figures, seen = (
            np.concatenate([getattr(part, name) for part in filled]) for name in ("quality", "figures", "seen")
        )
        return WindowProposals(masks.taken(order), quality[order], figures[order], seen[order])


@dataclass(frozen=True)
class Task:
    """The input of a window: its place in a scale of size shape; maps: float32 (K, h, w) and covered: bool (h, w) of
    the part it reads; pixels: uint8 (h, w, 3), resized, of the part `near`; span: their limits (`tiling.limits`)."""

    window: Window
    shape: tuple[int, int]
    factor: float
    is_coarsest: bool
    maps: np.ndarray
    covered: np.ndarray
    pixels: np.ndarray
    span: tuple[np.ndarray, np.ndarray]


def find(task: Task, choice: Instances, judge: Confidence) -> WindowProposals:
    """Return the proposals of a window, as `sima_plus.Chooser` finds those of a whole scale."""
    window, maps = task.window, task.maps
    scale = ScalePrediction(task.factor, maps[:2], maps[2], task.covered, maps[3] if len(maps) > 3 else None)
    labels = traced(scale, task.is_coarsest, choice.foreground_threshold, choice.min_area)
    near = _within(window.near, window.read)
    shown = areas(labels[near], int(labels.max()))[1:] > 0
    fit = flow_fit(keep_labels(labels, shown), scale)[near]
    labels = keep_labels(labels[near], shown)
    outline = None if scale.outline is None else scale.outline[near]
    part = ScalePrediction(task.factor, scale.flow[:, *near], scale.foreground[near], task.covered[near], outline)
    top, left, bottom, right = window.near
    edges = (top == 0, bottom == task.shape[0], left == 0, right == task.shape[1])
    height, width = task.shape
    figures = own_figures(labels, part, height * width, edges)
    quality = fit_quality(labels, part, fit)
    own = _in_core(boxes_of(labels) + np.array([top, left, top, left]), window.core)
    wanted = (own + 1).tolist()
    picture = normalise(task.pixels, *task.span)
    seen = looked(judge, Proposed(labels, fit, quality, figures), part, picture, wanted).cpu().numpy()
    return WindowProposals(PackedMasks.of(labels, wanted, task.shape, (top, left)), quality[own], figures[own], seen)


def _in_core(boxes: np.ndarray, core: Box) -> np.ndarray:
    """Return the numbers of the boxes, int (n, 4), whose middle lies in a core."""
    middle = boxes[:, :2] + boxes[:, 2:]  # times two
    inside = (middle >= 2 * np.array(core[:2])) & (middle < 2 * np.array(core[2:]))
    return np.flatnonzero(inside.all(axis=1))


def _grown(core: Box, by: int, shape: tuple[int, int]) -> Box:
    top, left, bottom, right = core
    return max(0, top - by), max(0, left - by), min(shape[0], bottom + by), min(shape[1], right + by)


def _within(box: Box, outer: Box) -> tuple[slice, slice]:
    """Return the rows and columns of a box, counted from the corner of a box around it."""
    top, left, bottom, right = box
    return slice(top - outer[0], bottom - outer[0]), slice(left - outer[1], right - outer[1])


def cuts(length: int, core: int) -> list[tuple[int, int]]:
    """Return start and end of the cores along a side. A single core is used if it would not read much more."""
    count = 1 if length <= core + 2 * REACH else -(-length // core)
    edges = [length * k // count for k in range(count + 1)]
    return list(itertools.pairwise(edges))


def band_cuts(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the rows of the cores of a scale's windows, one pair per band."""
    height, width = shape
    return cuts(height, int(np.clip(BUFFER / width - 2 * REACH, TILE, CORE)))


@dataclass(frozen=True)
class Band:
    """Maps, float32 (K, h, W), and covered, bool (h, W), of the rows that the windows of a band read, from row `top`
    on. core: first and last + 1 of the rows of its cores. The next band reuses the arrays."""

    core: tuple[int, int]
    top: int
    maps: np.ndarray
    covered: np.ndarray


def banded(
    rows: Iterable[tuple[np.ndarray, np.ndarray]], height: int, cores: Sequence[tuple[int, int]]
) -> Iterator[Band]:
    """Yield the bands of a scale `height` px high for neighbouring `cores` (see `band_cuts`), from its rows as
    `tiling.blended_rows` yields them."""
    left = list(cores)
    first, filled, row = max(0, left[0][0] - REACH), 0, 0
    buffer: tuple[np.ndarray, np.ndarray] | None = None
    for maps, covered in rows:
        if buffer is None:
            high = max(bottom - top for top, bottom in cores) + 2 * REACH + TILE
            buffer = np.empty((len(maps), high, maps.shape[2]), np.float32), np.empty((high, maps.shape[2]), bool)
        new = slice(min(max(0, first - row), len(covered)), len(covered))
        count = new.stop - new.start
        buffer[0][:, filled : filled + count], buffer[1][filled : filled + count] = maps[:, new], covered[new]
        filled, row = filled + count, row + len(covered)
        while left and first + filled >= min(left[0][1] + REACH, height):
            yield Band(left.pop(0), first, buffer[0][:, :filled], buffer[1][:filled])
            if not left:
                return
            drop = max(0, left[0][0] - REACH) - first
            filled -= drop
            first += drop
            for plane in (*buffer[0], buffer[1]):
                plane[:filled] = plane[drop : drop + filled].copy()


def columns_of(band: Band, shape: tuple[int, int]) -> list[Window]:
    """Return the windows of a band, in a scale of size `shape`, from left to right."""
    top, bottom = band.core
    return [Window.around((top, left, bottom, right), shape) for left, right in cuts(shape[1], CORE)]


def nothing(shape: tuple[int, int]) -> WindowProposals:
    """Return the proposals of a scale in which nothing was computed."""
    masks = PackedMasks(shape, np.zeros((0, 4), np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int64))
    return WindowProposals(masks, np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0), np.float32))
