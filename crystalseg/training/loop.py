"""The training loop that the networks share: schedule, checkpoints, a live loss line, and the weights to keep."""

import datetime
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from crystalseg.errors import UserError
from crystalseg.networks.weights import Card, load_weights, save_weights
from crystalseg.segmentation.precision import autocast
from crystalseg.training.data import Stream
from crystalseg.training.sources import Folder, described

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True)
class Schedule:
    """How long and how to train.

    steps: optimiser steps. minutes: if positive, the wall-clock training time that replaces `steps` in the schedule.
    batch: items per step.
    learning_rate: the peak. It is reached after `warmup` (share of the schedule); a cosine to zero follows.
    every: steps between validations. seed: of data and initial weights.
    average: decay per step of the moving average of the weights. The average is validated and kept; 0 keeps the last
        weights.
    """

    steps: int = 20_000
    minutes: float = 0.0
    batch: int = 30
    learning_rate: float = 1e-3
    warmup: float = 0.02
    every: int = 300
    seed: int = 0
    average: float = 0.0


@dataclass(frozen=True)
class TrainingArguments:
    """What to train on, and where to write. Folders hold labelled images, `<id>.png` and `<id>_label.png`.

    output: folder for weights, checkpoint and loss curve.
    folders, validation: training and validation images.
    start: weights to begin from (for the SizeModel: the CPNet whose styles are used), or None.
    recipe, schedule: changes to the defaults, JSON.
    deadline: the value of `time.monotonic`, s, at which training stops, to be resumed later.
    """

    output: Path
    folders: Sequence[Folder] = ()
    validation: Sequence[Folder] = ()
    start: Path | None = None
    recipe: str = "{}"
    schedule: str = "{}"
    deadline: float = math.inf


def changed(settings: S, text: str) -> S:
    """Return a copy of a settings dataclass with the changes in `text`, a JSON object. Raises UserError, which names an
    unknown key."""
    try:
        changes = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"Not valid JSON: {text}") from error
    names = {f.name for f in fields(settings)}
    if not isinstance(changes, dict) or not set(changes) <= names:
        raise UserError(f"Unknown name in {text}. Known names: {', '.join(sorted(names))}.")
    return replace(settings, **{k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()})


def rate(progress: float, schedule: Schedule) -> float:
    """Return the learning rate at `progress` 0..1: linear warm-up, then cosine decay (paper section IV-B)."""
    if progress < schedule.warmup:
        return schedule.learning_rate * max(progress, 1e-3) / schedule.warmup
    along = (progress - schedule.warmup) / (1 - schedule.warmup)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(along, 1.0)))


def batches(stream: Stream, size: int) -> Iterator[list[Tensor]]:
    """Yield batches without end. Another process prepares them, or nearly as many processes as there are cores if a GPU
    waits for them."""
    gpu = torch.cuda.is_available()
    loader = DataLoader(
        stream,
        batch_size=size,
        num_workers=max(1, (os.cpu_count() or 1) - 2) if gpu else 1,
        prefetch_factor=6,
        pin_memory=gpu,
        # Spawned, because a forked copy of this process would inherit the locks of its thread pools.
        multiprocessing_context="spawn",
    )
    return iter(loader)


