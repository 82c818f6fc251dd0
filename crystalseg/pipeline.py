"""`segment`: the one road from a Micrograph to a Segmentation (paper section III, figure 2)."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from crystalseg.attention import THRESHOLDS, place, regroup
from crystalseg.flows import labels_from_flows
from crystalseg.fusion import Prediction, ScalePrediction, fuse
from crystalseg.micrograph import Micrograph
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.sima import SIDE, build_sima
from crystalseg.networks.weights import DIRECTORY, file_hash, load_weights
from crystalseg.settings import Instances, Settings
from crystalseg.tiling import Grid, blend, limits, normalise

BATCH = 8


@dataclass(frozen=True)
class Models:
    """The two networks, ready on a device. thresholds: the size limits (%) SiMA was trained for; hashes: SHA-256 of
    each weights file; versions: their names and versions in words."""

    flow: CPNet
    attention: nn.Module
    device: torch.device
    thresholds: tuple[float, ...] = THRESHOLDS
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


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
    """labels int32 (H, W), 0 = background, 1..n; confidence float32 (n,), 0..1; fused Prediction at full size; scales:
    each scale's prediction at its own resolution; attention float32 (N + 1, h, w) or None if it was not needed;
    timings: seconds a stage; hashes: of the weights."""

    labels: np.ndarray
    confidence: np.ndarray
    fused: Prediction
    scales: tuple[ScalePrediction, ...]
    attention: np.ndarray | None
    settings: Settings
    timings: dict[str, float]
    hashes: dict[str, str]
    versions: dict[str, str]


def load_models(directory: Path = DIRECTORY, device: str = "auto") -> Models:
    """The shipped networks (or those in another directory) for inference; WeightsError if a file is missing."""
    where = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    )
    flow_state, flow_card = load_weights(directory / "cellpose.safetensors", "cellpose")
    attention_state, attention_card = load_weights(directory / "sima.safetensors", "sima")
    thresholds = tuple(json.loads(attention_card.settings).get("thresholds", THRESHOLDS))
    flow = CPNet()
    flow.load_state_dict(flow_state)
    attention = build_sima(len(thresholds))
    attention.load_state_dict(attention_state)
    return Models(
        flow.eval().to(where, memory_format=torch.channels_last),
        attention.eval().to(where, memory_format=torch.channels_last),
        where,
        thresholds,
        {name: file_hash(directory / f"{name}.safetensors") for name in ("cellpose", "sima")},
        {card.name: card.version for card in (flow_card, attention_card)},
    )


def _autocast(device: torch.device) -> torch.autocast:
    """bf16 where the hardware computes in it; elsewhere it would only be slower."""
    native = device.type == "cuda" or (torch.backends.cpu.get_cpu_capability() == "AVX512" and _has_bf16())
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def _has_bf16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())


def predict_flow(models: Models, stack: np.ndarray) -> np.ndarray:
    """CPNet on tiles float32 (b, 3, h, w), normalised; returns float32 (b, 3, h, w): unit flow dy, dx and the logit."""
    x = torch.from_numpy(stack).to(models.device, memory_format=torch.channels_last)
    with torch.inference_mode(), _autocast(models.device):
        y = models.flow(x)[0].float().cpu().numpy()
    y[:, :2] /= 5  # the network's target is 5 × the unit flow
    return y


def predict_attention(models: Models, image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """SiMA on a whole image uint8 (H, W, 3): maps float32 (N + 1, h, w), 0..1, longer side 224."""
    _, (h, w) = place(image.shape[:2], SIDE)
    small = normalise(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA), low, high)
    padded = np.pad(small, ((0, 0), (0, SIDE - h), (0, SIDE - w)))
    x = torch.from_numpy(padded[None]).to(models.device, memory_format=torch.channels_last)
    with torch.inference_mode(), _autocast(models.device):
        maps = models.attention(x)[0].float().sigmoid()
    return maps[:, :h, :w].cpu().numpy()


def relevant_tiles(grid: Grid, share: np.ndarray, relevance: float) -> list[tuple[int, int]]:
    """The grid's corners whose tile has a pixel where `share` float32 (h, w), 0..1, reaches `relevance`."""
    h, w = share.shape
    up, across = h / grid.height, w / grid.width

    def matters(y: int, x: int) -> bool:
        # One map pixel of margin: the map is interpolated when it is enlarged.
        rows = slice(max(0, int(y * up) - 1), int(np.ceil((y + grid.tile) * up)) + 1)
        columns = slice(max(0, int(x * across) - 1), int(np.ceil((x + grid.tile) * across)) + 1)
        return bool(share[rows, columns].max() >= relevance)

    return [corner for corner in grid.corners if matters(*corner)]


