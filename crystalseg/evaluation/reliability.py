"""Check whether confidence is reliable: whether 90 % of the crystals with a confidence of 0.9 are right."""

import numpy as np
import pandas as pd

from crystalseg.evaluation.metrics import overlap


def best_iou(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Return the largest IoU of each predicted crystal 1..count (labels integer (H, W)) with a true one, (count,)."""
    counts = overlap(truth, predicted)
    names = np.unique(predicted[predicted > 0])
    best = np.zeros(count)
    np.maximum.at(best, names[counts.shared.col] - 1, counts.iou)
    return best


def is_right(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Return whether each predicted crystal 1..count (labels integer (H, W)) has IoU > 0.5 with a true one, bool
    (count,)."""
    return best_iou(truth, predicted, count) > 0.5


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Return confidence (mean), right (share) and count per bin of equal width in confidence, without empty bins."""
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": index, "confidence": confidence, "right": np.asarray(right, float)})
    return frame.groupby("bin").agg(confidence=("confidence", "mean"), right=("right", "mean"), count=("right", "size"))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error of a `reliability` table, 0..1: the mean over crystals of |confidence -
    share right| of their bin (Naeini et al. 2015)."""
    return float((table["count"] * (table["confidence"] - table["right"]).abs()).sum() / table["count"].sum())
