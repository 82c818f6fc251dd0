"""Train SiMA (paper sections III-B1 and IV-B)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from crystalseg.errors import UserError
from crystalseg.networks.sa2 import SA2Net
from crystalseg.networks.sima import SIDE, build_sima
from crystalseg.segmentation.scales import SIZE_THRESHOLDS
from crystalseg.training.augmentation import attention_item
from crystalseg.training.data import Item, LabelledImage, Mixture, Stream, Synthetic, fixed_batches
from crystalseg.training.loop import Schedule, TrainingArguments, changed, fit_and_keep
from crystalseg.training.losses import supervised_deeply
from crystalseg.training.sources import Folder


@dataclass(frozen=True)
class Recipe:
    """How SiMA is trained. The defaults are the paper's where it states them.

    thresholds: size limits, % of the image side.
    weights: weight of each map in the loss, background last.
    scales: range of the random factor on the image scaled to 224 px.
    synthetic: share of synthetic images.
    encoder: pretrained encoder weights by name (paper: "imagenet"), or None.
    """

    thresholds: tuple[float, ...] = SIZE_THRESHOLDS
    weights: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0, 1.0)
    scales: tuple[float, float] = (0.5, 1.5)
    synthetic: float = 0.6
    encoder: str | None = None


def loss_of(network: Callable[[Tensor], Tensor], image: Tensor, target: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the weighted mean over the maps of their per-pixel binary cross-entropy.

    `image` (B, 3, H, W); `target` (B, N + 1, H, W), 0 or 1.
    """
    cross = functional.binary_cross_entropy_with_logits(network(image).float(), target, reduction="none")
    weight = torch.tensor(weights, device=cross.device)
    return (cross.mean(dim=(0, 2, 3)) * weight).sum() / weight.sum()


def _augment(s: LabelledImage, rng: np.random.Generator, recipe: Recipe) -> Item:
    return attention_item(s, rng, SIDE, recipe.thresholds, recipe.scales)


def validation_batches(folders: Sequence[Folder], recipe: Recipe, count: int = 64) -> list[tuple[Tensor, Tensor]]:
    """Return fixed items, every second one from a folder."""

    def turn(k: int, folders: int) -> int | None:
        place = k % (2 * folders + 1)
        return place // 2 if place % 2 else None

    return fixed_batches(folders, Synthetic(1, False, pool=32, reuse=1), turn, partial(_augment, recipe=recipe), count)


def train(arguments: TrainingArguments, name: str = "sima") -> Path:
    """Train SiMA, or SA2-Net in its place (`sima-sa2`). Returns the path of the weights that are kept,
    `<output>/<name>.safetensors`."""
    choice, limit = changed(Recipe(), arguments.recipe), changed(Schedule(), arguments.schedule)
    if len(choice.weights) != len(choice.thresholds) + 1:
        raise UserError("SiMA needs one loss weight per threshold and one for the background.")
    torch.manual_seed(limit.seed)
    levels = len(choice.thresholds)
    network = build_sima(levels, choice.encoder) if name == "sima" else SA2Net(levels + 1)
    source = partial(Mixture, tuple(arguments.folders), choice.synthetic, limit.seed, False)
    stream = Stream(source, partial(_augment, recipe=choice), limit.seed)
    loss = supervised_deeply(partial(loss_of, weights=choice.weights))
    batches = validation_batches(arguments.validation, choice)
    return fit_and_keep(name, network, arguments, choice, limit, lambda _: (stream, limit.batch), loss, batches)
