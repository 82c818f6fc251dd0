"""Training FoldedCPNet: as CPNet, and outlines besides."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crystalseg.networks.folded import FoldedCPNet
from crystalseg.training.augmentation import flow_patch
from crystalseg.training.cellpose import flow_loss, validation_batches
from crystalseg.training.data import Item, LabelledImage, Mixture, Stream
from crystalseg.training.loop import Schedule, TrainingArguments, changed, fit_and_keep
from crystalseg.training.losses import mean_of_valid


@dataclass(frozen=True)
class Recipe:
    """diameter: px, the mean crystal diameter that images are scaled to; scales: range of the random factor on top;
    whole, focus, empty: share of patches that show nearly the whole image, lie about one crystal of any size scaled to
    about `diameter`, or about a place without a crystal; patch: side of the patches, px; synthetic: share of patches
    from the generator, if folders are given too; outline: weight of the outlines' cross-entropy."""

    diameter: float = 50.0
    scales: tuple[float, float] = (0.2, 2.0)
    whole: float = 0.1
    focus: float = 0.55
    empty: float = 0.05
    patch: int = 160
    synthetic: float = 0.5
    outline: float = 0.5


def loss_of(network: nn.Module, image: Tensor, target: Tensor, outline: float) -> Tensor:
    """Cellpose's loss (`cellpose.flow_loss`) and the binary cross-entropy of the outlines, times `outline`.

    `image` (B, 3, H, W); `target` (B, 5, H, W): dy, dx, foreground, outline, valid. Invalid pixels do not count.
    """
    output = network(image).float()
    cross = functional.binary_cross_entropy_with_logits(output[:, 3:], target[:, 3:4], reduction="none")
    return flow_loss(output, target) + outline * mean_of_valid(cross, target[:, 4:])


def _augment(s: LabelledImage, rng: np.random.Generator, size: int, recipe: Recipe) -> Item | None:
    return flow_patch(s, rng, size, recipe.diameter, recipe.scales, recipe.whole, recipe.focus, recipe.empty)


def train(arguments: TrainingArguments) -> Path:
    """Train FoldedCPNet; returns the path of the weights kept, `<output>/folded.safetensors`."""
    choice, limit = changed(Recipe(), arguments.recipe), changed(Schedule(), arguments.schedule)
    torch.manual_seed(limit.seed)
    source = partial(Mixture, tuple(arguments.folders), choice.synthetic, limit.seed, True)
    augment = partial(_augment, size=choice.patch, recipe=choice)

    def stream(progress: float) -> tuple[Stream, int]:
        # resumed, it goes on with other images
        return Stream(source, augment, limit.seed + int(1e6 * progress)), limit.batch

    loss = partial(loss_of, outline=choice.outline)
    batches = validation_batches(arguments.validation, partial(_augment, recipe=choice))
    return fit_and_keep("folded", FoldedCPNet(), arguments, choice, limit, stream, loss, batches)
