"""Networks of lines and ground side by side, each divided by the lines' regions and by a watershed of them.

    python -m benchmarks.boundary_networks FOLDER … --weights A B [--network boundary boundary-sa2] [--grains 15]
        [--mixed 8] [--out boundary_networks.csv]

The --weights are files, A of the first --network and B of the second. Each FOLDER holds <id>.png and <id>_label.png;
synthetic grains (seed 9100) and mixed images (seed 9200) are added. Printed are means, %, and the difference of the
second network to the first with the paired 95 % interval of a bootstrap over images.
"""

import time

import pandas as pd

from benchmarks.flow_networks import images
from benchmarks.side_by_side import beside, models_of, parser_of
from crystalseg.evaluation.metrics import average_crystal_size, centreline_dice, panoptic_quality
from crystalseg.segmentation.baselines import BOUNDARY_THRESHOLD, basins_within, probabilities, regions_between
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.settings import Instances

DIVIDED = {"regions": regions_between, "watershed": basins_within}
FIGURES = ["PQ", "clDice", "size error", "seconds"]


def main() -> None:
    options = parser_of(__doc__, ["boundary", "boundary-sa2"], "boundary_networks.csv", 15, 8).parse_args()
    models = models_of(options)
    rows = []
    for number, (kind, pixels, truth) in enumerate(images(options.folders, options.grains, options.mixed)):
        pyramid = Pyramid(models, pixels)
        for name in options.network:
            start = time.perf_counter()
            line, ground = probabilities(pyramid, models[name])
            seconds = time.perf_counter() - start
            for division, divide in DIVIDED.items():
                labels = divide(line, ground > 0.5, BOUNDARY_THRESHOLD, Instances().min_area)
                size = average_crystal_size(labels) / average_crystal_size(truth) if labels.any() else 0.0
                row = {"network": name, "image": number, "kind": kind, "division": division, "seconds": seconds}
                row |= {"PQ": 100 * panoptic_quality(truth, labels), "clDice": 100 * centreline_dice(truth, labels)}
                rows.append(row | {"size error": 100 * abs(size - 1)})
        pd.DataFrame(rows).to_csv(options.out, index=False)
    table = pd.DataFrame(rows)
    for division, part in table.groupby("division", sort=False):
        shown = beside(part, options.network, FIGURES)
        print(f"\n{division}, {len(part) // 2} images\n{shown.to_string()}")
        print(part.pivot_table("PQ", "kind", "network").round(1).to_string())


if __name__ == "__main__":
    main()
