"""Training from the command line."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crystalseg.cli.app import app


class Network(StrEnum):
    cellpose = "cellpose"
    folded = "folded"
    sima = "sima"
    size = "size"
    confidence = "confidence"
    boundary = "boundary"


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="Which network.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, checkpoint and loss curve.")] = Path("training"),
    data: Annotated[list[Path], typer.Option(help="Folder of <id>.png and <id>_label.png; may be repeated.")] = [],  # noqa: B006
    validation: Annotated[list[Path], typer.Option(help="As --data, to choose the best weights on.")] = [],  # noqa: B006
    start: Annotated[
        Path | None, typer.Option("--from", help="Weights to begin from (confidence: their folder).")
    ] = None,
    recipe: Annotated[str, typer.Option(help='Changes to the recipe, JSON, e.g. {"diameter": 30}.')] = "{}",
    budget: Annotated[str, typer.Option(help='Changes to the budget, JSON, e.g. {"minutes": 60, "batch": 8}.')] = "{}",
) -> None:
    """Train a network; called again with the same --out it goes on where it stopped."""
    from crystalseg.training import boundary, cellpose, confidence, folded, sima, size
    from crystalseg.training.loop import Order

    modules = {
        "cellpose": cellpose,
        "folded": folded,
        "sima": sima,
        "size": size,
        "confidence": confidence,
        "boundary": boundary,
    }
    path = modules[network.value].train(Order(out, data, validation, start, recipe, budget))
    print(f"\n{path}")
