"""ClickNets side by side: clicks to one crystal where nothing is segmented yet, by each of two weights files.

    python -m benchmarks.click_networks FOLDER … --weights A B [--alone B] [--grains 6] [--crystals 30]
        [--out click_networks.csv]

Each FOLDER holds <id>.png and <id>_label.png, of which four are taken; synthetic grains (seed 9100) are added. A
simulated user clicks in the middle of a crystal, then in the middle of the largest piece that is wrong, up to 20 times
(NoC: clicks until the IoU is 0.85 or 0.9). --alone: weights whose resolutions do not help each other. Printed are means
by the octave of the crystal's length and the difference of the second to the first, with the paired 95 % interval of a
bootstrap over crystals.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.flow_networks import images
from crystalseg.evaluation.clicks import GOALS, iou_by_clicks, noc
from crystalseg.evaluation.tables import with_interval
from crystalseg.micrographs.labels import crystal_lengths
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks.clicks import ClickNet
from crystalseg.networks.weights import load_weights
from crystalseg.segmentation.corrections.clicks import Seen
from crystalseg.segmentation.models import load_models
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings


def network(path: Path, helped: bool) -> ClickNet:
    made = ClickNet(helped)
    made.load_state_dict(load_weights(path, "clicks")[0])
    return made.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--weights", type=Path, nargs=2, required=True)
    parser.add_argument("--alone", type=Path, nargs="*", default=[])
    parser.add_argument("--grains", type=int, default=6)
    parser.add_argument("--crystals", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("click_networks.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = load_models(device="cpu")
    networks = {str(path): network(path, path not in options.alone) for path in options.weights}
    rows = []
    for number, (kind, pixels, truth) in enumerate(images(options.folders, options.grains, 0)):
        found = segment(Micrograph(pixels, "", ""), Settings(), models)
        seen = Seen.of(pixels, found.scales)
        lengths = crystal_lengths(truth)
        names = np.setdiff1d(np.unique(truth), 0)
        for crystal in np.random.default_rng(number).permutation(names)[: options.crystals].tolist():
            for name, clicker in networks.items():
                curve = iou_by_clicks(seen, clicker, truth == crystal, enough=max(GOALS))
                row = {"image": number, "kind": kind, "crystal": crystal, "network": name, "IoU after one": curve[0]}
                octave = int(2 ** np.floor(np.log2(lengths[crystal])))
                rows.append(row | {"px": octave} | {f"NoC@{100 * goal:.0f}": noc(curve, goal) for goal in GOALS})
        pd.DataFrame(rows).to_csv(options.out, index=False)
        print(f"{kind} {number}", end="  ", flush=True)
    table = pd.DataFrame(rows)
    figures = ["NoC@85", "NoC@90", "IoU after one"]
    for by in ("px", "kind"):
        print(table.pivot_table(figures, by, "network").round(2).to_string())
    first, second = (table[table["network"] == name].reset_index()[figures] for name in networks)
    for figure, values in (second - first).items():
        print(f"{figure}: {with_interval(values.to_numpy())}")


if __name__ == "__main__":
    main()
