"""Whether the same image gives the same crystals: on one device again, and in bfloat16 beside float32.

    python -m benchmarks.determinism FOLDER ... [--method sima-plus]

FOLDERs hold images and `<id>_label.png`. Printed: how many images give bit-identical labels when run again; and,
where the processor computes in bfloat16, by how much PQ of one against the other and the average crystal size differ.
"""

import argparse
from unittest.mock import patch

import numpy as np

from crystalseg.evaluation.metrics import average_crystal_size, panoptic_quality
from crystalseg.micrographs.pairs import read_pairs
from crystalseg.segmentation import Settings, load_models, precision, segment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--method", default="sima-plus")
    options = parser.parse_args()
    models, settings = load_models(), Settings(options.method)
    pairs = [pair for folder in options.folders for pair in read_pairs(folder)]
    same, agreement, sizes = 0, [], []
    for micrograph, _ in pairs:
        first, again = (segment(micrograph, settings, models).labels for _ in range(2))
        same += np.array_equal(first, again)
        with patch.object(precision, "computes_in_bf16", return_value=False):
            exact = segment(micrograph, settings, models).labels
        agreement.append(panoptic_quality(exact, first))
        sizes.append(average_crystal_size(first) / average_crystal_size(exact) - 1)
    print(
        f"{options.method} on {precision.words(models.device)}: {same} of {len(pairs)} images identical when run again"
    )
    if precision.computes_in_bf16(models.device):
        worst = 100 * np.abs(sizes).max()
        print(
            f"beside float32: PQ of one against the other {np.mean(agreement):.3f} (least {np.min(agreement):.3f}), "
            f"average size {100 * np.mean(sizes):+.2f} % in the mean, {worst:.2f} % at most"
        )


if __name__ == "__main__":
    main()
