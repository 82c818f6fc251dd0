"""The result of a run, without torch, so that pages that only show results start quickly."""

from dataclasses import dataclass, field

import numpy as np

from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.settings import Settings


@dataclass(frozen=True)
class Segmentation:
    """The result of a run. labels: int32 (H, W), 0 = background, 1..n; confidence: float32 (n,), 0..1, with SiMA+ the
    probability that a crystal is right, with other methods a value for ranking; fused: Prediction at full size; scales:
    each scale's prediction at its own resolution; attention: float32 (N + 1, h, w), the weight of each scale and the
    background, or None if all weights are equal; timings: seconds per stage; hashes, versions: of the weights that the
    method used; device: the device and number type of its networks, in words.

    For a mosaic no maps are kept: fused is zero, scales is empty, and ladder gives the resize factors.

    SiMA+ also gives for each crystal: origin, int (n,), the scale it was taken from; features, float32 (n, k), the
    figures by which it was judged (proposals.FEATURES, and two more if the network gives outlines)."""

    labels: np.ndarray
    confidence: np.ndarray
    fused: Prediction
    scales: tuple[ScalePrediction, ...]
    attention: np.ndarray | None
    settings: Settings
    timings: dict[str, float] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    origin: np.ndarray | None = None
    features: np.ndarray | None = None
    device: str = ""
    ladder: tuple[float, ...] = ()

    @property
    def factors(self) -> tuple[float, ...]:
        """The resize factors that were used."""
        return self.ladder or tuple(float(scale.factor) for scale in self.scales)
