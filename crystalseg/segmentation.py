"""What a run gives, and how it tells how far it is. Without torch: pages that only show results start quickly."""

from dataclasses import dataclass

import numpy as np

from crystalseg.fusion import Prediction, ScalePrediction
from crystalseg.settings import Settings


@dataclass(frozen=True)
class Progress:
    """stage: what is being done, in words; done of total: tiles in this stage; share: of the whole run, 0..1."""

    stage: str
    done: int
    total: int
    share: float


class Cancelled(Exception):  # noqa: N818 - not an error
    """Raised by a progress callback to stop a run."""


@dataclass(frozen=True)
class Segmentation:
    """labels int32 (H, W), 0 = background, 1..n; confidence float32 (n,), 0..1, the probability that a crystal is right
    with SiMA+, a figure to order them by with other methods; fused Prediction at full size; scales: each scale's
    prediction at its own resolution; attention float32 (N + 1, h, w), the weight of each scale and the background,
    or None if all are equal; timings: seconds a stage; hashes: of the weights.

    With SiMA+ also, of each crystal, origin int (n,): the scale it was taken from, and features float32 (n, 8):
    the figures it was judged by (selection.FEATURES)."""

    labels: np.ndarray
    confidence: np.ndarray
    fused: Prediction
    scales: tuple[ScalePrediction, ...]
    attention: np.ndarray | None
    settings: Settings
    timings: dict[str, float]
    hashes: dict[str, str]
    versions: dict[str, str]
    origin: np.ndarray | None = None
    features: np.ndarray | None = None
