"""Against the cellpose package, on the same maps."""

import numpy as np
import torch
from cellpose.dynamics import compute_masks
from cellpose.metrics import flow_error

from crystalseg.segmentation.cellpose_tracking import labels_as_cellpose
from crystalseg.segmentation.flows import flow_errors, flows_from_labels
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure


def disturbed(seed):
    """Labels of a polycrystal, and a flow and foreground as an unsure network might predict them."""
    rng = np.random.default_rng(seed)
    labels = draw(seed, (200, 240), Structure("polycrystal", diameter=24, spread=0.5, boundary=2)).labels
    flow = 0.9 * flows_from_labels(labels) + rng.normal(0, 0.15, (2, *labels.shape))
    foreground = np.where(labels > 0, 2.0, -2.0) + rng.normal(0, 1.0, labels.shape)
    return labels, flow.astype(np.float32), foreground.astype(np.float32)


def same_partition(one, other):
    pairs = np.unique(np.column_stack((one.ravel(), other.ravel())), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def test_labels_are_those_of_the_package():
    """Where no two peaks beside each other have as many pixels: the package takes these in no certain order."""
    for seed in (1, 3):
        _, flow, foreground = disturbed(seed)
        for limit in (0.0, 0.4):
            theirs = compute_masks(5 * flow, foreground, flow_threshold=limit, min_size=15)
            ours = labels_as_cellpose(flow, foreground, 0.0, 15, limit)
            assert theirs.max() > 15
            assert same_partition(theirs, ours)


def test_nothing_is_found_where_nothing_is_foreground():
    _, flow, foreground = disturbed(1)
    assert labels_as_cellpose(flow, foreground - 20, 0.0, 15, 0.4).max() == 0


def test_errors_are_those_of_the_package():
    labels, flow, _ = disturbed(4)
    theirs, _ = flow_error(labels, 5 * flow, torch.device("cpu"))
    np.testing.assert_allclose(flow_errors(labels, flow), theirs, atol=1e-5)
