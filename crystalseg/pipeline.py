"""`segment`: the one road from a Micrograph to a Segmentation (paper section III, figure 2)."""

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from crystalseg.attention import THRESHOLDS, place, regroup
from crystalseg.flows import keep_labels, labels_from_flows
from crystalseg.fusion import Prediction, ScalePrediction, fuse
from crystalseg.micrograph import Micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.networks.boundary import build_boundary
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.confidence import Confidence
from crystalseg.networks.sima import SIDE, build_sima
from crystalseg.networks.size import SizeModel
from crystalseg.networks.weights import (
    WeightsError,
    file_hash,
    flow_inputs,
    load_cellpose_file,
    load_weights,
)
from crystalseg.segmentation import Progress, Segmentation
from crystalseg.selection import ENLARGED, FEATURES, Candidates, patches, propose, select, small_crystals, winners
from crystalseg.settings import Instances, Settings
from crystalseg.tiling import Grid, blend, limits, normalise

BATCH = 8
JUDGED = 256  # proposals judged at once
# How the methods that add up flows do it.
FUSIONS = {"sima": "attention", "cellpose-multiscale": "average", "cellpose-maximum": "maximum"}


@dataclass(frozen=True)
class Models:
    """The networks, ready on a device. flow: CPNet, ours or a user's; attention: SiMA; confidence: judges SiMA+'s
    proposals; size: SizeModel for our CPNet's style; boundary: for the method of that name; these three None where
    there are no weights. thresholds: the size limits (%) SiMA was trained for; hashes: SHA-256 of each weights file;
    versions: their names and versions in words."""

    flow: CPNet
    attention: nn.Module
    confidence: Confidence | None
    size: SizeModel | None
    boundary: nn.Module | None
    device: torch.device
    thresholds: tuple[float, ...] = THRESHOLDS
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def load_confidence(directory: Path = DIRECTORY) -> Confidence:
    """The network that judges proposals, alone, on the CPU: enough for `again`."""
    return _load(Confidence(), directory, "confidence")


def _load(network: nn.Module, directory: Path, name: str) -> nn.Module:
    path = directory / f"{name}.safetensors"
    try:
        network.load_state_dict(load_weights(path, name)[0])
    except RuntimeError as error:
        remedy = f"take the file that came with this one, or remove it and train (python -m crystalseg train {name})"
        raise WeightsError(f"{path} is of another version of crystalseg: {remedy}.") from error
    return network.eval()


def load_models(directory: Path = DIRECTORY, device: str = "auto", flow_file: Path | None = None) -> Models:
    """The shipped networks (or those in another directory) for inference; WeightsError if a file is missing.

    Only cellpose.safetensors and sima.safetensors must be there; methods that need another file say so.
    `flow_file`: a Cellpose 2 or 3 model file, with two channels or three, to be used instead of our CPNet.
    """
    where = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    )
    path = {name: directory / f"{name}.safetensors" for name in ("cellpose", "sima", "confidence", "size", "boundary")}
    given = {name: p for name, p in path.items() if name in ("cellpose", "sima") or p.is_file()}
    if flow_file is not None:
        # the SizeModel reads the style vectors of our CPNet only
        given = {name: p for name, p in given.items() if name not in ("cellpose", "size")}
    cards = {name: load_weights(p, name)[1] for name, p in given.items()}
    thresholds = tuple(json.loads(cards["sima"].settings).get("thresholds", THRESHOLDS))
    hashes = {name: file_hash(p) for name, p in given.items()}
    versions = {name: card.version for name, card in cards.items()}
    makers = {"cellpose": CPNet, "sima": lambda: build_sima(len(thresholds)), "confidence": Confidence,
              "size": SizeModel, "boundary": build_boundary}  # fmt: skip
    networks = {name: _load(makers[name](), directory, name) for name in given}
    if flow_file is not None:
        state = load_cellpose_file(flow_file)
        networks["cellpose"] = CPNet(flow_inputs(state)).eval()
        networks["cellpose"].load_state_dict(state)
        hashes["cellpose"], versions["cellpose"] = file_hash(flow_file), f"file {Path(flow_file).name}"
    for network in networks.values():
        network.to(where, memory_format=torch.channels_last)
    return Models(
        networks["cellpose"], networks["sima"], networks.get("confidence"), networks.get("size"),
        networks.get("boundary"), where, thresholds, hashes, versions,
    )  # fmt: skip


def _autocast(device: torch.device) -> torch.autocast:
    """bf16 where the hardware computes in it; elsewhere it would only be slower."""
    native = device.type == "cuda" or (torch.backends.cpu.get_cpu_capability() == "AVX512" and _has_bf16())
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def _has_bf16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())


