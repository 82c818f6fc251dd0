"""Convert fused maps to crystals."""

import numpy as np
from scipy.special import expit

from crystalseg.micrographs.labels import keep_labels, means
from crystalseg.segmentation.cellpose_tracking import labels_as_cellpose
from crystalseg.segmentation.flows import flow_errors, labels_from_flows
from crystalseg.segmentation.fusion import Prediction
from crystalseg.segmentation.settings import Instances


def instances(fused: Prediction, choice: Instances, as_cellpose: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, int32 (H, W), and each crystal's confidence, float32 (n,), from the fused maps. `as_cellpose`: see
    `methods.Method`. Runs on record without a flow threshold (None) are always traced by `flows`."""
    limit = choice.flow_threshold
    if as_cellpose and limit is not None:
        labels = labels_as_cellpose(fused.flow, fused.foreground, choice.foreground_threshold, choice.min_area, limit)
        return labels, confidences(labels, fused)
    labels = labels_from_flows(fused.flow, fused.foreground, choice.foreground_threshold, choice.min_area)
    confidence = confidences(labels, fused)
    if limit is None:
        kept = confidence >= choice.min_confidence
    else:
        kept = flow_errors(labels, fused.flow) <= limit if limit else np.ones(len(confidence), bool)
    return keep_labels(labels, kept), confidence[kept]


def confidences(labels: np.ndarray, fused: Prediction) -> np.ndarray:
    """Return foreground probability × flow length, averaged over each crystal, float32 (n,), 0..1.

    The flow is short where scales or tiles disagree. The value ranks crystals by doubt; it is not a calibrated
    probability.
    """
    probability = expit(fused.foreground)
    sure = probability * np.minimum(np.sqrt(np.square(fused.flow).sum(axis=0)), 1)
    return means(labels, sure).astype(np.float32)
