"""Compute the size that is reported for a crystal: its equivalent circular diameter (paper section IV-C)."""

from typing import overload

import numpy as np


@overload
def equivalent_diameter(area: np.ndarray) -> np.ndarray: ...
@overload
def equivalent_diameter(area: float) -> float: ...
def equivalent_diameter(area: np.ndarray | float) -> np.ndarray | float:
    """Return 2 · sqrt(area / π), the diameter of a circle of that area: px for px², µm for µm²."""
    return 2 * np.sqrt(area / np.pi)


def diameters(labels: np.ndarray) -> np.ndarray:
    """Return the equivalent circular diameter, px, float64 (n,), of each crystal in labels (H, W).

    Numbers that do not occur are left out.
    """
    area = np.bincount(labels.ravel())[1:]
    return equivalent_diameter(area[area > 0])
