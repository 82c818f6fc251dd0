"""SiMA+ from predictions to a segmentation: the confidence network judges the proposals, and the surest are taken."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import expit

from crystalseg.networks.confidence import Confidence
from crystalseg.networks.weights import WeightsError
from crystalseg.segmentation.effort import EFFORTS, ENLARGED, LEAST_CONFIDENCE, Effort
from crystalseg.segmentation.fusion import ScalePrediction, fuse, no_maps
from crystalseg.segmentation.masks import Masks
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.proposals import (
    FEATURES,
    Candidates,
    Proposed,
    compared,
    critical,
    patches,
    propose,
    proposed,
    small_crystals,
)
from crystalseg.segmentation.pyramid import Pyramid, predict_scales, resized
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.selection import select, winners
from crystalseg.segmentation.settings import Instances, Settings, SettingsError
from crystalseg.segmentation.tiling import limits

JUDGED = 256  # proposals per batch of the judge
LEAST_FIT = 0.3  # least foreground × fit where there is no judge


def run(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Callable[[Progress], None]) -> Segmentation:
    """Run SiMA+. Unless the user chose the factors, a final factor enlarges the tiles with small crystals. Unless the
    effort is thorough, the finer factors only see the tiles where they matter."""
    judge_network = pyramid.models.judge(settings)
    network, effort = settings.architecture, EFFORTS[settings.effort]
    whole, finer = settings.steps(pyramid.shape)
    ends = np.linspace(0.95 / (len(finer) + 1), 0.95, len(finer) + 1)
    scales = predict_scales(pyramid, network, whole, [None] * len(whole), 0.0, clock, progress, (0, ends[0]))
    # The usual thresholds decide where to look more finely, so that other thresholds only give another view of the
    # maps.
    chooser = Chooser(judge_network, pyramid.pixels, Instances() if finer else settings.instances)
    chooser.add(scales)
    for factor, span in zip(finer, itertools.pairwise(ends), strict=True):
        progress(Progress("crystals", 0, 1, span[0]))
        where = places(chooser.chosen, factor, scales[-1].factor, effort)
        clock.lap("crystals")
        if not where.any():
            break
        more = predict_scales(pyramid, network, (factor,), [where], 1.0, clock, progress, span)
        chooser.add(more)
        scales += more
    progress(Progress("crystals", 0, 1, 0.96))
    if chooser.choice == settings.instances:
        chosen = chooser.chosen()
    else:
        chosen = choose(judge_network, scales, pyramid.pixels, settings.instances)
    return _segmentation(scales, chosen, settings)


def places(chosen: Callable[[float | None], "Chosen"], factor: float, last: float, effort: Effort) -> np.ndarray:
    """Return where an image needs a look at a finer `factor` after the `last` one, bool (H, W). chosen: returns the
    surest of the proposals above a confidence, or above the usual confidence for None."""
    if factor == ENLARGED:
        return small_crystals(chosen(None).labels)
    doubtful = chosen(LEAST_CONFIDENCE)
    return critical(doubtful.labels, doubtful.confidence, last, effort)


def rethreshold(
    segmentation: Segmentation, pixels: np.ndarray, settings: Settings, confidence: Confidence | None
) -> Segmentation:
    """Apply the thresholds of `settings` to a run, using the kept maps."""
    choice = settings.instances
    chosen = _surer(segmentation, choice)
    if chosen is None:
        if confidence is None:
            raise WeightsError("Other thresholds need the network that judges proposals, which is not loaded.")
        if not segmentation.scales:
            raise SettingsError("The maps of a mosaic are not kept. Measure it again with these thresholds.")
        chosen = choose(confidence, segmentation.scales, pixels, choice)
    new = (
        _segmentation(segmentation.scales, chosen, settings)
        if segmentation.scales
        else without_maps(chosen, settings, segmentation.factors)
    )
    return replace(
        new,
        timings=segmentation.timings,
        hashes=segmentation.hashes,
        versions=segmentation.versions,
        device=segmentation.device,
    )


@dataclass(frozen=True)
class Chosen:
    """The proposals that `select` takes. labels: int32 (H, W); confidence: of each crystal, float32 (n,); origin: the
    scale it comes from, int (n,); features: its figures, float32 (n, k), see proposals.FEATURES."""

    labels: np.ndarray
    confidence: np.ndarray
    origin: np.ndarray
    features: np.ndarray


class Chooser:
    """Chooses among the proposals of scales as they arrive, coarsest first. The figures of a single scale are computed
    once, even if more scales arrive later and all are compared again. pixels: the image, uint8 (H, W, 3)."""

    def __init__(self, confidence: Confidence, pixels: np.ndarray, choice: Instances):
        self.confidence, self.pixels, self.choice = confidence, pixels, choice
        self._span = limits(pixels)
        self._proposed: list[Proposed] = []
        self._seen: list[torch.Tensor] = []
        self._chosen: dict[float | None, Chosen] = {}

    def add(self, scales: Sequence[ScalePrediction]) -> None:
        """Add further scales."""
        self._chosen.clear()
        for scale in scales:
            is_first = not self._proposed
            own = proposed(scale, is_first, self.choice.foreground_threshold, self.choice.min_area)
            picture = resized(self.pixels, own.labels.shape, self._span)
            self._proposed.append(own)
            self._seen.append(looked(self.confidence, own, scale, picture))

    def chosen(self, lowest: float | None = None) -> Chosen:
        """Return the surest proposals of all scales, above the confidence `lowest` if it is given."""
        if lowest not in self._chosen:
            choice = self.choice if lowest is None else replace(self.choice, min_confidence=lowest)
            candidates = compared(self._proposed)
            features = [c.features for c in candidates]
            masks = [c.masks for c in candidates]
            shape = self.pixels.shape[:2]
            self._chosen[lowest] = surest(self.confidence, masks, features, self._seen, shape, choice)
        return self._chosen[lowest]


def surest(
    confidence: Confidence,
    masks: Sequence[Masks],
    features: Sequence[np.ndarray],
    seen: Sequence[torch.Tensor],
    shape: tuple[int, int],
    choice: Instances,
) -> Chosen:
    """Judge each scale's proposals by their features and by `looked`, and take the surest. shape: (H, W)."""
    scores = [_scores(confidence, *each) for each in zip(seen, features, strict=True)]
    labels, sure, sources = select(masks, scores, shape, choice.min_area, choice.min_confidence)
    own = np.array([features[k][number] for k, number in sources], np.float32)
    return Chosen(labels, sure, sources[:, 0], own.reshape(-1, features[0].shape[1]))