class View:
    """One image as the networks see it, at any resize factor.

    Baselines share it with `segment`; what is normalised once per image is kept here.
    """

    def __init__(self, models: Models, pixels: np.ndarray):
        """`pixels` uint8 (H, W, 3)."""
        self.models = models
        self.shape = pixels.shape[:2]
        self.pixels = pixels
        self._limits = limits(pixels)
        self._input, self._input_limits = pixels, self._limits
        if models.flow.inputs == 2:
            # Cellpose's own networks take gray and a second channel, which stays empty.
            gray = pixels.mean(axis=2, dtype=np.float32)
            self._input = np.stack((gray, np.zeros_like(gray)), axis=2)
            self._input_limits = limits(self._input)

    def picture(self) -> np.ndarray:
        """The image in colour, float32 (3, H, W), normalised."""
        return normalise(self.pixels, *self._limits)

    def attention(self) -> np.ndarray:
        """SiMA on the whole image: maps float32 (N + 1, h, w), 0..1, longer side 224."""
        _, (h, w) = place(self.shape, SIDE)
        small = normalise(cv2.resize(self.pixels, (w, h), interpolation=cv2.INTER_AREA), *self._limits)
        padded = np.pad(small, ((0, 0), (0, SIDE - h), (0, SIDE - w)))
        return self.run(lambda x: self.models.attention(x).sigmoid(), padded[None])[0, :, :h, :w]

    def run(self, network: Callable[[Tensor], Tensor], stack: np.ndarray) -> np.ndarray:
        """`network` on float32 (b, c, h, w) or vectors (b, c), as float32 array."""
        x = torch.from_numpy(stack).to(self.models.device)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), _autocast(self.models.device):
            return network(x).float().cpu().numpy()

    def grid(self, factor: float) -> Grid:
        """The tiles at a resize factor."""
        return Grid(*(max(1, round(length * factor)) for length in self.shape))

    def resized(self, factor: float) -> np.ndarray:
        """CPNet's input float32 (c, h, w) at a resize factor, normalised."""
        grid = self.grid(factor)
        return resized(self._input, (grid.height, grid.width), self._input_limits)

    def flow(
        self,
        factor: float,
        corners: list[tuple[int, int]] | None = None,
        report: Callable[[int], None] = lambda _: None,
    ) -> ScalePrediction:
        """CPNet at a resize factor, on all tiles or those at `corners`; `report(n)` after each batch of n tiles."""
        grid = self.grid(factor)

        def predict(stack: np.ndarray) -> np.ndarray:
            y = self.run(lambda x: self.models.flow(x)[0], stack)
            y[:, :2] /= 5  # the network's target is 5 × the unit flow
            report(len(stack))
            return y

        maps, covered = blend(grid, self.resized(factor), predict, corners, BATCH)
        if not covered.any():
            maps = np.zeros((3, grid.height, grid.width), np.float32)
        return ScalePrediction(factor, maps[:2], maps[2], covered)


def relevant_tiles(grid: Grid, share: np.ndarray, relevance: float) -> list[tuple[int, int]]:
    """The grid's corners whose tile has a pixel where `share` float32 (h, w), 0..1, reaches `relevance`."""
    h, w = share.shape
    up, across = h / grid.height, w / grid.width

    def matters(corner: tuple[int, int]) -> bool:
        rows, columns = grid.inside(corner)[0]
        # One map pixel of margin: the map is interpolated when it is enlarged.
        near = share[
            max(0, int(rows.start * up) - 1) : int(np.ceil(rows.stop * up)) + 1,
            max(0, int(columns.start * across) - 1) : int(np.ceil(columns.stop * across)) + 1,
        ]
        return bool(near.max() >= relevance)

    return [corner for corner in grid.corners if matters(corner)]


class Clock:
    """Seconds by stage."""

    def __init__(self):
        self.timings: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.timings[stage] = self.timings.get(stage, 0.0) + now - self._last
        self._last = now


def needed(network: nn.Module | None, name: str) -> nn.Module:
    """The network, or WeightsError with the remedy if there are no weights for it."""
    if network is None:
        raise WeightsError(f"This method needs {name} weights: train them (python -m crystalseg train {name}).")
    return network


