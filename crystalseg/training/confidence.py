"""Train the confidence of SiMA+: learn which proposals of a flow network are right, from images with known truth.

Train the flow network first: the confidence must learn from the flow network that it will judge.
"""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from crystalseg.errors import UserError
from crystalseg.evaluation.reliability import best_iou, expected_calibration_error, is_right, reliability
from crystalseg.networks import DIRECTORY
from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation.effort import ENLARGED
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.methods import JUDGES
from crystalseg.segmentation.models import Models, load_models
from crystalseg.segmentation.proposals import Candidates, patches, propose, small_crystals
from crystalseg.segmentation.pyramid import Pyramid, relevant_tiles, resized
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.selection import select
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.segmentation.sima_plus import chosen_by_fit, judge
from crystalseg.segmentation.tiling import limits
from crystalseg.synthetic.sets import draw_grain
from crystalseg.training.data import MOST_PIXELS, endless_images
from crystalseg.training.loop import TrainingArguments, changed, save_trained
from crystalseg.training.sources import name_of, read_source

GRAINS_SEED = 77  # seed of the grains for Platt scaling; the benchmark uses another
COLLECTING, LEARNING = 0.55, 0.3  # shares of the minutes, if given; the rest is for Platt scaling
TRIED = 10  # steps that are timed to find how long one takes


@dataclass(frozen=True)
class Recipe:
    """How the confidence is trained.

    images: number of training images. With 0, an existing network is only Platt-scaled, for another flow network or
        material.
    crop: range of the longest side cut from real images, px. sides: range of the sides of synthetic images, px.
    synthetic: share of synthetic images; half of them are grains.
    proposals: the most proposals taken from one scale of an image.
    epochs, batch, learning_rate: of the training.
    average: decay per step of the moving average of the weights; the average is kept.
    grains: number of grains drawn for Platt scaling. lowest: crystals above this confidence are selected for it.
    minutes: if positive, fewer images and steps are taken where the full numbers would take longer.
    seed: of images and initial weights.
    """

    images: int = 240
    crop: tuple[int, int] = (400, 900)
    sides: tuple[int, int] = (200, 900)
    synthetic: float = 0.67
    proposals: int = 150
    epochs: int = 12
    batch: int = 128
    learning_rate: float = 2e-3
    average: float = 0.99
    grains: int = 15
    lowest: float = 0.15
    minutes: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """One image uint8 (H, W, 3), its true labels, what each scale predicts and proposes there, and the best IoU of each
    proposal with a true crystal, (n,). checked: bool (H, W), where the labels are right, or None if they are right
    everywhere."""

    pixels: np.ndarray
    truth: np.ndarray
    scales: Sequence[ScalePrediction]
    candidates: list[Candidates]
    iou: list[np.ndarray]
    checked: np.ndarray | None = None

    def known(self, labels: np.ndarray, count: int) -> np.ndarray:
        """Whether each of the labels 1..count, integer (h, w), lies where the truth is known: bool (count,)."""
        if self.checked is None:
            return np.ones(count, bool)
        size = labels.shape[::-1]
        checked = cv2.resize(self.checked.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return np.bincount(labels[~checked], minlength=count + 1)[1:] == 0


@dataclass(frozen=True)
class Examples:
    """Proposals to learn from. pictures: float16 (n, channels, 48, 48). features: float32 (n, figures). target: float32
    (n,), the IoU of right proposals, else 0. weight: float32 (n,). images: the number of images that they come from."""

    pictures: np.ndarray
    features: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    images: int


def proposals(
    models: Models, network: str, pixels: np.ndarray, truth: np.ndarray, checked: np.ndarray | None = None
) -> Judged:
    """Collect the proposals of every scale of a flow network on an image uint8 (H, W, 3). They are scored against
    labels int32 (H, W), which are right where `checked`."""
    pyramid, choice = Pyramid(models, pixels), Instances()
    scales = tuple(pyramid.flow(network, factor) for factor in Scales().octaves(pyramid.shape))
    # Foreground and fit decide where to enlarge, so that the result does not depend on an earlier confidence.
    small = small_crystals(chosen_by_fit(scales, pyramid.shape))
    if small.any():
        scales += (pyramid.flow(network, ENLARGED, relevant_tiles(pyramid.grid(ENLARGED), small, 1.0)),)
    candidates = propose(scales, choice.foreground_threshold, choice.min_area)
    return Judged(pixels, truth, scales, candidates, [_best_iou(truth, c.labels) for c in candidates], checked)


def _best_iou(truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    # float32 holds every label exactly
    full = cv2.resize(labels.astype(np.float32), truth.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int32)
    return best_iou(truth, full, int(labels.max()))


def examples(images: Iterable[Judged], most: int, seed: int) -> Examples:
    """Take up to `most` proposals of each scale of each image.

    A proposal weighs 1 / sqrt(n), where n is the number of proposals of its image. Otherwise images with thousands of
    crystals would outweigh all others.
    """
    rng = np.random.default_rng(seed)
    pictures: list[np.ndarray] = []
    features: list[np.ndarray] = []
    target: list[float] = []
    weight: list[float] = []
    seen = 0
    for image in images:
        seen += 1
        span = limits(image.pixels)
        before = len(target)
        for scale, candidates, iou in zip(image.scales, image.candidates, image.iou, strict=True):
            chosen = rng.permutation(np.flatnonzero(image.known(candidates.labels, len(iou))))[:most]
            picture = resized(image.pixels, candidates.labels.shape, span)
            pictures += [p.astype(np.float16) for p in patches(candidates, scale, picture, (chosen + 1).tolist())]
            features += list(candidates.features[chosen])
            target += np.where(iou[chosen] > 0.5, iou[chosen], 0).tolist()
        count = len(target) - before
        weight += [max(count, 1) ** -0.5] * count
    weights = np.array(weight, np.float32)
    if not any(target):
        raise UserError("The flow network proposes no right crystal on the training images. Train it first.")
    weights /= weights.mean()
    return Examples(np.array(pictures), np.array(features), np.array(target, np.float32), weights, seen)


def fit(network: Confidence, data: Examples, recipe: Recipe, began: float = 0.0) -> None:
    """Train by cross-entropy on the IoU of right proposals, so that the better of several right proposals ranks first.
    Pictures are turned, mirrored, and changed in brightness and contrast. `began`: the value of `time.monotonic`, s,
    from which the recipe's minutes count."""
    rng = np.random.default_rng(recipe.seed)
    device = network.line.device
    steps = max(1, recipe.epochs * len(data.target) // recipe.batch)
    if recipe.minutes:
        steps = min(steps, _affordable(network, data, recipe, began))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-3)
    whole = max(steps, 20)  # a tenth of ten steps would give a warm-up of zero, by which the schedule divides
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=whole, pct_start=0.1)
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    network.train()
    losses = []
    for step in range(1, steps + 1):
        chosen = rng.choice(len(data.target), min(recipe.batch, len(data.target)))
        pictures = torch.from_numpy(data.pictures[chosen].astype(np.float32)).rot90(int(rng.integers(4)), (2, 3))
        if rng.random() < 0.5:
            pictures = pictures.flip(3)
        pictures[:, :3] = pictures[:, :3] * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.08)
        features, target, weight = (
            torch.from_numpy(part[chosen]).to(device) for part in (data.features, data.target, data.weight)
        )
        logit = network(pictures.to(device), features)
        loss = functional.binary_cross_entropy_with_logits(logit, target, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        mean.update_parameters(network)
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"\rstep {step} of {steps}  loss {np.mean(losses[-200:]):.4f}", end="", flush=True)
    network.load_state_dict(mean.module.state_dict())
    network.eval()


