"""The evidence that a correction may use besides the labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import expit
from skimage.filters import sobel

from crystalseg.segmentation.fusion import ScalePrediction


@dataclass(frozen=True)
class Evidence:
    """Evidence for a correction: pixels uint8 (H, W, 3), the scales' predictions, the foreground threshold h."""

    pixels: np.ndarray
    scales: Sequence[ScalePrediction]
    threshold: float = 0.0


def evidence_in(evidence: Evidence, box: tuple[slice, slice]) -> list[np.ndarray]:
    """Return each scale's flow and foreground, float32 (3, h, w), at the image's resolution within `box`."""
    height, width = evidence.pixels.shape[:2]
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    maps = []
    for scale in evidence.scales:
        sy, sx = (part / full for part, full in zip(scale.foreground.shape, (height, width), strict=True))
        # coordinate in the scale of a pixel of the box; both are counted from pixel centres
        matrix = np.array(
            [[sx, 0, (box[1].start + 0.5) * sx - 0.5], [0, sy, (box[0].start + 0.5) * sy - 0.5]], np.float64
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        maps.append(
            np.stack(
                [
                    cv2.warpAffine(channel, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
                    for channel in (*scale.flow, scale.foreground)
                ]
            )
        )
    return maps


def ridges(evidence: Evidence, box: tuple[slice, slice]) -> np.ndarray:
    """Return where boundaries probably run, float32 (h, w), 0 to about 3.

    This is the sum of the flow's divergence and 1 − foreground probability, averaged over scales, and the image
    gradient.
    """
    gray = cv2.GaussianBlur(evidence.pixels[box].mean(axis=2).astype(np.float32), (0, 0), 1)
    edges = sobel(gray)
    total = edges / max(float(np.quantile(edges, 0.98)), 1.0)
    maps = evidence_in(evidence, box)
    for dy, dx, foreground in maps:
        if min(dy.shape) > 1:
            parting = np.gradient(dy, axis=0) + np.gradient(dx, axis=1)
            total = total + np.clip(parting, 0, 1) / len(maps)
        total = total + expit(-foreground) / len(maps)
    return total.astype(np.float32)
