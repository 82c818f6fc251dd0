"""The methods against the cellpose package at one scale, by turns in the same run, nothing shared.

    python -m benchmarks.methods [--sides 1800 4000] [--rounds 3] [--methods sima …] [--weights weights]

One drawn polycrystal of each side with crystals of many sizes. The package runs the same CPNet weights with its
defaults. Medians in seconds and ratios to the package's; where a method has no weights yet, it is left out. Of SiMA+
also, stage by stage, what its networks take and what all else does, measuring included.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from cellpose.models import CellposeModel
from cellpose.resnet_torch import CPnet

from crystalseg.evaluation.experiments import contenders
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.measurement.measurement import measure
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation import load_models, segment
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

PACKAGE = "cellpose package"
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
    found = {PACKAGE: package(models)}
    for contender in contenders(COMPARED):
        if set(contender.settings.networks) <= set(models.networks):
            found[contender.name] = lambda pixels, s=contender.settings: _labels(pixels, s, models)
    return found


def _labels(pixels: np.ndarray, settings: Settings, models: Models) -> np.ndarray:
    return segment(Micrograph(pixels, "drawn", ""), settings, models).labels


def compared(side: int, rounds: int, models: Models, chosen: Sequence[str], seed: int = 3) -> pd.DataFrame:
    """A row a program: median seconds, ratio to the package's, PQ."""
    drawn = draw(seed, (side, side), Structure("polycrystal", diameter=side / 25, spread=0.7))
    found = {name: run for name, run in runs(models).items() if name in (*chosen, PACKAGE)}
    seconds: dict[str, list[float]] = {name: [] for name in found}
    quality = {}
    for run in found.values():
        run(drawn.image[:300, :300])  # compiles what is compiled on first use
    for _ in range(rounds):
        for name, run in found.items():
            began = time.perf_counter()
            labels = run(drawn.image)
            seconds[name].append(time.perf_counter() - began)
            quality[name] = panoptic_quality(drawn.labels, labels)
    rows = pd.DataFrame({"seconds": {name: np.median(times) for name, times in seconds.items()}, "pq": quality})
    return rows.assign(of_package=rows["seconds"] / rows.loc[PACKAGE, "seconds"])


def stages(side: int, models: Models, seed: int = 4) -> dict[str, float]:
    """Seconds of SiMA+ and of measuring what it finds: each network, and what else each stage takes."""
    drawn = draw(seed, (side, side), Structure("polycrystal", diameter=side / 25, spread=0.7))
    spent: dict[str, float] = {"flow": 0.0, "judging": 0.0}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            spent[name] += time.perf_counter() - began
            return result

        return run

    flow, judging = timed("flow", Pyramid.run), timed("judging", Confidence.look)
    with patch.object(Pyramid, "run", flow), patch.object(Confidence, "look", judging):
        found = segment(Micrograph(drawn.image, "drawn", ""), Settings(), models)
    began = time.perf_counter()
    measure(found.labels, 0.5, "exclude", found.confidence)
    measuring = time.perf_counter() - began
    scales = sum(seconds for name, seconds in found.timings.items() if name.startswith("scale"))
    return {
        "flow network": spent["flow"],
        "resizing, tiling, blending": scales - spent["flow"],
        "judging network": spent["judging"],
        "proposing, choosing": found.timings["crystals"] - spent["judging"],
        "measuring": measuring,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1800])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=COMPARED)
    parser.add_argument("--weights", type=Path, default=DIRECTORY)
    options = parser.parse_args()
    models = load_models(options.weights, device="cpu")
    for side in options.sides:
        for name, row in compared(side, options.rounds, models, options.methods).iterrows():
            print(f"{side} {name:20} {row.seconds:8.2f} s  {row.of_package:5.2f} of the package  PQ {row.pq:.3f}")
        parts = stages(side, models)
        for name, seconds in parts.items():
            print(f"{side} SiMA+: {name:28} {seconds:7.2f} s  {100 * seconds / sum(parts.values()):3.0f} %")


if __name__ == "__main__":
    main()
