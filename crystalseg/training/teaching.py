"""Teach a flow network one material from a few checked areas. `learn` can be stopped and resumed.

The network starts from weights that know many materials. Patches of the checked areas are mixed with two other kinds.
Synthetic images of any kind and real ones of other materials keep what the weights knew (rehearsal: Robins 1995,
Connection Science 7:123). Images made of the material's own crystals and ground show a few crystals in many ways. After
an interruption the same patches follow in the same order, so that the weights become the same on a device that computes
the same each time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crystalseg.micrographs.annotations import Annotation
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.efficientnet import EfficientUNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.likeness import likeness_of
from crystalseg.training import cellpose, folded
from crystalseg.training.augmentation import flow_patch
from crystalseg.training.data import Item, LabelledImage, NumberedStream, labelled_image, stacked
from crystalseg.training.loop import Schedule, Trainer, batches

LESSONS = 96  # synthetic images that are rehearsed
ALIKE, ALIKE_SIDE = 48, 384  # images like the material, and their side, px
SEED = 2_000_000  # even numbers from here on; images that measure forgetting have odd seeds


@dataclass(frozen=True)
class Recipe:
    """How a material is taught.

    network: `folded` or `cellpose`. steps: of the optimiser.
    patch: side, px. batch: patches per step. learning_rate: the peak.
    synthetic, rehearsed: shares of patches that rehearse synthetic images and real ones of other materials.
    alike: share of patches from images like the material.
    every: steps between validations on the areas left out.
    average: see Schedule. seed: of the patches.
    """

    network: str = "folded"
    steps: int = 600
    patch: int = 128
    batch: int = 4
    learning_rate: float = 3e-4
    synthetic: float = 0.15
    rehearsed: float = 0.25
    alike: float = 0.15
    every: int = 50
    average: float = 0.98
    seed: int = 0


# How each flow network is made, and its loss.
NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor, Tensor], Tensor]]] = {
    "folded": (FoldedCPNet, partial(folded.loss_of, outline=folded.Recipe().outline)),
    "cellpose": (CPNet, cellpose.loss_of),
    "efficientnet": (EfficientUNet, partial(folded.loss_of, outline=folded.Recipe().outline)),
}


class Lessons:
    """Draws a checked area, each image equally often. With the recipe's shares as probabilities it draws instead one of
    LESSONS synthetic images, one of `rehearsed`, or one of ALIKE images made from the checked areas, if
    these are enough."""

    def __init__(self, annotations: Sequence[Annotation], rehearsed: Sequence[Annotation], recipe: Recipe):
        self.own = [learnt_from(one) for one in annotations]
        self.others = [learnt_from(one) for one in rehearsed]
        self.likeness = likeness_of((one.micrograph.pixels, one.labels, one.checked) for one in annotations)
        self.shares = (
            recipe.synthetic,
            recipe.alike if self.likeness else 0.0,
            recipe.rehearsed if self.others else 0.0,
        )
        self.made: dict[tuple[int, int], LabelledImage] = {}

    def __call__(self, rng: np.random.Generator) -> LabelledImage:
        which = int(np.searchsorted(np.cumsum(self.shares), rng.random(), side="right"))
        if which >= 2:
            given = self.others if which == 2 else self.own
            return given[rng.integers(len(given))]
        number = int(rng.integers((LESSONS, ALIKE)[which]))
        if (which, number) not in self.made:
            self.made[which, number] = (self._drawn, self._alike)[which](number)
        return self.made[which, number]

    @staticmethod
    def _drawn(number: int) -> LabelledImage:
        side = int(np.random.default_rng(number).integers(224, 640))
        image = draw(SEED + 2 * number, (side, side))
        return labelled_image(image.image, image.labels, True)

    def _alike(self, number: int) -> LabelledImage:
        assert self.likeness is not None
        made = self.likeness.draw(np.random.default_rng((SEED, number)), (ALIKE_SIDE, ALIKE_SIDE))
        return labelled_image(*made, True)


def learnt_from(one: Annotation) -> LabelledImage:
    """Turn an annotation into a LabelledImage, from which networks learn."""
    return labelled_image(one.micrograph.pixels, one.labels, True, one.checked)


def _patch(s: LabelledImage, rng: np.random.Generator, size: int) -> Item | None:
    recipe = folded.Recipe()
    return flow_patch(s, rng, size, recipe.diameter, recipe.scales, recipe.whole, recipe.focus, recipe.empty)


def left_out_batches(annotations: Sequence[Annotation], size: int, each: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Return fixed patches of checked areas, `each` per image."""
    rng = np.random.default_rng(1)
    items: list[Item] = []
    for image in map(learnt_from, annotations):
        wanted = len(items) + each
        while len(items) < wanted:
            item = _patch(image, rng, size)
            if item is not None:
                items.append(item)
    return stacked(items)


