"""Intensities of any number type as 8-bit RGB, some rows at a time, so that memory does not grow with the type."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from crystalseg.errors import UserError

STRIP = 2_000_000  # px converted at once
SAMPLE = 16_000_000  # px from which percentiles are taken; larger images give every n-th of theirs
DARK, BRIGHT = 0.1, 99.9  # percentiles that become black and white
SPECK = 5  # px, side of the median that removes hot pixels and most of the noise
NOISE = 0.5  # share of the spread that is left by it: of noise a quarter, of what can be seen nearly all


class ValuesError(UserError):
    """Values that are no intensities; the message says why, for the end of a sentence."""


# Rows and columns, as slices, to the values there: (h, w) or (h, w, channels).
Part = Callable[[slice, slice], np.ndarray]


def to_rgb(height: int, width: int, part: Part) -> np.ndarray:
    """uint8 (H, W, 3) of what `part` gives: gray, gray + alpha, RGB or RGBA of any real type.

    8 bits stay as they are, other types are stretched between two percentiles, or, where there is nothing but noise
    between these, as about a few inclusions, to the extremes without hot pixels; what is transparent becomes white,
    what is no number black. ValuesError if the values are complex, or none is a finite number.
    """
    step = max(1, STRIP // width)
    out = np.empty((height, width, 3), np.uint8)
    span = None
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        strip = part(rows, slice(None))
        if span is None and strip.dtype not in (np.uint8, bool):
            span = _span(height, width, part)
        out[rows] = _eight_bits(strip if strip.ndim == 3 else strip[..., None], span)
    return out


def _span(height: int, width: int, part: Part) -> tuple[float, float]:
    """The values that become black and white."""
    every = math.ceil(height * width / SAMPLE)
    down = min(math.ceil(math.sqrt(every)), height)
    sample = part(slice(None, None, down), slice(None, None, math.ceil(every / down)))
    if sample.dtype.kind not in "biuf":
        raise ValuesError("its values are complex; export the magnitude")
    sample = sample[..., None] if sample.ndim == 2 else sample
    values = _colour(sample).astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise ValuesError("none of its values is a finite number")
    low, high = np.percentile(values[finite], (DARK, BRIGHT))
    filled = np.where(finite, values, np.float32(low))
    quiet = np.stack([cv2.medianBlur(np.ascontiguousarray(one), SPECK) for one in np.moveaxis(filled, 2, 0)])
    if np.ptp(np.percentile(quiet, (DARK, BRIGHT))) > NOISE * (high - low):
        return low, high
    # All between the percentiles is noise: crystals are so few that they lie beyond.
    least, most = float(quiet.min()), float(quiet.max())
    span = high - low
    return (least if low - least > span else low), (most if most - high > span else high)


def _colour(values: np.ndarray) -> np.ndarray:
    return values[..., : 1 if values.shape[2] < 3 else 3]


def _eight_bits(values: np.ndarray, span: tuple[float, float] | None) -> np.ndarray:
    """uint8 (h, w, 1 or 3) of (h, w, channels)."""
    colour = _colour(values)
    if colour.dtype == bool:
        colour = colour.astype(np.uint8) * np.uint8(255)
    elif span is not None:
        low, high = span
        colour = colour.astype(np.float32)
        colour = np.where(np.isfinite(colour), colour, low)
        colour = (np.clip((colour - low) / max(high - low, 1e-12), 0, 1) * 255 + 0.5).astype(np.uint8)
    if values.shape[2] not in (2, 4):
        return colour
    alpha = values[..., -1:]
    opacity = alpha / np.float32(1.0 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max)
    return (colour * opacity + 255 * (1 - opacity) + 0.5).astype(np.uint8) if (opacity < 1).any() else colour