def choose(confidence: Confidence, scales: Sequence[ScalePrediction], pixels: np.ndarray, choice: Instances) -> Chosen:
    """Judge the proposals of every scale and take the surest."""
    chooser = Chooser(confidence, pixels, choice)
    chooser.add(scales)
    return chooser.chosen()


def chosen_by_fit(scales: Sequence[ScalePrediction], shape: tuple[int, int]) -> np.ndarray:
    """Return labels, int32 (H, W), of the proposals with the highest foreground × fit: a flow network without a
    judge."""
    choice = Instances()
    candidates = propose(scales, choice.foreground_threshold, choice.min_area)
    quality = [expit(c.features[:, FEATURES.index("quality")]) for c in candidates]
    return select([c.masks for c in candidates], quality, shape, choice.min_area, LEAST_FIT)[0]


def judge(
    confidence: Confidence, candidates: Sequence[Candidates], scales: Sequence[ScalePrediction], pixels: np.ndarray
) -> list[np.ndarray]:
    """Return the probability that each scale's proposals are right, float32 (n,), for the image uint8 (H, W, 3)."""
    span = limits(pixels)
    scores = []
    for one, scale in zip(candidates, scales, strict=True):
        seen = looked(confidence, one, scale, resized(pixels, one.labels.shape, span))
        scores.append(_scores(confidence, seen, one.features))
    return scores


def looked(
    confidence: Confidence,
    candidates: Candidates | Proposed,
    scale: ScalePrediction,
    picture: np.ndarray,
    wanted: Sequence[int] | None = None,
) -> torch.Tensor:
    """Return what the network sees in the pictures of a scale's proposals, or of those `wanted`: (n, k). `picture`: see
    proposals.patches."""
    wanted = range(1, int(candidates.labels.max()) + 1) if wanted is None else wanted
    device = confidence.line.device
    source = patches(candidates, scale, picture, wanted)
    seen = []
    for part in _parts(np.arange(len(wanted))):
        stack = np.array(list(itertools.islice(source, len(part))), np.float32)
        with torch.inference_mode():
            seen.append(confidence.look(torch.from_numpy(stack).to(device)))
    return torch.cat(seen) if seen else torch.zeros(0, 0, device=device)


def _scores(confidence: Confidence, seen: torch.Tensor, features: np.ndarray) -> np.ndarray:
    """Return the probability that each proposal of a scale is right, float32 (n,)."""
    scores = [np.zeros(0, np.float32)]
    for part in _parts(np.arange(len(features))):
        with torch.inference_mode():
            logit = confidence.judge(seen[part], torch.from_numpy(features[part]).to(seen.device))
        scores.append(logit.sigmoid().cpu().numpy())
    return np.concatenate(scores)


def _parts(values: np.ndarray) -> list[np.ndarray]:
    """Split values into parts that are judged at once, of JUDGED or a few more values."""
    return np.array_split(values, max(1, len(values) // JUDGED)) if len(values) else []


def _segmentation(scales: tuple[ScalePrediction, ...], chosen: Chosen, settings: Settings) -> Segmentation:
    weights = _weights(chosen, len(scales))
    fused = fuse(scales, weights, chosen.labels.shape, "attention")
    return Segmentation(
        chosen.labels,
        chosen.confidence,
        fused,
        scales,
        weights,
        settings,
        origin=chosen.origin,
        features=chosen.features,
    )


def without_maps(chosen: Chosen, settings: Settings, factors: Sequence[float]) -> Segmentation:
    """Return the result for an image whose maps are not kept."""
    return Segmentation(
        chosen.labels,
        chosen.confidence,
        no_maps(chosen.labels.shape),
        (),
        _weights(chosen, len(factors)),
        settings,
        origin=chosen.origin,
        features=chosen.features,
        ladder=tuple(map(float, factors)),
    )


def _weights(chosen: Chosen, count: int) -> np.ndarray:
    """Return `selection.winners` of `count` scales, or equal weights if no crystal was found."""
    weights = winners(chosen.labels, chosen.origin, count)
    weights[:-1] += weights[-1] / count
    return weights


def _surer(segmentation: Segmentation, choice: Instances) -> Chosen | None:
    """Return the choice of SiMA+ if only the lowest confidence rises, else None. The surest proposals were taken first,
    so the others had no influence on them."""
    before, origin, features = segmentation.settings.instances, segmentation.origin, segmentation.features
    if origin is None or features is None:
        return None  # labels reopened from the record
    if choice != replace(before, min_confidence=choice.min_confidence) or choice.min_confidence < before.min_confidence:
        return None
    count = int((segmentation.confidence >= choice.min_confidence).sum())
    labels = np.where(segmentation.labels <= count, segmentation.labels, 0)
    return Chosen(labels, segmentation.confidence[:count], origin[:count], features[:count])
