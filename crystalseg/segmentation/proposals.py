"""SiMA+: take each crystal from the scale that shows it best.

Every scale proposes crystals from its own flow. A proposal is described by a small picture, which includes the output
of the flow network, and by a few figures: how well the flow fits the crystal's shape, and what the other scales propose
in the same place. A small network predicts the quality of the proposal from both (after Huang et al. 2019, Mask Scoring
R-CNN), and the best proposals are taken first.

The paper instead adds the flows of all scales, with weights by size in per cent of the image. Flows of different scales
for one crystal then disturb each other, and the scale that suits a percentage depends on the size of the image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from scipy.special import expit
from skimage.segmentation import find_boundaries

from crystalseg.micrographs.labels import areas, keep_labels, means
from crystalseg.segmentation.effort import Effort
from crystalseg.segmentation.flows import flows_from_labels, labels_from_flows
from crystalseg.segmentation.fusion import NOTHING, ScalePrediction
from crystalseg.segmentation.masks import LabelMasks, Masks, overlaps
from crystalseg.segmentation.tiling import TILE

FEATURES = (
    "quality",  # logit of the mean foreground probability × the mean fit of flow and shape
    "support",  # best IoU with a proposal of another scale
    "rival",  # best quality of a proposal of another scale at least twice as large that holds most of this one, 0..1
    "parts",  # share of this one taken by proposals of another scale at most half as large, × their quality
    "size",  # octaves of sqrt(area) above 25 px at the scale's own resolution
    "share",  # octaves of the area's share of the image, divided by 4, from 1.5 down
    "border",  # 1 if it touches the image's border
    "factor",  # octaves of the scale's resize factor, divided by 2; at most 0, the finest the network was trained on
)
# Flow networks with outlines add two features: the mean outline probability along the proposal's own outline, 0..1, and
# inside it, 0..1, which is high where one proposal covers two crystals.
# Channels of a proposal's picture: the image, the output of the flow network, the proposal and its neighbours. If the
# network gives outlines, they come last.
CHANNELS = ("red", "green", "blue", "foreground", "fit", "length", "divergence", "own", "others")
FIT_EXTENT = 96  # px; a shape needs no more resolution for its fit (docs/performance.md)
PATCH = 48  # px, side of the picture
CONTEXT = 1.5  # side of the picture as a multiple of the proposal's longer side
SMALLEST = 12  # px² at a scale's own resolution; smaller pieces have no shape
LARGEST = 1.25 * TILE  # px at that resolution; except at the coarsest scale, no tile shows larger crystals whole
# Crystals narrower than this (square root of the area) at the image's own resolution are seen better when enlarged.
SMALL = 20  # px
# If they are less than this share of all crystals, they are too often pieces of larger ones.
LEAST_SMALL = 0.25


@dataclass(frozen=True)
class Proposed:
    """Crystals that one scale proposes, with its own figures, at its resolution. labels: int32 (h, w); fit: float32
    (h, w), see `flow_fit`; quality: (n,), see `fit_quality`; figures: (n, k), FEATURES from `size` on."""

    labels: np.ndarray
    fit: np.ndarray
    quality: np.ndarray
    figures: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Crystals that one scale proposes, compared with those of other scales. labels: int32 (h, w); features: float32
    (n, k), FEATURES and, with outlines, two more; fit: float32 (h, w), see `flow_fit`."""

    labels: np.ndarray
    features: np.ndarray
    fit: np.ndarray

    @property
    def masks(self) -> LabelMasks:
        """Return the masks of the labels."""
        return LabelMasks(self.labels)


def propose(scales: Sequence[ScalePrediction], foreground_threshold: float, min_area: int) -> list[Candidates]:
    """Return the proposals of each scale, coarsest scale first. `min_area`: px² of the image, not of the scale."""
    return compared([proposed(scale, k == 0, foreground_threshold, min_area) for k, scale in enumerate(scales)])


def proposed(scale: ScalePrediction, is_coarsest: bool, foreground_threshold: float, min_area: int) -> Proposed:
    """Return the proposals of one scale with its own figures."""
    labels = traced(scale, is_coarsest, foreground_threshold, min_area)
    fit = flow_fit(labels, scale)
    return Proposed(labels, fit, fit_quality(labels, scale, fit), own_figures(labels, scale))