def segment(
    micrograph: Micrograph,
    settings: Settings,
    models: Models,
    progress: Callable[[Progress], None] = lambda _: None,
    view: View | None = None,
) -> Segmentation:
    """Segment a micrograph's crystals by one of settings.LADDERS (`baselines.segment` knows the other methods too).

    `progress` is called after every batch of tiles and stage; it may raise `Cancelled`. `view`: of this image, if there
    is one already. See `Segmentation`.
    """
    view = view or View(models, micrograph.pixels)
    choice = settings.scales
    clock = Clock()
    if settings.method == "sima-plus":
        found = _by_selection(view, settings, clock, progress)
    else:
        factors = settings.ladder(view.shape)
        shares, attention = [None] * len(factors), None
        if settings.method == "sima":
            progress(Progress("attention", 0, 1, 0.0))
            attention = regroup(view.attention(), models.thresholds, choice.levels)
            shares = list(attention[:-1] / np.maximum(attention[:-1].sum(axis=0), 1e-6))
            clock.lap("attention")
        scales = predict_scales(view, factors, shares, choice.tile_relevance, clock, progress)
        progress(Progress("fusion", 0, 1, 0.96))
        fused = fuse(scales, attention, view.shape, FUSIONS[settings.method])
        clock.lap("fusion")
        progress(Progress("crystals", 0, 1, 0.98))
        labels, confidence = instances(fused, settings.instances)
        found = Segmentation(labels, confidence, fused, scales, attention, settings, {}, {}, {})
    clock.lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    return replace(found, timings=clock.timings, hashes=models.hashes, versions=models.versions)


def _by_selection(view: View, settings: Settings, clock: Clock, progress: Callable[[Progress], None]) -> Segmentation:
    """SiMA+. Unless the user chose the factors, a last one enlarges the tiles where small crystals are."""
    network = needed(view.models.confidence, "confidence")
    factors = settings.scales.octaves(view.shape)
    fixed = bool(settings.scales.factors)
    scales = predict_scales(view, factors, [None] * len(factors), 0.0, clock, progress, (0, 0.95 if fixed else 0.5))
    progress(Progress("crystals", 0, 1, 0.96 if fixed else 0.55))
    # Where to enlarge, the usual choices tell: others are then only another look at the same maps.
    choice = settings.instances if fixed else Instances()
    chosen = choose(network, scales, view.pixels, choice)
    clock.lap("crystals")
    more = () if fixed else enlarged(view, chosen.labels, clock, progress)
    progress(Progress("crystals", 0, 1, 0.96))
    if more or choice != settings.instances:
        scales += more
        chosen = choose(network, scales, view.pixels, settings.instances)
    return _selected(scales, chosen, settings)


def enlarged(
    view: View, labels: np.ndarray, clock: Clock, progress: Callable[[Progress], None] = lambda _: None
) -> tuple[ScalePrediction, ...]:
    """CPNet on the enlarged tiles where small crystals are among labels int32 (H, W); () if there are none."""
    small = small_crystals(labels)
    if not small.any():
        return ()
    return predict_scales(view, (ENLARGED,), [small.astype(np.float32)], 1.0, clock, progress, (0.6, 0.95))


def predict_scales(
    view: View,
    factors: Sequence[float],
    shares: Sequence[np.ndarray | None],
    relevance: float,
    clock: Clock,
    progress: Callable[[Progress], None],
    span: tuple[float, float] = (0.0, 0.95),
) -> tuple[ScalePrediction, ...]:
    """CPNet at all factors; with a share map, only on the tiles where it reaches `relevance`.

    `span`: the progress, 0..1, at the beginning and the end.
    """
    grids = [view.grid(factor) for factor in factors]
    plans = [
        grid.corners if share is None else relevant_tiles(grid, share, relevance)
        for grid, share in zip(grids, shares, strict=True)
    ]
    first, last = span
    a_tile = (last - first) / max(1, sum(map(len, plans)))
    before = 0
    scales = []
    for factor, corners in zip(factors, plans, strict=True):
        stage = f"scale {factor:.3g}"
        done = 0

        def report(tiles: int) -> None:
            nonlocal done
            done += tiles
            progress(Progress(stage, done, len(corners), first + a_tile * (before + done)))  # noqa: B023

        progress(Progress(stage, 0, len(corners), first + a_tile * before))
        scales.append(view.flow(factor, corners, report))
        before += len(corners)
        clock.lap(stage)
    return tuple(scales)


def judge(
    confidence: Confidence, candidates: Sequence[Candidates], scales: Sequence[ScalePrediction], pixels: np.ndarray
) -> list[np.ndarray]:
    """The probability that each scale's proposals are right, float32 (n,), in the image uint8 (H, W, 3)."""
    span = limits(pixels)
    return [
        _judge_one(confidence, one, scale, resized(pixels, one.labels.shape, span))
        for one, scale in zip(candidates, scales, strict=True)
    ]


