"""A click answered by ClickNet against one answered by the flow's scales, by turns in the same run, one core.

    python -m benchmarks.clicks IMAGE LABELS [--crystals 40]

What is seen of the image is made once, before the clocks run, as on the Correct page; it is timed apart.
"""

import argparse
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.pairs import read_labels
from crystalseg.segmentation.corrections.clicks import Clicks, Seen
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.corrections.evidence import Evidence
from crystalseg.segmentation.corrections.history import History
from crystalseg.segmentation.models import load_clicks, load_models
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--crystals", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    micrograph = read_micrograph(options.image)
    truth = read_labels(options.labels)
    found = segment(micrograph, Settings(), load_models(device="cpu"))
    network = load_clicks()
    assert network is not None
    start = time.perf_counter()
    seen = Seen.of(micrograph.pixels, found.scales)
    embedding = time.perf_counter() - start
    evidence = Evidence(micrograph.pixels, found.scales)
    nothing = np.zeros(truth.shape, np.int32)
    times: dict[str, list[float]] = {"network": [], "flow": []}
    for number in np.random.default_rng(0).permutation(np.setdiff1d(truth, 0))[: options.crystals]:
        places = np.argwhere(truth == number)
        point = tuple(places[len(places) // 2].tolist())
        for name in times:
            history = History(nothing, np.zeros(0, np.float32), evidence)
            start = time.perf_counter()
            with suppress(CorrectionError):
                clicked = name == "network"
                draws = Clicks(0, (point,)).correction(nothing, seen, network) if clicked else None
                history.do(draws or Correction("add", points=(point,)))
            times[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    height, width = truth.shape
    print(f"{width} × {height} px, {len(seen.factors)} resolutions; embedding, once: {embedding:.2f} s")
    print(
        f"a click, median: network {1000 * medians['network']:.0f} ms, flow {1000 * medians['flow']:.0f} ms, ", end=""
    )
    print(f"ratio {medians['network'] / medians['flow']:.2f}; slowest by network {1000 * max(times['network']):.0f} ms")


if __name__ == "__main__":
    main()
