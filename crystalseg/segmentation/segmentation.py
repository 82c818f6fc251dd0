"""What a run gives. Without torch: pages that only show results start quickly."""

from dataclasses import dataclass, field

import numpy as np

from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.settings import Settings


@dataclass(frozen=True)
class Segmentation:
    """labels int32 (H, W), 0 = background, 1..n; confidence float32 (n,), 0..1, the probability that a crystal is right
    with SiMA+, a figure to order them by with other methods; fused Prediction at full size; scales: each scale's
    prediction at its own resolution; attention float32 (N + 1, h, w), the weight of each scale and the background,
    or None if all are equal; timings: seconds a stage; hashes, versions: of the weights the method used;
    device: what its networks computed on and in which number type, in words.

    Of a mosaic no maps are kept: fused is zero, scales is empty, and ladder names the resize factors.

    With SiMA+ also, of each crystal, origin int (n,): the scale it was taken from, and features float32 (n, k):
    the figures it was judged by (proposals.FEATURES, and two more if its network gives outlines)."""

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
