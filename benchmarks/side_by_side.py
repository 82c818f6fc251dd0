"""What benchmarks of two networks, A beside B on the same images, share: their options, the models, the table."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from crystalseg.evaluation.tables import with_interval
from crystalseg.segmentation.models import Models, load_models, load_network, with_network


def parser_of(doc: str | None, networks: Sequence[str], out: str, grains: int, mixed: int) -> argparse.ArgumentParser:
    """Options with these defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--weights", type=Path, nargs=2, required=True)
    parser.add_argument("--network", nargs=2, default=list(networks))
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--grains", type=int, default=grains)
    parser.add_argument("--mixed", type=int, default=mixed)
    return parser


def models_of(options: argparse.Namespace) -> Models:
    """The shipped networks with the two that were named in their places."""
    models = load_models(device="cpu")
    for network, path in zip(options.network, options.weights, strict=True):
        models = with_network(models, network, load_network(path, network))
    return models


def beside(part: pd.DataFrame, names: Sequence[str], figures: Sequence[str]) -> pd.DataFrame:
    """Means of each of two networks, by the column `network`, and the second's difference to the first with its
    interval; a row a figure. Rows of the two are of the same images in the same order."""
    first, second = (part[part["network"] == name].reset_index()[list(figures)] for name in names)
    shown = pd.DataFrame(dict(zip(names, (first.mean().round(2), second.mean().round(2)), strict=True)))
    shown["difference"] = [with_interval(values.dropna().to_numpy()) for _, values in (second - first).items()]
    return shown
