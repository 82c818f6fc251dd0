"""Fuse predictions of several scales into one (paper section III-B2).

Maps stay at their own resolution until their scale is added, so the image bounds the memory, not the number of scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from crystalseg.segmentation.attention import enlarge

# Foreground logit where no scale has a prediction; far below any threshold.
NOTHING = -10.0


@dataclass(frozen=True)
class Prediction:
    """A prediction. flow: float32 (2, H, W), (dy, dx), unit vectors toward the centre; foreground: float32 (H, W),
    logit."""

    flow: np.ndarray
    foreground: np.ndarray


def no_maps(shape: tuple[int, ...]) -> Prediction:
    """Return a prediction of zeros for an (H, W) image that takes no memory."""
    zero = np.float32(0)
    return Prediction(np.broadcast_to(zero, (2, *shape)), np.broadcast_to(zero, shape))


@dataclass(frozen=True)
class ScalePrediction:
    """A prediction at its own resolution, (2, h, w) and (h, w). factor: its resize factor; covered: bool (h, w), where
    tiles were computed; outline: float32 (h, w), logit of lying on a crystal's outline, if the network predicts it."""

    factor: float
    flow: np.ndarray
    foreground: np.ndarray
    covered: np.ndarray
    outline: np.ndarray | None = None


def fuse_weighted(
    scales: Sequence[ScalePrediction], weights: Sequence[np.ndarray | None], shape: tuple[int, int]
) -> Prediction:
    """Return F = Σ A_i F_i / Σ A_i, and the same mean of the foreground.

    `weights`: a map float32 (h, w) of any size for each scale, enlarged to the image, or None for equal weights. A
    scale has weight zero where it was not computed.
    """
    total = np.zeros((3, *shape), np.float32)
    sums = np.zeros(shape, np.float32)
    for scale, weight in zip(scales, weights, strict=True):
        here: np.ndarray
        if weight is None:
            here = np.ones(shape, np.float32)
        else:
            here = cv2.resize(weight, shape[::-1], interpolation=cv2.INTER_LINEAR)
        if not scale.covered.all():
            here *= cv2.resize(scale.covered.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
        sums += here
        for channel, values in enumerate((*scale.flow, scale.foreground)):
            total[channel] += here * cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR)
    covered = sums > 1e-6
    np.divide(total, sums, out=total, where=covered)
    total[:2, ~covered] = 0
    total[2, ~covered] = NOTHING
    return Prediction(total[:2], total[2])


def fuse_maximum(scales: Sequence[ScalePrediction], shape: tuple[int, int]) -> Prediction:
    """Return at each pixel the flow of the scale where it is longest, and the highest foreground of all scales."""
    flow = np.zeros((2, *shape), np.float32)
    longest = np.full(shape, -1, np.float32)
    foreground = np.full(shape, NOTHING, np.float32)
    for scale in scales:
        candidate = enlarge(scale.flow, shape)
        length = np.square(candidate).sum(axis=0)
        np.copyto(flow, candidate, where=length > longest)
        np.maximum(longest, length, out=longest)
        np.maximum(foreground, enlarge(scale.foreground[None], shape)[0], out=foreground)
    return Prediction(flow, foreground)


def fuse(
    scales: Sequence[ScalePrediction], attention: np.ndarray | None, shape: tuple[int, int], fusion: str
) -> Prediction:
    """Fuse the scales into one prediction at `shape` (H, W) by `attention`, `average` or `maximum`.

    `attention`: float32 (N + 1, h, w), N = number of scales; the last map (background) is not used. None unless needed.
    """
    if fusion == "maximum":
        return fuse_maximum(scales, shape)
    if fusion == "average":
        return fuse_weighted(scales, [None] * len(scales), shape)
    if attention is None or len(attention) != len(scales) + 1:
        raise TypeError("Attention fusion needs one map per scale and one for the background.")
    return fuse_weighted(scales, list(attention[:-1]), shape)
