"""Flow networks judged on whole images rather than by their loss: PQ of the crystals they propose.

    python -m benchmarks.flow_networks FOLDER … [--folded weights/folded.safetensors] [--grains 12] [--mixed 8]

Each FOLDER holds <id>.png and <id>_label.png of one material, of which four at most are taken; synthetic grains (seed
9100) and mixed images (seed 9200) below 1.2 million pixels are added. Crystals are proposed at the octaves, as by
SiMA+, and chosen by foreground × fit alone: the confidence network knows the proposals of CPNet, so it must
have no say.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from crystalseg.evaluation.metrics import average_crystal_size, panoptic_quality
from crystalseg.micrographs.pairs import read_pairs
from crystalseg.segmentation.models import Models, load_models, load_network, with_network
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.sima_plus import chosen_by_fit
from crystalseg.synthetic.sets import draw_grain, draw_random

LARGEST = 1_200_000  # px


def crystals(models: Models, network: str, pixels: np.ndarray) -> np.ndarray:
    """Labels int32 (H, W) of the proposals of the most foreground × fit."""
    pyramid = Pyramid(models, pixels)
    scales = [pyramid.flow(network, factor) for factor in Scales().octaves(pyramid.shape)]
    return chosen_by_fit(scales, pyramid.shape)


def images(folders: list[Path], grains: int, mixed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for folder in folders:
        for micrograph, labels in islice(read_pairs(folder), 4):
            yield folder.parent.name, micrograph.pixels, labels
    drawn = [("grain", draw_grain(9100, k, 1 + k % 3)) for k in range(grains)]
    drawn += [("mixed", draw_random(9200, k)) for k in range(mixed)]
    yield from ((kind, d.image, d.labels) for kind, d in drawn if d.labels.size < LARGEST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--folded", type=Path, default=Path("weights/folded.safetensors"))
    parser.add_argument("--grains", type=int, default=12)
    parser.add_argument("--mixed", type=int, default=8)
    options = parser.parse_args()
    shipped = load_models(device="cpu")
    networks = {"cellpose": shipped, "folded": with_network(shipped, "folded", load_network(options.folded, "folded"))}
    rows = []
    for kind, pixels, truth in images(options.folders, options.grains, options.mixed):
        for name, models in networks.items():
            labels = crystals(models, name, pixels)
            error = abs(average_crystal_size(labels) / average_crystal_size(truth) - 1)
            rows.append({"network": name, "kind": kind, "pq": panoptic_quality(truth, labels), "size error": error})
    table = pd.DataFrame(rows).groupby(["network", "kind"], sort=False).mean().unstack("network")
    table.loc["mean of kinds"] = table.mean()
    print(table.round(4).to_string())


if __name__ == "__main__":
    main()
