"""Train the boundary network (paper section IV-B, "Boundary model", after Yu et al.)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from skimage.segmentation import expand_labels
from torch import Tensor
from torch.nn import functional

from crystalseg.evaluation.metrics import boundary_lines
from crystalseg.micrographs.labels import GROUND_MARGIN
from crystalseg.networks.boundary import build_boundary
from crystalseg.networks.sa2 import SA2Net
from crystalseg.training.augmentation import transform
from crystalseg.training.data import Item, LabelledImage, Mixture, Stream, Synthetic, every_second, fixed_batches
from crystalseg.training.loop import Schedule, TrainingArguments, changed, fit_and_keep
from crystalseg.training.losses import mean_of_valid, supervised_deeply
from crystalseg.training.sources import Folder


@dataclass(frozen=True)
class Recipe:
    """How the boundary network is trained.

    patch: side of the training patches, px (paper: 512).
    scales: range of the random factor on the image.
    synthetic: share of synthetic images.
    topology: weight of the centreline dice against the dice loss (Shit et al. 2021: 0.5).
    rounds: iterations of the soft skeleton, at least half the width of the lines.
    """

    patch: int = 256
    scales: tuple[float, float] = (0.75, 1.25)
    synthetic: float = 0.6
    topology: float = 0.5
    rounds: int = 4


def soft_skeleton(x: Tensor, rounds: int) -> Tensor:
    """Compute a differentiable skeleton of (B, 1, H, W) in 0..1 by repeated soft opening (Shit et al. 2021, algorithm
    1)."""

    def erode(y: Tensor) -> Tensor:
        return -torch.maximum(
            functional.max_pool2d(-y, (3, 1), 1, (1, 0)), functional.max_pool2d(-y, (1, 3), 1, (0, 1))
        )

    def crests(y: Tensor) -> Tensor:
        return functional.relu(y - functional.max_pool2d(erode(y), 3, 1, 1))

    skeleton = crests(x)
    for _ in range(rounds):
        x = erode(x)
        new = crests(x)
        skeleton = skeleton + functional.relu(new - skeleton * new)
    return skeleton


def loss_of(network: Callable[[Tensor], Tensor], image: Tensor, target: Tensor, topology: float, rounds: int) -> Tensor:
    """Compute the cross-entropy of both maps plus dice and centreline dice of the lines.

    `image` (B, 3, H, W); `target` (B, 3, H, W): line, foreground, valid. Invalid pixels do not count.
    """
    output = network(image).float()
    valid = target[:, 2:]
    cross = functional.binary_cross_entropy_with_logits(output, target[:, :2], reduction="none")
    predicted, true = output[:, :1].sigmoid() * valid, target[:, :1] * valid

    def share(part: Tensor, whole: Tensor) -> Tensor:
        return ((part * whole).sum() + 1) / (part.sum() + 1)

    dice = (2 * (predicted * true).sum() + 1) / (predicted.sum() + true.sum() + 1)
    precise, complete = share(soft_skeleton(predicted, rounds), true), share(soft_skeleton(true, rounds), predicted)
    centreline = 2 * precise * complete / (precise + complete)
    return mean_of_valid(cross, valid) + (1 - topology) * (1 - dice) + topology * (1 - centreline)


def boundary_patch(
    s: LabelledImage, rng: np.random.Generator, size: int, scales: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Make an item: image (3, size, size) and target (3, size, size) = line, foreground, valid. Returns None if it is
    mostly outside the image."""
    image, labels, _, valid = transform(s, float(np.exp(rng.uniform(*np.log(scales)))), size, rng)
    if valid.mean() < 0.3:
        return None
    lines, _ = boundary_lines(labels)
    ground = expand_labels(labels, GROUND_MARGIN) > 0
    return image, np.stack((lines, ground, valid)).astype(np.float32)


def _augment(s: LabelledImage, rng: np.random.Generator, recipe: Recipe) -> Item | None:
    return boundary_patch(s, rng, recipe.patch, recipe.scales)


def validation_batches(folders: Sequence[Folder], recipe: Recipe, count: int = 48) -> list[tuple[Tensor, Tensor]]:
    """Return fixed patches, every second one from a folder."""

    return fixed_batches(
        folders, Synthetic(1, False, pool=24, reuse=2), every_second, partial(_augment, recipe=recipe), count
    )


def train(arguments: TrainingArguments, name: str = "boundary") -> Path:
    """Train the boundary network, or SA2-Net in its place (`boundary-sa2`). Returns the path of the weights that are
    kept, `<output>/<name>.safetensors`."""
    choice, limit = changed(Recipe(), arguments.recipe), changed(Schedule(), arguments.schedule)
    torch.manual_seed(limit.seed)
    network = build_boundary() if name == "boundary" else SA2Net(2)
    source = partial(Mixture, tuple(arguments.folders), choice.synthetic, limit.seed, False)
    stream = Stream(source, partial(_augment, recipe=choice), limit.seed)
    loss = supervised_deeply(partial(loss_of, topology=choice.topology, rounds=choice.rounds))
    batches = validation_batches(arguments.validation, choice)
    return fit_and_keep(name, network, arguments, choice, limit, lambda _: (stream, limit.batch), loss, batches)
