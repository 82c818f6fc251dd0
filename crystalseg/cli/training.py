"""The command that trains networks."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crystalseg.cli.app import app
from crystalseg.cli.options import NegativeBackground
from crystalseg.errors import UserError
from crystalseg.training import NETWORKS

ALL = "all"
Network = StrEnum("Network", {name: name for name in (*NETWORKS, ALL)})  # type: ignore[misc] # made of one list


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="Network to train, or all within --minutes.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, checkpoint and loss curve.")] = Path("training"),
    data: Annotated[list[Path], typer.Option(help="Folder with <id>.png and <id>_label.png; may be repeated.")] = [],  # noqa: B006
    validation: Annotated[list[Path], typer.Option(help="Like --data, for choosing the best weights.")] = [],  # noqa: B006
    start: Annotated[
        Path | None, typer.Option("--from", help="Weights to start from (all, and the confidences: their folder).")
    ] = None,
    recipe: Annotated[str, typer.Option(help='Changes to the recipe, JSON, e.g. {"diameter": 30}.')] = "{}",
    schedule: Annotated[
        # --budget: the name in the commands of docs/results.md and docs/history
        str,
        typer.Option("--schedule", "--budget", help='Changes to the schedule, JSON, e.g. {"minutes": 60, "batch": 8}.'),
    ] = "{}",
    minutes: Annotated[float, typer.Option(min=1, help="For all: total training time, over any number of calls.")] = 25,
    negative: NegativeBackground = False,
    step: Annotated[float, typer.Option(min=0.1, help="Stop after this many minutes; call again to continue.")] = 1e6,
) -> None:
    """Train one network, or all. Called again with the same --out, training continues where it stopped."""
    from crystalseg.training.loop import TrainingArguments
    from crystalseg.training.plan import TRAIN, train_all
    from crystalseg.training.sources import NegativeFolder

    folders, held_out = ([NegativeFolder(f) if negative else f for f in given] for given in (data, validation))
    arguments = TrainingArguments(out, folders, held_out, start, recipe, schedule, time.monotonic() + 60 * step)
    if network.value == ALL:
        if (recipe, schedule) != ("{}", "{}"):
            raise UserError("Training all networks uses a plan with its own recipes and schedules. Leave yours out.")
        left = train_all(arguments, minutes, step)
        print(f"\n{out}" + (f"; call again to continue: {', '.join(left)}" if left else ""))
        return
    print(f"\n{TRAIN[network.value](arguments)}")
