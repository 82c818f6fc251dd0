"""Networks of size levels side by side: IoU of each level, PQ of the pipeline that they weigh, and their time an image.

    python -m benchmarks.size_levels FOLDER … --weights A B [--network sima sima-sa2] [--grains 24] [--mixed 16]
        [--out size_levels.csv] [--maps]

Each of the --weights holds the weights of the --network in its place, A of the first and B of the second; all others
are the shipped ones. Each FOLDER holds <id>.png and <id>_label.png; synthetic grains (seed 9100) and mixed images (seed
9200) are added. Printed are means, %, and the difference of the second to the first with the paired 95 % interval of a
bootstrap over images. --maps: the levels alone, in a tenth of the time.
"""

import time

import numpy as np
import pandas as pd

from benchmarks.flow_networks import images
from benchmarks.side_by_side import beside, models_of, parser_of
from crystalseg.evaluation.experiments import SharedPyramid
from crystalseg.evaluation.metrics import average_crystal_size, centreline_dice, panoptic_quality
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.attention import enlarge, levels_from_labels
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings


def level_iou(maps: np.ndarray, truth: np.ndarray) -> list[float]:
    """IoU of each level where it is the likeliest, of the pixels that are crystal, NaN where neither has it; maps
    float32 (N + 1, h, w), truth bool (N + 1, H, W), the last the background."""
    maps, truth, crystal = maps[:-1], truth[:-1], ~truth[-1]
    likeliest = (enlarge(maps, crystal.shape).argmax(axis=0) == np.arange(len(maps))[:, None, None]) & crystal
    both, either = (likeliest & truth).sum(axis=(1, 2)), (likeliest | truth).sum(axis=(1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), np.nan).tolist()


def main() -> None:
    parser = parser_of(__doc__, ["sima", "sima-sa2"], "size_levels.csv", 24, 16)
    parser.add_argument("--maps", action="store_true")
    options = parser.parse_args()
    models = models_of(options)
    rows = []
    for number, (kind, pixels, truth) in enumerate(images(options.folders, options.grains, options.mixed)):
        pyramid = SharedPyramid(models, pixels)
        levels = levels_from_labels(truth)
        for name in options.network:
            start = time.perf_counter()
            maps = pyramid.attention(name)
            seconds = time.perf_counter() - start
            row = {"network": name, "image": number, "kind": kind}
            row |= {f"IoU level {k}": iou for k, iou in enumerate(level_iou(maps, levels), start=1)}
            if not options.maps:
                labels = segment(Micrograph(pixels, "", ""), Settings(name), models, pyramid=pyramid).labels
                row |= {"PQ": panoptic_quality(truth, labels), "clDice": centreline_dice(truth, labels)}
                row["size error"] = abs(average_crystal_size(labels) / average_crystal_size(truth) - 1)
            rows.append(row | {"seconds": seconds})
        pd.DataFrame(rows).to_csv(options.out, index=False)
    table = pd.DataFrame(rows)
    figures = table.columns.drop(["network", "image", "kind", "seconds"])
    table[figures] *= 100
    for kind, part in [("all", table), *table.groupby("kind", sort=False)]:
        shown = beside(part, options.network, [*figures, "seconds"])
        print(f"\n{kind}, {len(part) // 2} images\n{shown.to_string()}")


if __name__ == "__main__":
    main()