def begin(network: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Make a flow network with the weights from which it starts."""
    made = NETWORKS[network][0]()
    made.load_state_dict(state)
    return made


def learn(
    network: nn.Module,
    annotations: Sequence[Annotation],
    left_out: Sequence[Annotation],
    recipe: Recipe,
    folder: Path,
    score: Callable[[nn.Module], Mapping[str, float]] = lambda _: {},
    go_on: Callable[[int], bool] = lambda _: True,
    rehearsed: Sequence[Annotation] = (),
) -> tuple[dict[str, Tensor], int] | None:
    """Teach `network` the annotations while it rehearses others. Returns its averaged weights and the step that they
    belong to. Returns None if `go_on(step)` returned False; another call with the same `folder` resumes.

    The curve is in `<folder>/learn.csv`; `score` adds figures of the averaged network to its rows. The returned weights
    are those with the highest `pq` on the areas `left_out`, or with the lowest loss if `pq` is not scored, or those of
    the last step if nothing was left out.
    """
    schedule = Schedule(
        recipe.steps, batch=recipe.batch, learning_rate=recipe.learning_rate, warmup=0.05, average=recipe.average
    )
    loss_of = NETWORKS[recipe.network][1]
    trainer = Trainer(network, loss_of, schedule, folder, "learn")
    state, best = trainer.state, folder / "best.pt"
    validation = left_out_batches(left_out, recipe.patch) if left_out else []
    source = partial(Lessons, tuple(annotations), tuple(rehearsed), recipe)
    patch = partial(_patch, size=recipe.patch)
    stream = NumberedStream(source, patch, recipe.seed, trainer.steps, recipe.batch)
    feed = batches(stream, recipe.batch) if trainer.progress < 1 else iter(())
    _train_weights_only(network)
    while trainer.progress < 1:
        began = time.monotonic()
        batch = next(feed)
        state["waited"] += time.monotonic() - began
        trainer.step(*batch)
        state["seconds"] += time.monotonic() - began
        wanted = go_on(trainer.steps)
        if trainer.steps % recipe.every == 0 or trainer.progress >= 1:
            row = trainer.validate(validation, score)
            worth = row["validation_loss"] if "pq" not in row else -row["pq"]
            if not validation or worth <= state["best"]:
                state["best"] = worth
                _keep(trainer.mean.module.state_dict(), trainer.steps, best)
            trainer.save()
        elif not wanted:
            trainer.save()
        if not wanted:
            return None
    kept = torch.load(best, map_location="cpu", weights_only=True)
    return kept["weights"], kept["step"]


def _train_weights_only(network: nn.Module) -> None:
    """Keep the batch norm statistics of all materials. Statistics of patches that mostly show one material would make
    the network forget the others."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def _keep(weights: Mapping[str, Tensor], step: int, path: Path) -> None:
    part = path.with_suffix(".part")
    torch.save({"weights": {k: v.cpu().clone() for k, v in weights.items()}, "step": step}, part)
    part.replace(path)
