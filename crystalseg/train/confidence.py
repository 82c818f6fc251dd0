"""Training the confidence of SiMA+: what the flow network proposes on images with known truth, and what of it is right.

The flow network must be the one the confidence will judge; it is trained first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from crystalseg.evaluate.reliability import calibration_error, is_right, reliability
from crystalseg.micrograph import read_pairs
from crystalseg.networks import DIRECTORY
from crystalseg.networks.confidence import Confidence
from crystalseg.pipeline import Models, View, judge, load_models
from crystalseg.selection import Candidates, propose, select
from crystalseg.settings import Instances, Scales
from crystalseg.synth import draw, draw_grain
from crystalseg.train.loop import Budget, Order, changed, keep_best

GRAINS_SEED = 77  # of the grains for calibration; the benchmark has another
MOST_PIXELS = 1_500_000


@dataclass(frozen=True)
class Recipe:
    """images: number of training images; crop: their longest side if cut from real ones, px; sides: range of the
    synthetic ones' sides, px; synthetic: their share. grains: number of grains drawn for the calibration; lowest:
    confidence above which crystals are selected for it."""

    images: int = 90
    crop: int = 640
    sides: tuple[int, int] = (200, 1100)
    synthetic: float = 0.6
    grains: int = 15
    lowest: float = 0.15


@dataclass(frozen=True)
class Judged:
    """One image's proposals; right: for each scale, which proposals have IoU > 0.5 with a true crystal, bool (n,)."""

    truth: np.ndarray
    candidates: list[Candidates]
    right: list[np.ndarray]


def proposals(models: Models, pixels: np.ndarray, truth: np.ndarray) -> Judged:
    """What every scale proposes on an image uint8 (H, W, 3), and whether it is right by labels int32 (H, W)."""
    view = View(models, pixels)
    scales = [view.flow(factor) for factor in Scales().octaves(view.shape)]
    choice = Instances()
    candidates = propose(scales, choice.foreground_threshold, choice.min_area)
    right = []
    for c in candidates:
        # float32 holds every label exactly
        full = cv2.resize(c.labels.astype(np.float32), truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        right.append(is_right(truth, full.astype(np.int32), len(c.features)))
    return Judged(truth, candidates, right)


def _images(folders: Sequence[Path], recipe: Recipe, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless synthetic images and crops of the folders' images, with labels. Seeds are even, as in all training."""
    rng = np.random.default_rng(seed)
    sets = [[(m.pixels, labels) for m, labels in read_pairs(folder)] for folder in folders]
    while True:
        if not sets or rng.random() < recipe.synthetic:
            side = np.exp(rng.uniform(*np.log(recipe.sides)))
            shape = tuple(int(side * s) for s in np.exp(rng.uniform(-0.2, 0.2, 2)))
            drawn = draw(2 * int(rng.integers(2**60)), shape)
            yield drawn.image, drawn.labels
            continue
        chosen = sets[rng.integers(len(sets))]
        pixels, labels = chosen[rng.integers(len(chosen))]
        cut = []
        for length in labels.shape:
            start = int(rng.integers(max(length - recipe.crop, 0) + 1))
            cut.append(slice(start, start + recipe.crop))
        yield pixels[tuple(cut)], labels[tuple(cut)]


def fit(network: Confidence, images: Sequence[Judged], ridge: float = 1e-3) -> None:
    """Fit the regression to all proposals by cross-entropy.

    A proposal weighs 1 / sqrt(n) of its image's n: images of thousands of crystals would otherwise be all that counts.
    """
    features = torch.from_numpy(np.concatenate([c.features for image in images for c in image.candidates]))
    right = torch.from_numpy(np.concatenate([r for image in images for r in image.right])).float()
    counts = np.array([sum(map(len, image.right)) for image in images])
    if not right.any():
        raise ValueError("The flow network proposes no right crystal on the training images: train it first.")
    weight = torch.from_numpy(np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)).float()
    _minimise(
        list(network.parameters()),
        lambda: (
            functional.binary_cross_entropy_with_logits(network(features), right, weight / weight.mean())
            + ridge * network.linear.weight.square().sum()
        ),
    )


def _minimise(parameters: list[Tensor], loss: Callable[[], Tensor]) -> None:
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)


def selected(network: Confidence, images: Sequence[Judged], lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidence (n,) of the crystals SiMA+ selects in all images, and whether each is right, bool (n,)."""
    sure, right = [], []
    for image in images:
        scores = [judge(network, c.features) for c in image.candidates]
        labels, confidence, _ = select(image.candidates, scores, image.truth.shape, Instances().min_area, lowest)
        sure.append(confidence)
        right.append(is_right(image.truth, labels, len(confidence)))
    return np.concatenate(sure), np.concatenate(right)


def calibrate(network: Confidence, images: Sequence[Judged], lowest: float) -> None:
    """Stretch and shift the logits so that they are true of the crystals selected in `images` (Platt 1999): the surest
    of several proposals is more often wrong than its own figures say. The order of proposals stays."""
    sure, right = selected(network, images, lowest)
    if right.all() or not right.any():
        return  # no line can be drawn
    logit = torch.logit(torch.from_numpy(sure), eps=1e-6)
    target = torch.from_numpy(right).float()
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    _minimise([line], lambda: functional.binary_cross_entropy_with_logits(line[0] * logit + line[1], target))
    with torch.no_grad():
        network.linear.weight.mul_(line[0])
        network.linear.bias.copy_(line[0] * network.linear.bias + line[1])


def train(order: Order) -> Path:
    """Train the confidence; returns the path of its weights. `order.start`: folder of the networks it will judge, else
    the shipped ones. Validation folders and fresh grains calibrate it; the loss on record is the calibration error
    there, and `experiment reliability` tells that on other images."""
    choice, limit = changed(Recipe(), order.recipe), changed(Budget(), order.budget)
    torch.manual_seed(limit.seed)
    models = load_models(order.start or DIRECTORY)
    source = _images(order.folders, choice, limit.seed)
    images = [proposals(models, *next(source)) for _ in range(choice.images)]
    network = Confidence()
    fit(network, images)
    network.eval()
    whole = [(m.pixels, labels) for folder in order.validation for m, labels in read_pairs(folder)]
    grains = [draw_grain(GRAINS_SEED, i, 1 + i % 3) for i in range(choice.grains)]
    whole += [(g.image, g.labels) for g in grains if g.labels.size < MOST_PIXELS]
    if not whole:
        raise ValueError("The confidence needs images to be calibrated on: give --validation or ask for grains.")
    judged = [proposals(models, *pair) for pair in whole]
    calibrate(network, judged, choice.lowest)
    table = reliability(*selected(network, judged, choice.lowest))
    error = calibration_error(table)
    print(table.to_string(float_format="%.3f"))
    print(f"expected calibration error on the validation images: {error:.3f}")
    order.output.mkdir(parents=True, exist_ok=True)
    path = order.output / "confidence.safetensors"
    record = {"validation_loss": error, "minutes": 0, "step": choice.images}
    keep_best(path, "confidence", order.folders, asdict(choice), network, record)
    return path
