"""Flow truth and tracking against cellpose 3.1.1.3, on the same fields in the same run, one core each.

    python -m benchmarks.flows [--sides 500 1800 4000] [--json FILE]

Exact fields, and those that a flow network predicts. Cellpose's defaults are used: masks_to_flows(masks),
compute_masks(5 · flow, logit). Each program is called once on a small field first, so that compilation does not count.
Of several sides, the power of the area with which the time of ours grows is fitted.
"""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from cellpose import dynamics

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.segmentation.flows import flows_from_labels, labels_from_flows
from crystalseg.segmentation.models import Models, load_models
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def their_labels(flow, foreground):
    return dynamics.compute_masks(5 * flow, foreground).astype(np.int32)


def predicted(side: int, models: Models, seed: int = 3) -> dict:
    """Tracking of what SiMA+'s flow network says of a drawn polycrystal at its own resolution."""
    drawn = draw(seed, (side, side), Structure("polycrystal", diameter=side / 30, spread=0.5))
    scale = Pyramid(models, drawn.image).flow("folded", 1.0)
    ours, ours_seconds = timed(labels_from_flows, scale.flow, scale.foreground)
    theirs, their_seconds = timed(their_labels, scale.flow, scale.foreground)
    return {
        "side_px": side,
        "predicted_seconds": ours_seconds,
        "predicted_seconds_cellpose": their_seconds,
        "predicted_ratio": their_seconds / ours_seconds,
        "predicted_pq": panoptic_quality(drawn.labels, ours),
        "predicted_pq_cellpose": panoptic_quality(drawn.labels, theirs),
    }


def compare(side: int, seed: int = 3) -> dict:
    labels = draw(seed, (side, side), Structure("polycrystal", diameter=side / 30, spread=0.5)).labels
    foreground = np.where(labels > 0, 5.0, -5.0).astype(np.float32)
    flow, ours_truth = timed(flows_from_labels, labels)
    their_flow, their_truth = timed(dynamics.masks_to_flows, labels)
    inside = labels > 0
    ours, ours_tracking = timed(labels_from_flows, flow, foreground)
    theirs, their_tracking = timed(their_labels, flow, foreground)
    return {
        "side_px": side,
        "crystals": int(labels.max()),
        "truth_seconds": ours_truth,
        "truth_seconds_cellpose": their_truth,
        "truth_ratio": their_truth / ours_truth,
        "truth_median_cosine": float(np.median((flow * their_flow).sum(axis=0)[inside])),
        "tracking_seconds": ours_tracking,
        "tracking_seconds_cellpose": their_tracking,
        "tracking_ratio": their_tracking / ours_tracking,
        "instances": int(ours.max()),
        "instances_cellpose": len(np.unique(theirs)) - 1,
        "pq": panoptic_quality(labels, ours),
        "pq_cellpose": panoptic_quality(labels, theirs),
    }


def table(sides: Sequence[int], seed: int = 3) -> pd.DataFrame:
    """A row a side."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    models = load_models(device="cpu")
    compare(220)
    predicted(220, models)
    return pd.DataFrame([compare(side, seed) | predicted(side, models, seed) for side in sides])


def growth(found: pd.DataFrame, what: str) -> float:
    """The power of the area with which our time for `what` grows."""
    return float(np.polyfit(2 * np.log(found["side_px"]), np.log(found[f"{what}_seconds"]), 1)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[500, 1800, 4000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = table(options.sides)
    print(results.set_index("side_px").T.to_string(float_format="%.4g"))
    if len(results) > 1:
        for what in ("truth", "tracking"):
            print(f"{what}: time grows with the area to the power of {growth(results, what):.2f}")
    if options.json:
        options.json.write_text(results.to_json(orient="records", indent=2))