def _affordable(network: Confidence, data: Examples, recipe: Recipe, began: float) -> int:
    """Return how many steps there is time for, judged by the time that a few take."""
    trial = replace(recipe, epochs=1, minutes=0.0)
    few = min(len(data.target), TRIED * recipe.batch)
    part = Examples(data.pictures[:few], data.features[:few], data.target[:few], data.weight[:few], data.images)
    start = time.monotonic()
    fit(copy.deepcopy(network), part, trial)
    now = time.monotonic()
    left = began + 60 * recipe.minutes * (COLLECTING + LEARNING) - now
    return max(TRIED, int(left / (now - start) * max(1, few // recipe.batch)))


def _minimise(parameters: list[Tensor], loss: Callable[[], Tensor]) -> None:
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)


def selected(network: Confidence, images: Sequence[Judged], lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence (n,) of the crystals that SiMA+ selects in all images where the truth is known, and whether
    each is right: bool (n,)."""
    sure, right = [], []
    for image in images:
        scores = judge(network, image.candidates, image.scales, image.pixels)
        masks = [candidates.masks for candidates in image.candidates]
        labels, confidence, _ = select(masks, scores, image.truth.shape, Instances().min_area, lowest)
        known = image.known(labels, len(confidence))
        sure.append(confidence[known])
        right.append(is_right(image.truth, labels, len(confidence))[known])
    return np.concatenate(sure), np.concatenate(right)


def error_of_kinds(network: Confidence, images: Sequence[Judged], kinds: Sequence[str], lowest: float) -> pd.DataFrame:
    """Return for each kind of image the number of selected crystals, their mean confidence, the share that is right,
    and the expected calibration error. `kinds`: the kinds of the first images; the others are drawn."""
    rows = {}
    named = [*kinds, *["drawn"] * (len(images) - len(kinds))]
    for kind in dict.fromkeys(named):
        sure, right = selected(network, [one for one, of in zip(images, named, strict=True) if of == kind], lowest)
        if len(sure):
            error = expected_calibration_error(reliability(sure, right))
            rows[kind] = {"crystals": len(sure), "confidence": sure.mean(), "right": right.mean(), "error": error}
    return pd.DataFrame.from_dict(rows, orient="index")


def platt_scale(network: Confidence, images: Sequence[Judged], lowest: float) -> None:
    """Scale and shift the logits so that they are true of the crystals selected in `images` (Platt 1999). The most
    certain of several proposals is wrong more often than its own confidence says. The order of proposals stays the
    same."""
    sure, right = selected(network, images, lowest)
    if right.all() or not right.any():
        return  # no line can be fitted
    logit = torch.logit(torch.from_numpy(sure), eps=1e-6)
    target = torch.from_numpy(right).float()
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    _minimise([line], lambda: functional.binary_cross_entropy_with_logits(line[0] * logit + line[1], target))
    with torch.no_grad():
        network.line.copy_(torch.stack((line[0] * network.line[0], line[0] * network.line[1] + line[1])))


def train(arguments: TrainingArguments, network: str = "cellpose") -> Path:
    """Train the confidence of a flow network's proposals. Returns the path of its weights.

    `arguments.start`: the folder of the networks that it will judge, or None for the shipped ones. The validation
    folders and fresh grains are used for Platt scaling. The loss on record is the expected calibration error on them;
    `experiment reliability` measures it on other images.
    """
    choice = changed(Recipe(), arguments.recipe)
    if not (arguments.validation or choice.grains):
        raise UserError("The confidence needs images for its Platt scaling. Give --validation, or ask for grains.")
    torch.manual_seed(choice.seed)
    models = load_models(arguments.start or DIRECTORY)
    began, images = time.monotonic(), 0
    if choice.images:
        drawn = _until(began + 60 * choice.minutes * COLLECTING, choice, _proposed(models, network, arguments, choice))
        data = examples(drawn, choice.proposals, choice.seed)
        judge_network = Confidence(data.pictures.shape[1], data.features.shape[1]).to(models.device)
        fit(judge_network, data, choice, began)
        images = data.images
    else:
        judge_network = models.judge(Settings(network=network))
    there = [(name_of(folder), *image) for folder in arguments.validation for image in read_source(folder)]
    kinds = [name for name, *_ in there]
    whole = [(micrograph.pixels, labels, right) for _, micrograph, labels, right in there]
    grains = [draw_grain(GRAINS_SEED, i, 1 + i % 3) for i in range(choice.grains)]
    whole += [(g.image, g.labels, None) for g in grains if g.labels.size < MOST_PIXELS]
    judged = [proposals(models, network, *image) for image in whole]
    platt_scale(judge_network, judged, choice.lowest)
    table = reliability(*selected(judge_network, judged, choice.lowest))
    error = expected_calibration_error(table)
    print(table.to_string(float_format="%.3f"))
    print(f"expected calibration error on the validation images: {error:.3f}")
    print(error_of_kinds(judge_network, judged, kinds, choice.lowest).to_string(float_format="%.3f"))
    arguments.output.mkdir(parents=True, exist_ok=True)
    name = JUDGES[network]
    path = arguments.output / f"{name}.safetensors"
    record = {"validation_loss": error, "minutes": round((time.monotonic() - began) / 60, 1), "step": images}
    save_trained(path, name, arguments.folders, asdict(choice), judge_network, record)
    return path


def _proposed(models: Models, network: str, arguments: TrainingArguments, recipe: Recipe) -> Iterator[Judged]:
    source = endless_images(arguments.folders, recipe.synthetic, recipe.sides, recipe.crop, recipe.seed)
    return (proposals(models, network, *next(source)) for _ in range(recipe.images))


def _until(deadline: float, recipe: Recipe, images: Iterator[Judged]) -> Iterator[Judged]:
    """Yield all images, or, if minutes are given, those until the deadline, at least one."""
    for image in images:
        yield image
        if recipe.minutes and time.monotonic() > deadline:
            return
