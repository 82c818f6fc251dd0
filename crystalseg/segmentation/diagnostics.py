"""Layers that explain a result: flow, foreground and attention per scale, which scale won where, reasons per
crystal."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.micrographs.labels import areas
from crystalseg.segmentation.colormap import categories, flow_colours, heat
from crystalseg.segmentation.methods import method_of
from crystalseg.segmentation.proposals import FEATURES
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.tiling import Grid

FOREGROUND_RANGE = (-6.0, 6.0)  # logit, from black to white


@dataclass(frozen=True)
class Layer:
    """A layer of a result. values: the computed values at their own resolution, float32 (h, w) or (2, h, w), or uint8
    (h, w) for categories; kind: `flow`, `foreground` (logit), `heat` (0..1) or `categories`; legend: colours and their
    meanings."""

    name: str
    values: np.ndarray
    kind: str
    legend: tuple[tuple[tuple[int, int, int], str], ...] = ()

    def picture(self) -> np.ndarray:
        """Return the layer as RGB, uint8 (h, w, 3)."""
        if self.kind == "flow":
            return flow_colours(self.values)
        if self.kind == "foreground":
            return heat(self.values, *FOREGROUND_RANGE)
        return heat(self.values) if self.kind == "heat" else categories(self.values)


def layers(segmentation: Segmentation, um_per_px: float | None) -> list[Layer]:
    """Return all layers of a result, the most informative first."""
    if not segmentation.factors:
        return []
    result = []
    if segmentation.attention is not None:
        words = scale_words(segmentation, um_per_px)
        best = segmentation.attention.argmax(axis=0)
        won = np.where(best == len(words), 0, best + 1).astype(np.uint8)
        legend = tuple((tuple(categories(np.array([[k]]))[0, 0].tolist()), w) for k, w in enumerate(words, start=1))
        result.append(Layer("which scale won here", won, "categories", legend))
    if not segmentation.scales:
        return result
    result += [
        Layer("fused flow", segmentation.fused.flow, "flow"),
        Layer("fused foreground", segmentation.fused.foreground, "foreground"),
    ]
    for scale in segmentation.scales:
        result.append(Layer(f"flow at × {scale.factor:.3g}", scale.flow, "flow"))
        result.append(Layer(f"foreground at × {scale.factor:.3g}", scale.foreground, "foreground"))
        if scale.outline is not None:
            result.append(Layer(f"outlines at × {scale.factor:.3g}", expit(scale.outline), "heat"))
    if segmentation.attention is not None:
        name = "crystals taken from" if method_of(segmentation.settings.method).selects else "attention for"
        result += [
            Layer(f"{name} {text}", values, "heat")
            for text, values in zip([*words, "background"], segmentation.attention, strict=True)
        ]
    return result


def scale_words(segmentation: Segmentation, um_per_px: float | None) -> list[str]:
    """Return each scale with the crystal sizes it covers, in µm if the pixel size is known.

    SiMA's levels are ranges of the longer side of the bounding box. SiMA+ has no levels, so the range of diameters of
    the crystals taken from a scale is given.
    """
    unit, size = ("µm", um_per_px) if um_per_px else ("px", 1.0)
    if segmentation.origin is not None:
        area = areas(segmentation.labels, len(segmentation.origin))[1:]
        sizes = [equivalent_diameter(area[segmentation.origin == k]) * size for k in range(len(segmentation.factors))]
        ranges = [
            f"{s.min():.3g} to {s.max():.3g} {unit}, {len(s)} crystals" if len(s) else "no crystal" for s in sizes
        ]
    else:
        side = max(segmentation.labels.shape) * size / 100
        limits = [*segmentation.settings.scales.levels, 0.0]
        ranges = [f"{low * side:.3g} to {high * side:.3g} {unit}" for high, low in itertools.pairwise(limits)]
    return [f"× {factor:.3g}: {words}" for factor, words in zip(segmentation.factors, ranges, strict=True)]


def tile_grid(segmentation: Segmentation, index: int) -> list[tuple[float, float, float, float]]:
    """Return the tiles of a scale that were computed: top, left, bottom, right in px of the image."""
    scale = segmentation.scales[index]
    grid = Grid(*scale.foreground.shape)
    up = [full / part for full, part in zip(segmentation.labels.shape, scale.foreground.shape, strict=True)]
    boxes = [grid.inside(corner)[0] for corner in grid.corners]
    return [
        (r.start * up[0], c.start * up[1], r.stop * up[0], c.stop * up[1])
        for r, c in boxes
        if scale.covered[r, c].all()
    ]


def explain(segmentation: Segmentation, number: int) -> list[tuple[str, str]]:
    """Explain crystal `number` of the labels in rows of name and value, for a reader who does not know networks."""
    mask = segmentation.labels == number
    rows = [("Confidence", f"{segmentation.confidence[number - 1]:.2f}")]
    weights = scale_weights(segmentation, mask)
    rows.append(
        (
            "Weight of each scale",
            ", ".join(f"× {f:.3g}: {100 * w:.0f} %" for f, w in zip(segmentation.factors, weights, strict=True)),
        )
    )
    if segmentation.features is not None and segmentation.origin is not None:
        logit, support, rival, parts = map(float, segmentation.features[number - 1][:4])
        factor = segmentation.factors[segmentation.origin[number - 1]]
        width = equivalent_diameter(mask.sum()) * factor
        rows += [
            ("Taken from", f"× {factor:.3g}, where it is {width:.0f} px wide"),
            ("Flow and foreground fit its shape", f"{expit(logit):.2f} of 1"),
            ("Best match at another scale", f"IoU {support:.2f} of 1"),
            ("A larger crystal around it", f"{rival:.2f} of 1, at a coarser scale"),
            ("Smaller crystals inside it", f"{parts:.2f} of its area, at a finer scale"),
        ]
        if segmentation.features.shape[1] > len(FEATURES):
            edge, crossed = map(float, segmentation.features[number - 1][len(FEATURES) :])
            rows += [("An outline is seen along its own", f"{edge:.2f} of 1"), ("And within it", f"{crossed:.2f} of 1")]
    elif segmentation.attention is not None:
        best = int(np.argmax(weights))
        rows.append(
            ("Size level", f"{best + 1} of {len(weights)}: {scale_words(segmentation, None)[best].split(': ')[1]}")
        )
    if segmentation.features is None and segmentation.scales:
        fused = segmentation.fused
        probability = expit(fused.foreground[mask])
        rows += [
            ("Mean foreground probability", f"{probability.mean():.2f}"),
            ("Mean length of the flow", f"{np.hypot(*fused.flow[:, mask]).mean():.2f} of 1 (short: scales disagree)"),
        ]
    return rows


def scale_weights(segmentation: Segmentation, mask: np.ndarray) -> Sequence[float]:
    """Return the mean share of each scale in the fused prediction over `mask`, bool (H, W); the shares sum to 1."""
    if segmentation.attention is None:
        return [1 / max(len(segmentation.scales), 1)] * len(segmentation.scales)
    h, w = segmentation.attention.shape[1:]
    y, x = np.nonzero(mask)
    here = segmentation.attention[:-1, (y * h) // mask.shape[0], (x * w) // mask.shape[1]]
    return (here / np.maximum(here.sum(axis=0), 1e-6)).mean(axis=1).tolist()
