"""The size that is reported of a crystal: its equivalent circular diameter (paper section IV-C)."""

from typing import overload

import numpy as np


@overload
def equivalent_diameter(area: np.ndarray) -> np.ndarray: ...
@overload
def equivalent_diameter(area: float) -> float: ...
def equivalent_diameter(area: np.ndarray | float) -> np.ndarray | float:
    """2 · sqrt(area / π): the diameter of a circle of that area, in px for px², in µm for µm²."""
    return 2 * np.sqrt(area / np.pi)


def diameters(labels: np.ndarray) -> np.ndarray:
    """Equivalent circular diameter of each crystal of labels (H, W), px, float64 (n,); absent numbers are left out."""
    area = np.bincount(labels.ravel())[1:]
    return equivalent_diameter(area[area > 0])