def traced(scale: ScalePrediction, is_coarsest: bool, foreground_threshold: float, min_area: int) -> np.ndarray:
    """Return the crystals that a scale proposes, int32 (h, w), 1..n. `min_area`: px² of the image, not of the scale."""
    smallest = max(SMALLEST, round(min_area * scale.factor**2))
    foreground = np.where(scale.covered, scale.foreground, NOTHING)
    labels = labels_from_flows(scale.flow, foreground, foreground_threshold, smallest)
    if not is_coarsest and scale.factor > 1:
        # Larger crystals are visible in the image itself, which has no interpolated pixels.
        labels = keep_labels(labels, _width(labels) < 1.5 * SMALL * scale.factor)
    if not scale.covered.all():
        # A proposal at the edge of the computed tiles may be a piece of something larger.
        inside = ndimage.binary_erosion(scale.covered, border_value=True)
        labels = keep_labels(labels, ~np.isin(np.arange(labels.max()) + 1, labels[~inside]))
    return labels if is_coarsest else _without_large(labels)


def compared(scales: Sequence[Proposed]) -> list[Candidates]:
    """Compare the proposals of the scales with each other, coarsest scale first."""
    features = features_of(
        [LabelMasks(scale.labels) for scale in scales],
        [scale.quality for scale in scales],
        [scale.figures for scale in scales],
    )
    return [Candidates(scale.labels, f, scale.fit) for scale, f in zip(scales, features, strict=True)]