def resized(pixels: np.ndarray, shape: tuple[int, int], span: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The image (H, W, c) at another size, normalised: float32 (c, h, w)."""
    if shape == pixels.shape[:2]:
        return normalise(pixels, *span)
    smaller = any(part < whole for part, whole in zip(shape, pixels.shape[:2], strict=True))
    smooth = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return normalise(cv2.resize(pixels, shape[::-1], interpolation=smooth), *span)


def _judge_one(
    confidence: Confidence, candidates: Candidates, scale: ScalePrediction, picture: np.ndarray
) -> np.ndarray:
    device = confidence.line.device
    source = patches(candidates.labels, scale, picture, range(1, len(candidates.features) + 1))
    sure = [np.zeros(0, np.float32)]
    for features in np.array_split(candidates.features, max(1, len(candidates.features) // JUDGED)):
        stack = np.array(list(itertools.islice(source, len(features))), np.float32)
        if len(stack):
            with torch.inference_mode():
                logit = confidence(torch.from_numpy(stack).to(device), torch.from_numpy(features).to(device))
            sure.append(logit.sigmoid().cpu().numpy())
    return np.concatenate(sure)


@dataclass(frozen=True)
class Chosen:
    """What `select` takes of the proposals, and the figures of each crystal taken, float32 (n, len(FEATURES))."""

    labels: np.ndarray
    sure: np.ndarray
    origin: np.ndarray
    features: np.ndarray


def choose(confidence: Confidence, scales: Sequence[ScalePrediction], pixels: np.ndarray, choice: Instances) -> Chosen:
    """Proposals of every scale, judged, the surest taken."""
    candidates = propose(scales, choice.foreground_threshold, choice.min_area)
    judged = judge(confidence, candidates, scales, pixels)
    labels, sure, chosen = select(candidates, judged, pixels.shape[:2], choice.min_area, choice.min_confidence)
    features = np.array([candidates[k].features[label - 1] for k, label in chosen], np.float32)
    return Chosen(labels, sure, chosen[:, 0], features.reshape(-1, len(FEATURES)))


def _selected(scales: tuple[ScalePrediction, ...], chosen: Chosen, settings: Settings) -> Segmentation:
    labels = chosen.labels
    weights = winners(labels, chosen.origin, len(scales))
    # Where no crystal was found, all scales are shown alike.
    weights[:-1] += weights[-1] / len(scales)
    fused = fuse(scales, weights, labels.shape, "attention")
    return Segmentation(
        labels, chosen.sure, fused, scales, weights, settings, {}, {}, {}, chosen.origin, chosen.features
    )


def instances(fused: Prediction, choice: Instances) -> tuple[np.ndarray, np.ndarray]:
    """Labels int32 (H, W) and each crystal's confidence float32 (n,) from the fused maps."""
    labels = labels_from_flows(fused.flow, fused.foreground, choice.foreground_threshold, choice.min_area)
    confidence = confidences(labels, fused)
    kept = confidence >= choice.min_confidence
    return keep_labels(labels, kept), confidence[kept]


def confidences(labels: np.ndarray, fused: Prediction) -> np.ndarray:
    """Mean over a crystal of foreground probability × flow length, float32 (n,), 0..1.

    The flow is short where scales or tiles disagree. The figure orders crystals by doubt; it is no calibrated
    probability.
    """
    probability = expit(fused.foreground)
    sure = probability * np.minimum(np.sqrt(np.square(fused.flow).sum(axis=0)), 1)
    area = np.bincount(labels.ravel())
    return (np.bincount(labels.ravel(), sure.ravel()) / np.maximum(area, 1))[1:].astype(np.float32)


def again(segmentation: Segmentation, pixels: np.ndarray, choice: Instances, confidence: Confidence) -> Segmentation:
    """The same run on the same `pixels` with other choices for instances, from the kept maps; the flow network does not
    run."""
    settings = replace(segmentation.settings, instances=choice)
    if settings.method == "sima-plus":
        chosen = _surer(segmentation, choice) or choose(confidence, segmentation.scales, pixels, choice)
        found = _selected(segmentation.scales, chosen, settings)
        kept = {"timings": segmentation.timings, "hashes": segmentation.hashes, "versions": segmentation.versions}
        return replace(found, **kept)
    labels, sure = instances(segmentation.fused, choice)
    return replace(segmentation, labels=labels, confidence=sure, settings=settings)


def _surer(found: Segmentation, now: Instances) -> Chosen | None:
    """What SiMA+ chooses with a higher least confidence, if nothing else changes: the surest were taken first, so that
    the others never had a say in them."""
    before = found.settings.instances
    if now != replace(before, min_confidence=now.min_confidence) or now.min_confidence < before.min_confidence:
        return None
    count = int((found.confidence >= now.min_confidence).sum())
    labels = np.where(found.labels <= count, found.labels, 0)
    return Chosen(labels, found.confidence[:count], found.origin[:count], found.features[:count])
