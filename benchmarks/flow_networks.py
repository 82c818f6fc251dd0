"""Flow networks judged on whole images rather than by their loss: PQ of the crystals they propose.

    python -m benchmarks.flow_networks FOLDER … [--networks cellpose folded] [--weights efficientnet=FILE …]
        [--images 4] [--grains 12] [--mixed 8]

Each FOLDER holds <id>.png and <id>_label.png of one material, of which the first `--images` are taken; synthetic
grains (seed 9100) and mixed images (seed 9200) below 1.2 million pixels are added. `--networks` names shipped ones,
`--weights` an architecture and a file of its weights. Crystals are proposed at the octaves, as by SiMA+, and chosen
by foreground × fit alone: a confidence network knows the proposals of its own flow network, so it must have no say.
Besides PQ: precision and recall at IoU > 0.5, how far the average crystal size is off, and the seconds that the
network takes an image.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from crystalseg.evaluation.metrics import average_crystal_size, detections, overlap, panoptic_quality
from crystalseg.segmentation.models import Models, load_models, load_network, with_network
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.sima_plus import chosen_by_fit
from crystalseg.synthetic.sets import draw_grain, draw_random
from crystalseg.training.sources import name_of, read_source

LARGEST = 1_200_000  # px


def crystals(models: Models, network: str, pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Labels int32 (H, W) of the proposals of the most foreground × fit, and the seconds that the network took."""
    pyramid = Pyramid(models, pixels)
    began = time.perf_counter()
    scales = [pyramid.flow(network, factor) for factor in Scales().octaves(pyramid.shape)]
    seconds = time.perf_counter() - began
    return chosen_by_fit(scales, pyramid.shape), seconds


def images(folders: list[Path], grains: int, mixed: int, most: int = 4) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Kind, pixels uint8 (H, W, 3) and labels int32 (H, W) of each image."""
    for folder in folders:
        for micrograph, labels, _ in islice(read_source(folder), most):
            yield name_of(folder), micrograph.pixels, labels
    drawn = [("grain", draw_grain(9100, k, 1 + k % 3)) for k in range(grains)]
    drawn += [("mixed", draw_random(9200, k)) for k in range(mixed)]
    yield from ((kind, d.image, d.labels) for kind, d in drawn if d.labels.size < LARGEST)


def figures(truth: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What is said of the crystals found in one image."""
    at_half = {name: float(values[0]) for name, values in detections(overlap(truth, labels)).items()}
    return {
        "PQ": panoptic_quality(truth, labels),
        "precision": at_half["precision"],
        "recall": at_half["recall"],
        "size error": abs(average_crystal_size(labels) / average_crystal_size(truth) - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--networks", nargs="*", default=["cellpose", "folded"])
    parser.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--grains", type=int, default=12)
    parser.add_argument("--mixed", type=int, default=8)
    options = parser.parse_args()
    shipped = load_models(device="cpu")
    runs = {name: (name, shipped) for name in options.networks}
    for given in options.weights:
        name, _, file = given.partition("=")
        runs[given] = (name, with_network(shipped, name, load_network(Path(file), name)))
    rows = []
    for kind, pixels, truth in images(options.folders, options.grains, options.mixed, options.images):
        for title, (name, models) in runs.items():
            labels, seconds = crystals(models, name, pixels)
            rows.append({"network": title, "kind": kind, "images": 1, **figures(truth, labels), "seconds": seconds})
    frame = pd.DataFrame(rows)
    print(frame[frame["network"] == frame["network"].iloc[0]].groupby("kind", sort=False)["images"].sum().to_string())
    means = frame.drop(columns="images").groupby(["network", "kind"], sort=False).mean()
    for figure in means:
        table = means[figure].unstack("kind")
        table["mean"] = table.mean(axis=1)
        print(f"\n{figure}\n{table.round(3).to_string()}")


if __name__ == "__main__":
    main()
