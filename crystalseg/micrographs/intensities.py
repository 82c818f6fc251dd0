"""Convert intensities of any number type to 8-bit RGB, a strip of rows at a time, so that memory does not grow with the
type."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from crystalseg.errors import UserError

STRIP = 2_000_000  # px that are converted at once
SAMPLE = 16_000_000  # px from which percentiles are taken; of larger images, every n-th pixel is taken
DARK, BRIGHT = 0.1, 99.9  # percentiles that become black and white
SPECK = 5  # px, side of the median filter that removes hot pixels and most of the noise
NOISE = 0.5  # share of the spread that the filter leaves: a quarter for noise, nearly all for visible structure


class ValuesError(UserError):
    """Values that are not intensities. The message says why and completes a sentence."""


# Takes rows and columns, as slices; returns the values there: (h, w) or (h, w, channels).
Part = Callable[[slice, slice], np.ndarray]


def to_rgb(height: int, width: int, part: Part) -> np.ndarray:
    """Convert the values that `part` gives to uint8 (H, W, 3): gray, gray + alpha, RGB or RGBA of any real type.

    8-bit values stay as they are. Other types are stretched between two percentiles. If there is only noise between
    these, as in an image of a few inclusions, they are stretched between the extremes without hot pixels. Transparent
    pixels become white, and pixels that are not a number become black. Raises ValuesError if the values are complex or
    if none of them is finite.
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
    """Return the values that become black and white."""
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
    # Everything between the percentiles is noise: there are so few crystals that they lie beyond.
    least, most = float(quiet.min()), float(quiet.max())
    span = high - low
    return (least if low - least > span else low), (most if most - high > span else high)


def _colour(values: np.ndarray) -> np.ndarray:
    return values[..., : 1 if values.shape[2] < 3 else 3]


def _eight_bits(values: np.ndarray, span: tuple[float, float] | None) -> np.ndarray:
    """Convert (h, w, channels) to uint8 (h, w, 1 or 3)."""
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
