"""Train all networks in a given time, on whatever device there is: `train all`.

The plan serves a GPU for half an hour as well as nights on a processor. Each call takes a step of a few minutes and
resumes where the last one stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from crystalseg.networks.efficientnet import PACKAGE, has_imagenet
from crystalseg.training import boundary, cellpose, clicks, confidence, efficientnet, folded, instances, sima, size
from crystalseg.training.loop import TrainingArguments

TRAIN: dict[str, Callable[[TrainingArguments], Path]] = {
    "cellpose": cellpose.train,
    "folded": folded.train,
    "efficientnet": efficientnet.train,
    "sima": sima.train,
    "sima-sa2": partial(sima.train, name="sima-sa2"),
    "size": size.train,
    "confidence": partial(confidence.train, network="cellpose"),
    "folded-confidence": partial(confidence.train, network="folded"),
    "efficientnet-confidence": partial(confidence.train, network="efficientnet"),
    "clicks": clicks.train,
    "boundary": boundary.train,
    "boundary-sa2": partial(boundary.train, name="boundary-sa2"),
    "mask-r-cnn": partial(instances.train, name="mask-r-cnn"),
    "mask2former": partial(instances.train, name="mask2former"),
}


@dataclass(frozen=True)
class Stage:
    """The training of one network within the plan. It says which share of the time the network gets and what changes in
    its recipe and schedule. batch: items per step on a processor and on a GPU, or 0 if there are no steps. whole:
    whether the training cannot be interrupted."""

    name: str
    share: float
    recipe: dict
    schedule: dict
    batch: tuple[int, int] = (0, 0)
    whole: bool = False


_NEAR = {"scales": [0.2, 2.0], "whole": 0.1, "focus": 0.55, "patch": 128, "last_patch": 224, "finish": 0.15}
_AVERAGED = {"average": 0.998, "every": 200}
# In this order, because a judge needs its flow network, and the SizeModel needs CPNet's styles.
STAGES = (
    Stage("folded", 0.26, {}, {**_AVERAGED, "average": 0.999}, (8, 64)),
    Stage("efficientnet", 0.2, {}, {**_AVERAGED, "average": 0.999}, (8, 64)),
    Stage("cellpose", 0.16, _NEAR, _AVERAGED, (8, 64)),
    Stage("sima", 0.08, {}, _AVERAGED, (12, 48)),
    Stage("sima-sa2", 0.04, {}, _AVERAGED, (6, 48)),
    Stage("boundary", 0.03, {}, _AVERAGED, (6, 32)),
    Stage("boundary-sa2", 0.03, {}, _AVERAGED, (6, 32)),
    Stage("clicks", 0.04, {}, {**_AVERAGED, "average": 0.997}, (8, 64)),
    Stage("size", 0.02, {}, {}, whole=True),
    Stage("folded-confidence", 0.07, {"images": 100_000}, {}, whole=True),
    Stage("efficientnet-confidence", 0.04, {"images": 100_000}, {}, whole=True),
    Stage("confidence", 0.03, {"images": 100_000}, {}, whole=True),
)


def train_all(arguments: TrainingArguments, minutes: float, step: float) -> list[str]:
    """Train every network within `minutes`, of which this call takes up to `step`. Returns the names of the networks
    that are not done; call again to continue. `arguments.start`: folder of weights to begin from, or None. The recipe
    and schedule of the arguments are ignored.

    `<output>/plan.json` says what is done.
    """
    arguments.output.mkdir(parents=True, exist_ok=True)
    progress = arguments.output / "plan.json"
    done = json.loads(progress.read_text()) if progress.exists() else []
    deadline = time.monotonic() + 60 * step
    for stage in STAGES:
        if stage.name in done:
            continue
        lasts = minutes * stage.share
        left = (deadline - time.monotonic()) / 60
        if left <= 0 or (stage.whole and lasts > left and lasts <= step):
            break
        print(f"\n{stage.name}: {lasts:.1f} min", flush=True)
        TRAIN[stage.name](_arguments_of(stage, arguments, lasts, deadline))
        if time.monotonic() > deadline and not stage.whole:
            break
        done.append(stage.name)
        progress.write_text(json.dumps(done))
    return [stage.name for stage in STAGES if stage.name not in done]


def _arguments_of(stage: Stage, arguments: TrainingArguments, minutes: float, deadline: float) -> TrainingArguments:
    recipe, schedule, start = dict(stage.recipe), dict(stage.schedule), None
    if stage.name.endswith("confidence"):
        recipe["minutes"] = minutes
        start = arguments.output
    elif stage.name == "size":
        start = arguments.output / "cellpose.safetensors"
    else:
        schedule |= {"minutes": minutes, "batch": stage.batch[torch.cuda.is_available()]}
        given = arguments.start / f"{stage.name}.safetensors" if arguments.start else None
        start = given if given is not None and given.exists() else None
        if stage.name == "efficientnet" and start is None:
            recipe["imagenet"] = has_imagenet()
            if not recipe["imagenet"]:
                print(f"without ImageNet weights: {PACKAGE} is not installed")
    return replace(arguments, start=start, recipe=json.dumps(recipe), schedule=json.dumps(schedule), deadline=deadline)
