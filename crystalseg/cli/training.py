"""Training from the command line."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crystalseg.cli.app import app
from crystalseg.errors import UserError
from crystalseg.training import NETWORKS

ALL = "all"
Network = StrEnum("Network", {name: name for name in (*NETWORKS, ALL)})  # type: ignore[misc] # made of one list


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="Which network, or all of them in --minutes.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, checkpoint and loss curve.")] = Path("training"),
    data: Annotated[list[Path], typer.Option(help="Folder of <id>.png and <id>_label.png; may be repeated.")] = [],  # noqa: B006
    validation: Annotated[list[Path], typer.Option(help="As --data, to choose weights on.")] = [],  # noqa: B006
    start: Annotated[
        Path | None, typer.Option("--from", help="Weights to begin from (all, and the confidences: their folder).")
    ] = None,
    recipe: Annotated[str, typer.Option(help='Changes to the recipe, JSON, e.g. {"diameter": 30}.')] = "{}",
    schedule: Annotated[
        # --budget: as the commands in docs/results.md and docs/history were run
        str,
        typer.Option("--schedule", "--budget", help='Changes to the schedule, JSON, e.g. {"minutes": 60, "batch": 8}.'),
    ] = "{}",
    minutes: Annotated[
        float, typer.Option(min=1, help="For all: how long together, over as many calls as it takes.")
    ] = 25,
    step: Annotated[float, typer.Option(min=0.1, help="Stop after so many minutes; called again it goes on.")] = 1e6,
) -> None:
    """Train a network, or all; called again with the same --out it goes on where it stopped."""
    from crystalseg.training.loop import TrainingArguments
    from crystalseg.training.plan import TRAIN, train_all

    arguments = TrainingArguments(out, data, validation, start, recipe, schedule, time.monotonic() + 60 * step)
    if network.value == ALL:
        if (recipe, schedule) != ("{}", "{}"):
            raise UserError("The plan for all networks has recipes and schedules of its own: leave them out.")
        left = train_all(arguments, minutes, step)
        print(f"\n{out}" + (f"; to be gone on with, call again: {', '.join(left)}" if left else ""))
        return
    print(f"\n{TRAIN[network.value](arguments)}")
