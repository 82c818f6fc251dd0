"""Train FoldedCPNet: as CPNet, with outlines in addition."""

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
    """How FoldedCPNet is trained.

    diameter: px, the mean crystal diameter to which images are scaled. scales: range of an additional random factor.
    whole: share of patches that show nearly the whole image.
    focus: share of patches around one crystal of any size, scaled to about `diameter`.
    empty: share of patches around a place without a crystal. busy: share of these with something else to see there.
    patch: side of the patches, px.
    synthetic: share of patches from the generator, if folders are given too.
    outline: weight of the outlines' cross-entropy.
    """

    diameter: float = 50.0
    scales: tuple[float, float] = (0.2, 2.0)
    whole: float = 0.1
    focus: float = 0.55
    empty: float = 0.05
    busy: float = 0.0
    patch: int = 160
    synthetic: float = 0.5
    outline: float = 0.5


def loss_of(network: nn.Module, image: Tensor, target: Tensor, outline: float) -> Tensor:
    """Compute Cellpose's loss (`cellpose.flow_loss`) plus the binary cross-entropy of the outlines times `outline`.

    `image` (B, 3, H, W); `target` (B, 5, H, W): dy, dx, foreground, outline, valid. Invalid pixels do not count. Where
    the outline is -1, the labels may be missing one (`augmentation.flow_patch`). The outline loss does not count there,
    nor do the losses of flow and foreground where the network itself predicts an outline.
    """
    output = network(image).float()
    known, valid = target[:, 3:4] >= 0, target[:, 4:]
    cross = functional.binary_cross_entropy_with_logits(output[:, 3:], target[:, 3:4].clamp(min=0), reduction="none")
    seen = functional.max_pool2d(output.detach()[:, 3:], 3, stride=1, padding=1) > 0
    counted = torch.cat((target[:, :4], valid * (known | ~seen)), dim=1)
    return flow_loss(output, counted) + outline * mean_of_valid(cross, valid * known)


def augment(s: LabelledImage, rng: np.random.Generator, size: int, recipe: Recipe) -> Item | None:
    """Cut a patch of `size` px by a recipe, with `augmentation.flow_patch`."""
    return flow_patch(
        s, rng, size, recipe.diameter, recipe.scales, recipe.whole, recipe.focus, recipe.empty, recipe.busy
    )


def train(arguments: TrainingArguments) -> Path:
    """Train FoldedCPNet. Returns the path of the weights that are kept, `<output>/folded.safetensors`."""
    choice = changed(Recipe(), arguments.recipe)
    torch.manual_seed(changed(Schedule(), arguments.schedule).seed)
    return learn("folded", FoldedCPNet(), arguments, choice)


def learn(name: str, network: nn.Module, arguments: TrainingArguments, choice: Recipe) -> Path:
    """Train a network of flow, foreground and outlines by a recipe. Returns the path of the weights that are kept,
    `<output>/<name>.safetensors`."""
    limit = changed(Schedule(), arguments.schedule)
    source = partial(Mixture, tuple(arguments.folders), choice.synthetic, limit.seed, True)
    patch = partial(augment, size=choice.patch, recipe=choice)

    def stream(progress: float) -> tuple[Stream, int]:
        # A resumed training continues with other images.
        return Stream(source, patch, limit.seed + int(1e6 * progress)), limit.batch

    loss = partial(loss_of, outline=choice.outline)
    batches = validation_batches(arguments.validation, partial(augment, recipe=choice))
    return fit_and_keep(name, network, arguments, choice, limit, stream, loss, batches)
