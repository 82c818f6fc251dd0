"""Teach the judge of a flow network's proposals one material, after the flow network has learnt it.

On a material that it has not seen, mostly the choice among the proposals is wrong, not the proposals themselves.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from crystalseg.micrographs.annotations import Annotation, cut_out
from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.training.confidence import Judged, Recipe, examples, fit, platt_scale, proposals

STEPS = 350  # the most steps
DRAWN, DRAWN_SIDE = 12, 320  # synthetic images that are rehearsed, and their side, px
SEED = 3_000_000  # seed of these images; only even numbers from here on are used
MOST_PIXELS = 3_000_000  # px of checked areas that are used at most
MARGIN = 64  # px around a checked area that are read with it
LEAST_RIGHT = 20  # the least number of right proposals; with fewer, nothing is learnt


def learn_judge(
    models: Models,
    network: str,
    annotations: Sequence[Annotation],
    seed: int = 0,
    rehearsed: Sequence[Annotation] = (),
) -> Confidence:
    """Return a copy of the judge of a flow network (`folded` or `cellpose`) that has learnt which of the network's
    proposals are right in the checked areas. It rehearses the annotations in `rehearsed` and is Platt-scaled. If too
    few proposals are right, the copy is unchanged. On one device, repeated calls learn the same."""

    def proposed(one: Annotation) -> Judged:
        return proposals(models, network, one.micrograph.pixels, one.labels, one.checked)

    judge = copy.deepcopy(models.judge(Settings(network=network)))
    own = [proposed(cut_out(one, MARGIN)) for one in _some(annotations, np.random.default_rng(seed))]
    right = sum(
        np.count_nonzero((iou > 0.5) & judged.known(candidates.labels, len(iou)))
        for judged in own
        for candidates, iou in zip(judged.candidates, judged.iou, strict=True)
    )
    if right < LEAST_RIGHT:
        return judge
    images = (draw(SEED + 2 * k, (DRAWN_SIDE, DRAWN_SIDE)) for k in range(DRAWN))
    others = [proposals(models, network, one.image, one.labels) for one in images]
    others += map(proposed, rehearsed)
    recipe = Recipe()
    data = examples([*own, *others], recipe.proposals, seed)
    epochs = min(recipe.epochs, int(np.ceil(STEPS * recipe.batch / len(data.target))))
    for layer in judge.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # dropout draws from a generator that all threads share: no two runs would learn the same
    fit(judge, data, replace(recipe, epochs=epochs, seed=seed))
    # Scaled on what was learnt and on what is rehearsed: a few crystals known by heart alone would make it too certain.
    platt_scale(judge, [*own, *others], recipe.lowest)
    return judge


def _some(annotations: Sequence[Annotation], rng: np.random.Generator) -> Iterator[Annotation]:
    """Yield annotations in random order until enough of their area was used."""
    pixels = 0
    for index in rng.permutation(len(annotations)):
        yield annotations[index]
        pixels += int(np.count_nonzero(annotations[index].checked))
        if pixels >= MOST_PIXELS:
            return
