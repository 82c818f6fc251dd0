"""Is a confidence of 0.9 right nine times out of ten?"""

import numpy as np
import pandas as pd

from crystalseg.evaluate.metrics import overlap


def is_right(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Whether each predicted crystal 1..count (labels integer (H, W)) has IoU > 0.5 with a true one, bool (count,)."""
    counts = overlap(truth, predicted)
    names = np.unique(predicted[predicted > 0])
    right = np.zeros(count, bool)
    right[names[counts.shared.col[counts.iou > 0.5]] - 1] = True
    return right


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Per bin of confidence, equally wide: confidence (mean), right (share), count; empty bins are left out."""
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": index, "confidence": confidence, "right": np.asarray(right, float)})
    return frame.groupby("bin").agg(confidence=("confidence", "mean"), right=("right", "mean"), count=("right", "size"))


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error of a `reliability` table: mean over crystals of |confidence - share right| of their
    bin, 0..1 (Naeini et al. 2015)."""
    return float((table["count"] * (table["confidence"] - table["right"]).abs()).sum() / table["count"].sum())
