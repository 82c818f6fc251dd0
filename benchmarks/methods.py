"""The methods against the cellpose package at one scale, by turns in the same run, nothing shared.

    python -m benchmarks.methods [--side 1800] [--rounds 3] [--weights weights]

One drawn polycrystal of SIDE × SIDE px with crystals of many sizes. The package runs the same CPNet weights with its
defaults. Medians in seconds and ratios to the package's; where a method has no weights yet, it is left out.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cellpose.models import CellposeModel
from cellpose.resnet_torch import CPnet

from crystalseg.evaluation.experiments import contenders
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.segmentation import load_models, segment
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

COMPARED = ("cellpose-noresize", "sima", "sima-plus@cellpose", "sima-plus@folded")


def package(models: Models) -> Callable[[np.ndarray], np.ndarray]:
    """The cellpose package with our CPNet's weights."""
    network = CPnet([3, 32, 64, 128, 256], 3, sz=3)
    network.load_state_dict(models["cellpose"].state_dict())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cpnet"
        network.save_model(str(path))
        model = CellposeModel(pretrained_model=str(path), nchan=3)
    return lambda pixels: model.eval(pixels, diameter=None)[0].astype(np.int32)


def runs(models: Models) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    found = {"cellpose package": package(models)}
    for contender in contenders(COMPARED):
        if set(contender.settings.networks) <= set(models.networks):
            found[contender.name] = lambda pixels, s=contender.settings: _labels(pixels, s, models)
    return found


def _labels(pixels: np.ndarray, settings: Settings, models: Models) -> np.ndarray:
    return segment(Micrograph(pixels, "drawn", ""), settings, models).labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path, default=DIRECTORY)
    options = parser.parse_args()
    diameter = options.side / 25
    drawn = draw(3, (options.side, options.side), Structure("polycrystal", diameter=diameter, spread=0.7))
    found = runs(load_models(options.weights, device="cpu"))
    seconds: dict[str, list[float]] = {name: [] for name in found}
    quality = {}
    for run in found.values():
        run(drawn.image[:300, :300])  # compiles what is compiled on first use
    for _ in range(options.rounds):
        for name, run in found.items():
            began = time.perf_counter()
            labels = run(drawn.image)
            seconds[name].append(time.perf_counter() - began)
            quality[name] = panoptic_quality(drawn.labels, labels)
    usual = np.median(seconds["cellpose package"])
    for name, times in seconds.items():
        middle = np.median(times)
        print(f"{name:20} {middle:8.2f} s  {middle / usual:5.2f} of the package  PQ {quality[name]:.3f}")


if __name__ == "__main__":
    main()
