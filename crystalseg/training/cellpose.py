"""Train CPNet (paper sections III-A and IV-B)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crystalseg.networks.cellpose import CPNet
from crystalseg.training.augmentation import flow_patch
from crystalseg.training.data import Item, LabelledImage, Mixture, Stream, Synthetic, fixed_batches
from crystalseg.training.loop import Schedule, TrainingArguments, changed, fit_and_keep
from crystalseg.training.losses import mean_of_valid
from crystalseg.training.sources import Folder


@dataclass(frozen=True)
class Recipe:
    """How CPNet is trained. The defaults are the paper's where it states them.

    diameter: d, px, the mean crystal diameter to which images are scaled (paper: 50).
    scales: range of an additional random factor (paper: 0.75 to 1.25).
    patch, last_patch: side of the training patches, px, and in the last `finish` share of the schedule (paper: 224).
    whole: share of patches that show nearly the whole image, as the lowest rung of the ladder does (paper: none).
    focus: share of patches around one crystal of any size, scaled to about `diameter` (paper: none).
    synthetic: share of patches from the generator, if folders are given too.
    """

    diameter: float = 50.0
    scales: tuple[float, float] = (0.75, 1.25)
    whole: float = 0.0
    focus: float = 0.0
    patch: int = 224
    last_patch: int = 224
    finish: float = 0.2
    synthetic: float = 0.5


def flow_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute Cellpose's loss: half the mean squared error of 5 × flow, plus the binary cross-entropy of the
    foreground.

    `output` (B, 3, H, W): 5 × dy, 5 × dx, foreground logit. `target` (B, 5, H, W): dy, dx, foreground, outline (not
    learnt here), valid. Invalid pixels do not count.
    """
    valid = target[:, 4:]
    flow = functional.mse_loss(output[:, :2], 5 * target[:, :2], reduction="none")
    cross = functional.binary_cross_entropy_with_logits(output[:, 2:3], target[:, 2:3], reduction="none")
    return mean_of_valid(flow, valid) / 2 + mean_of_valid(cross, valid)


def loss_of(network: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """Compute `flow_loss` of CPNet on an image (B, 3, H, W)."""
    return flow_loss(network(image)[0].float(), target)


def _augment(s: LabelledImage, rng: np.random.Generator, size: int, recipe: Recipe) -> Item | None:
    return flow_patch(s, rng, size, recipe.diameter, recipe.scales, recipe.whole, recipe.focus)


def validation_batches(
    folders: Sequence[Folder], augment: Callable[..., Item | None], count: int = 96, size: int = 128
) -> list[tuple[Tensor, Tensor]]:
    """Return fixed patches for a flow network: in turn one from each folder, then two synthetic ones."""

    def turn(k: int, folders: int) -> int | None:
        place = k % (folders + 2)
        return place if place < folders else None

    generator = Synthetic(1, True, sides=(300, 500), pool=24, reuse=2)
    return fixed_batches(folders, generator, turn, partial(augment, size=size), count)


def train(arguments: TrainingArguments) -> Path:
    """Train CPNet. Returns the path of the weights that are kept, `<output>/cellpose.safetensors`."""
    choice, limit = changed(Recipe(), arguments.recipe), changed(Schedule(), arguments.schedule)
    torch.manual_seed(limit.seed)
    network = CPNet(diameter=choice.diameter)
    source = partial(Mixture, tuple(arguments.folders), choice.synthetic, limit.seed, True)

    def stream(progress: float) -> tuple[Stream, int]:
        size = choice.last_patch if progress > 1 - choice.finish else choice.patch
        # A step takes the same work when the patch grows.
        batch = max(1, round(limit.batch * (choice.patch / size) ** 2))
        seed = limit.seed + int(1e6 * progress)
        return Stream(source, partial(_augment, size=size, recipe=choice), seed), batch

    batches = validation_batches(arguments.validation, partial(_augment, recipe=choice))
    return fit_and_keep("cellpose", network, arguments, choice, limit, stream, loss_of, batches)
