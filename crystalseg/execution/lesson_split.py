"""One split of a lesson: learn some areas, and score those left out. It runs in this process or in a worker of a
cluster."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crystalseg.evaluation.areas import area_score
from crystalseg.execution.cluster import models
from crystalseg.execution.kinds.lesson import Split
from crystalseg.micrographs import examples
from crystalseg.micrographs.annotations import Annotation, cut_out
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import store
from crystalseg.segmentation.methods import JUDGES
from crystalseg.segmentation.models import Models, one_state, with_network
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.progress import Cancelled, Progress
from crystalseg.segmentation.settings import Settings
from crystalseg.training.taught_judge import MARGIN, learn_judge
from crystalseg.training.teaching import Recipe, begin, learn

LOOKED_AT = 3  # number of left-out areas that are scored for the curve


@dataclass(frozen=True)
class Assignment:
    """What is learnt, the recipe, the settings for scoring the network, and the annotations that are rehearsed beside
    those shipped with the program."""

    split: Split
    recipe: Recipe
    settings: Settings
    rehearsed: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class Learnt:
    """The result of a split.

    weights: The weights of the flow network and of its judge, as `one_state`.
    step: The number of steps of the flow network.
    scores: The AreaScore `before` and `after`, as dicts, of each area left out.
    curve: The text of a CSV file.
    """

    weights: dict[str, Tensor]
    step: int
    scores: list[dict[str, dict]]
    curve: str


def carry_out(
    assignment: Assignment,
    parent: Models,
    folder: Path,
    go_on: Callable[[int], bool] = lambda _: True,
    looking: Callable[[], None] = lambda: None,
) -> Learnt | None:
    """Do what is left of a split in `folder`, beginning from `parent`. Return None if `go_on(step)` returned False.
    `looking` is called when learning is done and scoring begins."""
    done = finished(folder)
    if done is not None:
        return done
    split, recipe = assignment.split, assignment.recipe

    def score(network: nn.Module) -> dict[str, float]:
        ready = _looking(parent, recipe.network, network)
        return {"pq": float(np.mean([near(one, assignment.settings, ready) for one in split.left_out[:LOOKED_AT]]))}

    looks = score if split.left_out else (lambda _: {})
    others = [*assignment.rehearsed, *(one for each in examples.rehearsed().values() for one in each)]
    learnt = learn(fresh(parent, recipe.network), split.learnt, split.left_out, recipe, folder, looks, go_on, others)
    if learnt is None:
        return None
    looking()
    flow, step = learnt
    after = _looking(parent, recipe.network, begin(recipe.network, flow))
    judge = learn_judge(after, recipe.network, split.learnt, recipe.seed, others)
    after = with_network(after, JUDGES[recipe.network], judge)
    weights = one_state(flow, judge.state_dict())
    scores = []
    for one in split.left_out:
        rule = assignment.settings.measuring.border_rule
        each = [
            asdict(area_score(one, labels(by, assignment.settings, one.micrograph.pixels), rule))
            for by in (parent, after)
        ]
        scores.append(dict(zip(("before", "after"), each, strict=True)))
    found = Learnt(weights, step, scores, (folder / "learn.csv").read_text())
    keep(found, folder)
    return found


def keep(learnt: Learnt, folder: Path) -> None:
    """Write the result so that `finished` finds it, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    store.write_safely(folder / "learn.csv", learnt.curve.encode())
    with store.written_safely(folder / "learnt.pt") as file:
        torch.save({"weights": learnt.weights, "step": learnt.step}, file)
    store.write_safely(folder / "scores.json", json.dumps(learnt.scores).encode())


def finished(folder: Path) -> Learnt | None:
    """Return what was learnt in a folder, or None if it is not done yet."""
    scores = folder / "scores.json"
    if not scores.exists():
        return None
    kept = torch.load(folder / "learnt.pt", map_location="cpu", weights_only=True)
    return Learnt(kept["weights"], kept["step"], json.loads(scores.read_text()), (folder / "learn.csv").read_text())


def in_worker(assignment: Assignment, taught: str, tell: Callable[[Progress], None]) -> Learnt:
    """Do `carry_out` in a worker of a cluster, from the shipped networks or from a model that the worker was given.
    `tell` gets the progress and may raise `Cancelled`; the worker's unfinished split is then lost."""
    steps = assignment.recipe.steps

    def go_on(step: int) -> bool:
        tell(Progress("learning", step, steps, step / steps))
        return True

    with tempfile.TemporaryDirectory() as folder:
        learnt = carry_out(assignment, models(taught), Path(folder), go_on)
    if learnt is None:
        raise Cancelled
    return learnt


def fresh(models: Models, network: str) -> nn.Module:
    """Return a copy of a flow network, to be taught."""
    return begin(network, {name: values.cpu() for name, values in models[network].state_dict().items()})


def labels(models: Models, settings: Settings, pixels: np.ndarray) -> np.ndarray:
    """Segment pixels uint8 (H, W, 3), and return labels int32 (H, W)."""
    return segment(Micrograph(pixels, "", ""), settings, models).labels


def _looking(models: Models, name: str, network: nn.Module) -> Models:
    return with_network(models, name, network.eval().to(models.device))


def near(one: Annotation, settings: Settings, models: Models) -> float:
    """Return the PQ in a checked area. Only the part of the image around it is segmented, which is faster than all of
    it."""
    part = cut_out(one, MARGIN)
    return area_score(part, labels(models, settings, part.micrograph.pixels), "exclude").pq
