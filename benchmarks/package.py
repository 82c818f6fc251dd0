"""Does `cellpose-noresize` give what the cellpose package gives with its defaults, from the same weights?

    python -m benchmarks.package FOLDER … [--most 2]

Average precision at IoU 0.9 between the labels of the two, and how many each finds, on up to --most images of each
FOLDER (<id>.png and <id>_label.png).
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.methods import package
from crystalseg.evaluation.metrics import detections, overlap
from crystalseg.micrographs.pairs import read_pairs
from crystalseg.segmentation import load_models, segment
from crystalseg.segmentation.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=2)
    options = parser.parse_args()
    models = load_models(device="cpu")
    theirs = package(models)
    for folder in options.folders:
        for micrograph, _ in islice(read_pairs(folder), options.most):
            wanted = theirs(micrograph.pixels)
            found = segment(micrograph, Settings("cellpose-noresize"), models).labels
            precision = detections(overlap(wanted, found), np.array([0.9]))["ap"][0]
            print(
                f"{folder}/{micrograph.name}: {wanted.max()} and {found.max()} crystals, AP {precision:.3f}", flush=True
            )


if __name__ == "__main__":
    main()