class Trainer:
    """A network in training: optimiser, moving average, progress, and the files from which training resumes.

    Everything needed to resume is in `folder/<name>.pt`, the curve is in `folder/<name>.csv`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
        schedule: Schedule,
        folder: Path,
        name: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.loss_of, self.schedule = loss_of, schedule
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.learning_rate, weight_decay=1e-4)
        self.mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(schedule.average), use_buffers=True)
        self.state = {"step": 0, "seconds": 0.0, "waited": 0.0, "best": float("inf")}
        self.checkpoint, self.curve = folder / f"{name}.pt", folder / f"{name}.csv"
        self.running: list[float] = []
        if self.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.mean.load_state_dict(saved["mean"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.state |= saved["state"]
        minutes, best = self.state["seconds"] / 60, self.state["best"]
        print(f"resumed at step {self.state['step']}, {minutes:.0f} min, best {best:.4f}")

    @property
    def steps(self) -> int:
        """The number of steps that were taken."""
        return int(self.state["step"])

    @property
    def progress(self) -> float:
        """The share of the schedule that is done."""
        if self.schedule.minutes > 0:
            return self.state["seconds"] / 60 / self.schedule.minutes
        return self.state["step"] / self.schedule.steps

    def _loss(self, module: nn.Module, image: Tensor, target: Tensor) -> Tensor:
        image = image.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with autocast(self.device):
            return self.loss_of(module, image, target.to(self.device, non_blocking=True))

    def step(self, image: Tensor, target: Tensor) -> None:
        """Take one step of the optimiser on a batch."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.progress, self.schedule)
        loss = self._loss(self.network, image, target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.mean.update_parameters(self.network)
        self.running.append(loss.item())
        self.state["step"] += 1

    def validate(
        self,
        batches: list[tuple[Tensor, Tensor]],
        score: Callable[[nn.Module], Mapping[str, float]] = lambda _: {},
    ) -> dict[str, float]:
        """Return the averaged weights' loss on these batches, NaN if there are none, and the figures of `score`. They
        are also written as a row of the curve and printed."""
        self.mean.eval()
        with torch.inference_mode():
            losses = [self._loss(self.mean, *pair).item() for pair in batches]
            scores = score(self.mean.module)
        row = {
            "step": self.state["step"],
            "minutes": round(self.state["seconds"] / 60, 2),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "loss": float(np.mean(self.running)) if self.running else float("nan"),
            "validation_loss": float(np.mean(losses)) if losses else float("nan"),
            # the share of the time in which the device had no data
            "waited": self.state["waited"] / self.state["seconds"],
            **scores,
        }
        self.running = []
        pd.DataFrame([row]).to_csv(self.curve, mode="a", header=not self.curve.exists(), index=False)
        print("\n" + "  ".join(f"{k} {v:.5g}" for k, v in row.items()), flush=True)
        return row

    def save(self) -> None:
        """Save everything needed to resume, atomically."""
        saved = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": self.state,
        }
        torch.save(saved, self.checkpoint.with_suffix(".part"))
        self.checkpoint.with_suffix(".part").replace(self.checkpoint)


def fit(
    network: nn.Module,
    stream: Callable[[float], tuple[Stream, int]],
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
    validation: list[tuple[Tensor, Tensor]],
    schedule: Schedule,
    folder: Path,
    name: str,
    keep: Callable[[nn.Module, dict], None],
    deadline: float = math.inf,
) -> None:
    """Train `network`. Call `keep(network, record)` whenever the validation loss is the lowest so far, and at the end:
    measured on images, the weights at the end of a schedule were never behind earlier ones of lower loss
    (docs/results.md).

    `stream(progress)` names the data stream and batch size at that progress, 0..1; a new stream is opened when it
    changes. `loss_of(network, image, target)` is a scalar. Another call of `fit` resumes, also after the `deadline`.
    """
    trainer = Trainer(network, loss_of, schedule, folder, name)
    state = trainer.state
    opened = None
    network.train()
    late = False
    while trainer.progress < 1 and not late:
        began = time.monotonic()
        wanted = stream(trainer.progress)
        if opened is None or wanted[1] != opened[1]:
            opened = wanted
            feed = batches(*wanted)
        batch = next(feed)
        state["waited"] += time.monotonic() - began
        trainer.step(*batch)
        state["seconds"] += time.monotonic() - began
        late = time.monotonic() > deadline
        recent = np.mean(trainer.running[-50:])
        print(f"\rstep {state['step']}  {100 * trainer.progress:.1f} %  loss {recent:.4f}", end="", flush=True)
        if state["step"] % schedule.every == 0 or trainer.progress >= 1 or late:
            row = trainer.validate(validation)
            is_best = row["validation_loss"] < state["best"]
            if is_best:
                state["best"] = row["validation_loss"]
            if is_best or trainer.progress >= 1:
                keep(trainer.mean.module, row)
            trainer.save()


def fit_and_keep(
    name: str,
    network: nn.Module,
    arguments: TrainingArguments,
    recipe: Any,
    schedule: Schedule,
    stream: Callable[[float], tuple[Stream, int]],
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
    validation: list[tuple[Tensor, Tensor]],
) -> Path:
    """Run `fit` from the start weights that the arguments name, if any. Returns the path of the weights that are kept,
    `<name>.safetensors` in the output folder. `recipe`, a dataclass, goes into their card."""
    if arguments.start is not None:
        network.load_state_dict(load_weights(arguments.start, name)[0])
    path = arguments.output / f"{name}.safetensors"
    keep = partial(save_trained, path, name, arguments.folders, asdict(recipe))
    fit(network, stream, loss_of, validation, schedule, arguments.output, name, keep, arguments.deadline)
    return path


def save_trained(
    path: Path, name: str, folders: Sequence[Folder], settings: dict, network: nn.Module, record: dict
) -> None:
    """Write the network's weights to `path` with a card that says what they were trained on and which loss they
    reached."""
    data = described(folders, settings.get("synthetic", 0.5))
    metrics = f"validation loss {record['validation_loss']:.4f} after {record['minutes']} min, {record['step']} steps"
    today = datetime.date.today().isoformat()
    save_weights(path, network.state_dict(), Card(name, today, data, metrics, today, json.dumps(settings)))