def features_of(
    masks: Sequence[Masks], quality: Sequence[np.ndarray], figures: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return `Candidates.features` of each scale's masks, coarsest scale first, from quality and figures of
    `Proposed`."""
    relations = _relations(masks, quality)
    return [
        np.column_stack((np.log(q / (1 - q)), others, own)).astype(np.float32)
        for q, others, own in zip(quality, relations, figures, strict=True)
    ]


def small_crystals(labels: np.ndarray) -> np.ndarray:
    """Return where the crystals narrower than SMALL are in labels int32 (H, W) of the image, bool (H, W). The result is
    empty if they are less than LEAST_SMALL of all crystals."""
    small = _width(labels) < SMALL
    many = small.sum() >= LEAST_SMALL * len(small)
    return np.concatenate(([False], small & many))[labels]


def critical(labels: np.ndarray, confidence: np.ndarray, factor: float, effort: Effort) -> np.ndarray:
    """Return where to look more finely than at a resize factor: at doubtful and small crystals of labels int32 (H, W)
    with confidence float (n,); bool (H, W)."""
    small = _width(labels) * factor < effort.width
    return np.concatenate(([False], small | (confidence < (effort.doubt or 0))))[labels]


def _width(labels: np.ndarray) -> np.ndarray:
    """Return the square root of each label's area, (n,)."""
    return np.sqrt(areas(labels)[1:])


def _without_large(labels: np.ndarray) -> np.ndarray:
    sides = [max(b.stop - b.start for b in box) for box in ndimage.find_objects(labels)]
    return keep_labels(labels, np.array(sides) <= LARGEST)


def own_figures(
    labels: np.ndarray, scale: ScalePrediction, whole: int = 0, edges: Sequence[bool] = (True, True, True, True)
) -> np.ndarray:
    """Return size, share, border and factor of each label, (n, 4), with edge and crossed, (n, 6), if there are
    outlines.

    `whole`: number of pixels of the complete scale; `edges`: whether top, bottom, left and right of this part are edges
    of the image.
    """
    area = areas(labels)[1:]
    border = np.zeros(len(area) + 1)
    for line, is_border in zip((labels[0], labels[-1], labels[:, 0], labels[:, -1]), edges, strict=True):
        border[line] = np.maximum(border[line], is_border)
    share = 1.5 + np.log2(area / (whole or labels.size)) / 4
    rung = np.full(len(area), min(np.log2(scale.factor) / 2, 0))
    figures = (np.log2(np.sqrt(area) / 25), share, border[1:], rung)
    return np.column_stack(figures if scale.outline is None else (*figures, *_outlined(labels, scale.outline)))


def _outlined(labels: np.ndarray, outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edge and crossed of each label, (n,) each."""
    probability = expit(outline)
    line = find_boundaries(labels, mode="inner")
    deep = ~ndimage.binary_dilation(line, iterations=3)
    means = []
    for where in (line, deep):
        area, total = (np.bincount(labels[where], w, labels.max() + 1)[1:] for w in (None, probability[where]))
        means.append(total / np.maximum(area, 1))
    return means[0], means[1]


def _relations(masks: Sequence[Masks], quality: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return support, rival and parts of each mask, (n, 3); two scales are compared at the coarser resolution.

    `quality`: of each mask, (n,), 0..1.
    """
    table = [np.zeros((len(values), 3)) for values in quality]
    for i, coarser in enumerate(masks[:-1]):
        coarse = coarser.painted()
        own = areas(coarse)[1:]
        for j in range(i + 1, len(masks)):
            both, other = overlaps(coarse, masks[j])
            both = both.tocoo()
            _relate(table[i], both.row, both.col, (own, other), both.data, quality[j])
            _relate(table[j], both.col, both.row, (other, own), both.data, quality[i])
    return table


def _relate(
    table: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    areas: tuple[np.ndarray, np.ndarray],
    shared: np.ndarray,
    quality: np.ndarray,
) -> None:
    """Update `table` (n, 3) with pairs of overlapping masks; `quality` is the quality of the other masks."""
    mine, theirs = areas[0][own], areas[1][other]
    np.maximum.at(table[:, 0], own, shared / (mine + theirs - shared))
    holds = (theirs >= 2 * mine) & (shared > 0.5 * mine)
    np.maximum.at(table[:, 1], own[holds], quality[other[holds]])
    part = (theirs <= 0.5 * mine) & (shared > 0.5 * theirs)
    taken = np.bincount(own[part], shared[part] / mine[part] * quality[other[part]], minlength=len(table))
    np.maximum(table[:, 2], taken, out=table[:, 2])


def flow_fit(labels: np.ndarray, scale: ScalePrediction) -> np.ndarray:
    """Return the component of the flow along the flow of the labels' own shapes, -1..1, float32 (h, w)."""
    return np.clip((scale.flow * flows_from_labels(labels, FIT_EXTENT)).sum(axis=0), -1, 1)


def fit_quality(labels: np.ndarray, scale: ScalePrediction, fit: np.ndarray) -> np.ndarray:
    """Return mean foreground probability × mean `flow_fit` of each label, (n,), clipped to 0..1. Short flow, flow
    toward another place and doubtful foreground lower it."""
    return np.clip(means(labels, expit(scale.foreground)) * means(labels, fit), 1e-3, 1 - 1e-3)


def patches(
    candidates: Candidates | Proposed, scale: ScalePrediction, picture: np.ndarray, wanted: Sequence[int]
) -> Iterator[np.ndarray]:
    """Return the picture of each `wanted` label, float32 (len(CHANNELS), PATCH, PATCH), with one more channel if there
    are outlines. The label is in the middle, with some ground around it; pixels outside the image are zero.

    `picture`: float32 (3, h, w), normalised, at the scale's resolution.
    """
    labels = candidates.labels
    divergence = sum(np.gradient(f, axis=k) if f.shape[k] > 1 else 0 * f for k, f in enumerate(scale.flow))
    before: list[np.ndarray] = [
        *np.clip(picture, -0.5, 1.5),
        expit(scale.foreground),
        candidates.fit,
        np.minimum(np.hypot(*scale.flow), 1.2),
        np.clip(divergence, -1, 1),
    ]
    after = [] if scale.outline is None else [expit(scale.outline)]
    boxes = ndimage.find_objects(labels)
    for label in wanted:
        box = boxes[label - 1]
        reach = CONTEXT / 2 * max(b.stop - b.start for b in box) + 2
        first = [int(np.floor((b.start + b.stop) / 2 - reach)) for b in box]
        last = [int(np.ceil((b.start + b.stop) / 2 + reach)) for b in box]
        inside = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(first, last, labels.shape, strict=True))
        part = labels[inside]
        own = part == label
        shown = [*(m[inside] for m in before), own, (part > 0) & ~own, *(m[inside] for m in after)]
        stack = np.zeros((len(shown), last[0] - first[0], last[1] - first[1]), np.float32)
        rows, columns = (slice(s.start - a, s.stop - a) for s, a in zip(inside, first, strict=True))
        for channel, values in zip(stack, shown, strict=True):
            channel[rows, columns] = values
        smooth = cv2.INTER_AREA if stack.shape[1] > PATCH else cv2.INTER_LINEAR
        picture_of = np.empty((len(stack), PATCH, PATCH), np.float32)
        for channel, resized in zip(stack, picture_of, strict=True):
            cv2.resize(channel, (PATCH, PATCH), dst=resized, interpolation=smooth)
        yield picture_of
