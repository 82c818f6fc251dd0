"""Is a confidence of 0.9 right nine times out of ten?"""

import numpy as np
import pandas as pd

from crystalseg.evaluation.metrics import overlap


def best_iou(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """The largest IoU of each predicted crystal 1..count (labels integer (H, W)) with a true one, (count,)."""
    counts = overlap(truth, predicted)
    names = np.unique(predicted[predicted > 0])
    best = np.zeros(count)
    np.maximum.at(best, names[counts.shared.col] - 1, counts.iou)
    return best


def is_right(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Whether each predicted crystal 1..count (labels integer (H, W)) has IoU > 0.5 with a true one, bool (count,)."""
    return best_iou(truth, predicted, count) > 0.5


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Per bin of confidence, equally wide: confidence (mean), right (share), count; empty bins are left out."""
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": index, "confidence": confidence, "right": np.asarray(right, float)})
    return frame.groupby("bin").agg(confidence=("confidence", "mean"), right=("right", "mean"), count=("right", "size"))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error of a `reliability` table: mean over crystals of |confidence - share right| of their
    bin, 0..1 (Naeini et al. 2015)."""
    return float((table["count"] * (table["confidence"] - table["right"]).abs()).sum() / table["count"].sum())