def segment(
    micrograph: Micrograph,
    settings: Settings,
    models: Models,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Segmentation:
    """Segment a micrograph's crystals.

    `progress` is called after every batch of tiles and stage; it may raise `Cancelled`. See `Segmentation`.
    """
    image = micrograph.pixels
    shape = image.shape[:2]
    choice = settings.scales
    factors = choice.ladder(shape)
    timings: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        timings[stage] = now - clock
        clock = now

    low, high = limits(image)
    attention = None
    shares: list[np.ndarray | None] = [None] * len(factors)
    if choice.fusion == "attention":
        progress(Progress("attention", 0, 1, 0.0))
        maps = predict_attention(models, image, low, high)
        attention = regroup(maps, models.thresholds, choice.thresholds)
        shares = list(attention[:-1] / np.maximum(attention[:-1].sum(axis=0), 1e-6))
    lap("attention")

    plans = []
    for factor, share in zip(factors, shares, strict=True):
        grid = Grid(max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
        plans.append(
            (
                factor,
                grid,
                relevant_tiles(grid, share, choice.tile_relevance) if share is not None else grid.corners,
            )
        )
    all_tiles = max(1, sum(len(corners) for _, _, corners in plans))
    before = 0
    scales = []
    for factor, grid, corners in plans:
        stage = f"scale {factor:.3g}"
        smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        resized = image if factor == 1 else cv2.resize(image, (grid.width, grid.height), interpolation=smooth)
        done = 0

        def predict(stack: np.ndarray) -> np.ndarray:
            nonlocal done
            result = predict_flow(models, stack)
            done += len(stack)
            progress(Progress(stage, done, len(corners), 0.95 * (before + done) / all_tiles))  # noqa: B023
            return result

        progress(Progress(stage, 0, len(corners), 0.95 * before / all_tiles))
        maps, covered = blend(grid, normalise(resized, low, high), predict, corners, BATCH)
        if not corners:
            maps = np.zeros((3, grid.height, grid.width), np.float32)
        scales.append(ScalePrediction(factor, maps[:2], maps[2], covered))
        before += len(corners)
        lap(stage)

    progress(Progress("fusion", 0, 1, 0.96))
    fused = fuse(scales, attention, shape, choice.fusion)
    lap("fusion")
    progress(Progress("crystals", 0, 1, 0.98))
    labels, confidence = instances(fused, settings.instances)
    lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    return Segmentation(
        labels, confidence, fused, tuple(scales), attention, settings, timings, models.hashes, models.versions
    )


def instances(fused: Prediction, choice: Instances) -> tuple[np.ndarray, np.ndarray]:
    """Labels int32 (H, W) and each crystal's confidence float32 (n,) from the fused maps; runs no network."""
    labels = labels_from_flows(fused.flow, fused.foreground, choice.foreground_threshold, choice.min_area)
    confidence = confidences(labels, fused)
    kept = confidence >= choice.min_confidence
    numbers = np.concatenate(([0], np.where(kept, np.cumsum(kept), 0))).astype(np.int32)
    return numbers[labels], confidence[kept]


def confidences(labels: np.ndarray, fused: Prediction) -> np.ndarray:
    """Mean over a crystal of foreground probability × flow length, float32 (n,), 0..1.

    The flow is short where scales or tiles disagree. The figure orders crystals by doubt; it is no calibrated
    probability.
    """
    probability = 1 / (1 + np.exp(-np.clip(fused.foreground, -30, 30)))
    sure = probability * np.minimum(np.sqrt(np.square(fused.flow).sum(axis=0)), 1)
    area = np.bincount(labels.ravel())
    return (np.bincount(labels.ravel(), sure.ravel()) / np.maximum(area, 1))[1:].astype(np.float32)


def again(segmentation: Segmentation, choice: Instances) -> Segmentation:
    """The same run with another foreground threshold or smallest area, from the kept maps."""
    labels, confidence = instances(segmentation.fused, choice)
    settings = replace(segmentation.settings, instances=choice)
    return replace(segmentation, labels=labels, confidence=confidence, settings=settings)
