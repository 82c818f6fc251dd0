"""Convert clicks to the outline of one crystal with ClickNet: its input, and the use of its output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage
from scipy.special import expit
from torch import Tensor

from crystalseg.micrographs.labels import bounding_box
from crystalseg.networks.clicks import BEFORE, CHANNELS, INSIDE, OUTSIDE, SIDE
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.pyramid import resized, scaled
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.selection import full_size, largest_piece
from crystalseg.segmentation.tiling import limits

Point = tuple[float, float]
Network = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # a ClickNet

ENLARGED = (2, 4)  # the finest resolutions, which show crystals of a few pixels
DOT = 2  # px; half the side of a click in a window, less half a pixel


@dataclass(frozen=True)
class Seen:
    """An image of `shape` as ClickNet sees it. At each of `factors`, an octave apart and coarsest first, float16 (7, h,
    w): the normalised picture, and the output of the flow network (flow, foreground and outline as probabilities), zero
    where there is none. Maps at ENLARGED are made from the previous factor when they are needed."""

    shape: tuple[int, int]
    factors: tuple[float, ...]
    maps: tuple[np.ndarray, ...]

    @staticmethod
    def of(pixels: np.ndarray, scales: Sequence[ScalePrediction]) -> "Seen":
        """Return the image from pixels uint8 (H, W, 3) and a run's predictions, if there are any."""
        shape, span = pixels.shape[:2], limits(pixels)
        factors = Scales().octaves(shape)
        while max(shape) * factors[0] > SIDE:  # until a window shows the whole image
            factors = (factors[0] / 2, *factors)
        maps = []
        for factor in factors:
            size = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
            said = min(scales, key=lambda s: abs(np.log(s.factor / factor)), default=None)
            picture = resized(pixels, size, span)
            maps.append(np.concatenate((picture, _said(said, size))).astype(np.float16))
        return Seen(shape, (*factors, *ENLARGED), tuple(maps))

    def windows(
        self, centre: Point, inside: Sequence[Point], outside: Sequence[Point], before: np.ndarray
    ) -> np.ndarray:
        """Return windows around `centre` (y, x) at every factor, float32 (K, CHANNELS, SIDE, SIDE), with clicks inside
        and outside the crystal, and the previous mask, bool (H, W)."""
        found = np.zeros((len(self.factors), CHANNELS, SIDE, SIDE), np.float32)
        for k, (factor, window) in enumerate(zip(self.factors, found, strict=True)):
            corner = self.corner(centre, factor)
            if k < len(self.maps):
                _copy(self.maps[k], corner, window)
            else:
                zoom = int(factor)
                part = np.zeros((INSIDE, SIDE // zoom + 2, SIDE // zoom + 2), np.float32)
                _copy(self.maps[-1], (corner[0] // zoom - 1, corner[1] // zoom - 1), part)
                large = [cv2.resize(m, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR) for m in part]
                window[:INSIDE] = np.stack(large)[:, zoom : zoom + SIDE, zoom : zoom + SIDE]
            for channel, points in ((INSIDE, inside), (OUTSIDE, outside)):
                for place in _places(points, corner, factor):
                    dot(window[channel], *place)
            window[BEFORE] = sampled(before, corner, factor)
        return found

    def corner(self, centre: Point, factor: float) -> tuple[int, int]:
        """Return the first pixel of the window around `centre` at a factor; an enlarged window starts at a whole
        pixel."""
        step = max(1, int(factor))
        top, left = (step * int(((p + 0.5) * factor - SIDE / 2) // step) for p in centre)
        return top, left


def _said(scale: ScalePrediction | None, size: tuple[int, int]) -> np.ndarray:
    """Return a scale's flow, foreground and outline at a size: float32 (4, h, w); zero where nothing was computed."""
    if scale is None:
        return np.zeros((4, *size), np.float32)
    outline = np.full(scale.foreground.shape, -20, np.float32) if scale.outline is None else scale.outline
    parts = np.stack([*scale.flow, expit(scale.foreground), expit(outline)], axis=2) * scale.covered[..., None]
    return scaled(parts, size).transpose(2, 0, 1)


def _copy(maps: np.ndarray, corner: tuple[int, int], window: np.ndarray) -> None:
    """Copy maps (C, h, w) from `corner` on into the first C channels of a window; pixels beyond the maps stay."""
    inner, outer = [], []
    for first, length, side in zip(corner, maps.shape[1:], window.shape[1:], strict=True):
        start, stop = max(0, first), min(length, first + side)
        inner.append(slice(start - first, max(stop, start) - first))
        outer.append(slice(start, max(stop, start)))
    window[: len(maps), *inner] = maps[:, *outer]


def dot(channel: np.ndarray | Tensor, row: int, column: int) -> None:
    """Draw a click into a channel (SIDE, SIDE) of a window, clipped to the window."""
    if -DOT <= row < SIDE + DOT and -DOT <= column < SIDE + DOT:
        channel[max(0, row - DOT) : row + DOT + 1, max(0, column - DOT) : column + DOT + 1] = 1


def sampled(full: np.ndarray, corner: tuple[int, int], factor: float) -> np.ndarray:
    """Sample (H, W) at the pixels of a window (SIDE, SIDE) that starts at `corner` at a factor; 0 beyond it."""
    rows, columns = (np.floor((np.arange(SIDE) + first + 0.5) / factor).astype(int) for first in corner)
    inside = ((rows >= 0) & (rows < full.shape[0]))[:, None] & ((columns >= 0) & (columns < full.shape[1]))
    part = full[np.clip(rows, 0, full.shape[0] - 1)[:, None], np.clip(columns, 0, full.shape[1] - 1)]
    return np.where(inside, part, 0)


@dataclass(frozen=True)
class Clicks:
    """The clicks that make one crystal. number: its label, 0 if it has none yet; inside, outside: points (y, x)."""

    number: int = 0
    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()

    def correction(self, labels: np.ndarray, seen: Seen, network: Network) -> Correction:
        """Return the correction that draws the crystal in `labels`, int32 (H, W). Raises CorrectionError if nothing is
        found."""
        if not self.inside:
            raise CorrectionError(
                "Click inside a crystal first. Shift-click and Ctrl-click refine what that click found."
            )
        before = labels == self.number if self.number and len(self.inside) + len(self.outside) > 1 else None
        outline = outline_of(*clicked(seen, network, self.inside, self.outside, before))
        ids = (self.number,) if self.number else ()
        return Correction("redraw", ids, outline, clicks=len(self.inside) + len(self.outside))


def clicked(
    seen: Seen,
    network: Network,
    inside: Sequence[Point],
    outside: Sequence[Point] = (),
    before: np.ndarray | None = None,
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the crystal that contains the points `inside` (y, x) but not those `outside`: rows and columns of the
    image, and its mask there, bool (h, w). `before`: the mask that further clicks refine, bool (H, W). Raises
    CorrectionError if nothing is found."""
    if before is None:
        before = np.zeros(seen.shape, bool)
    windows = seen.windows(inside[0], inside, outside, before)
    with torch.inference_mode():
        logits, quality, _ = network(torch.from_numpy(windows)[None])
    answers = []
    for factor, logit, good in zip(seen.factors, logits[0].numpy(), quality[0].tolist(), strict=True):
        corner = seen.corner(inside[0], factor)
        there = sampled(np.broadcast_to(np.True_, seen.shape), corner, factor)
        shown, forbidden = (_placed(points, corner, factor) for points in (inside, outside))
        mask, right = _of_clicks((logit > 0) & there, shown, forbidden)
        if mask.any():
            # a window that does not show a click does not heed it
            answers.append((right - len(outside) + len(forbidden), good, factor, corner, mask))
    if not answers:
        raise CorrectionError("Nothing there looks like a crystal. Draw its outline.")
    _, _, factor, corner, mask = max(answers, key=lambda answer: answer[:2])
    rows, columns = bounding_box(mask)
    box = [rows.start + corner[0], columns.start + corner[1], rows.stop + corner[0], columns.stop + corner[1]]
    size = (round(seen.shape[0] * factor), round(seen.shape[1] * factor))
    top, left, grown = full_size(mask[rows, columns], box, size, seen.shape)
    return (top, left), grown


def _places(points: Sequence[Point], corner: tuple[int, int], factor: float) -> list[tuple[int, int]]:
    """Return row and column of points in the window that starts at `corner` at a factor; they may lie outside it."""
    return [(int((y + 0.5) * factor) - corner[0], int((x + 0.5) * factor) - corner[1]) for y, x in points]


def _placed(points: Sequence[Point], corner: tuple[int, int], factor: float) -> list[tuple[int, int]]:
    """Like `_places`, without points outside the window."""
    return [(y, x) for y, x in _places(points, corner, factor) if 0 <= y < SIDE and 0 <= x < SIDE]


def _of_clicks(
    mask: np.ndarray, inside: Sequence[tuple[int, int]], outside: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, int]:
    """Return the pieces of a window's mask with a click inside, without holes, and the number of clicks they heed: the
    inside clicks in the pieces, less the outside clicks in them."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    named = np.isin(pieces, [n for n in {int(pieces[place]) for place in inside} if n])
    filled = ndimage.binary_fill_holes(named)
    return filled, sum(bool(filled[place]) for place in inside) - sum(bool(filled[place]) for place in outside)


def outline_of(box: tuple[slice, slice], mask: np.ndarray) -> tuple[Point, ...]:
    """Return the corners (y, x) of a mask's outline. Drawn as a polygon, they reproduce the mask's largest piece."""
    (line, *_), _ = cv2.findContours(largest_piece(mask).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return tuple((float(y + box[0].start), float(x + box[1].start)) for x, y in line[:, 0])
