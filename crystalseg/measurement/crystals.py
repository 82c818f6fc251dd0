"""The crystals table: one row a crystal, units in the column names."""

from collections.abc import Collection, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from skimage.measure import regionprops

from crystalseg.measurement.diameter import equivalent_diameter

# Columns in px that also exist in µm when the image is calibrated, and the power of the pixel size they scale with.
LENGTHS = ("equivalent_diameter", "feret_max", "feret_min", "length", "width", "height", "perimeter")


def feret(mask: np.ndarray) -> tuple[float, float, float]:
    """Largest and smallest caliper width (px) and convex hull area (px²) of a bool mask (h, w).

    Pixels are unit squares: the hull is that of their corners, so a square of n px has a smallest Feret diameter of
    exactly n (ISO 13322-1: distance of parallel tangents).
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    pixels = np.concatenate(contours)[:, 0]
    corners = np.concatenate([pixels + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    hull = cv2.convexHull(corners.astype(np.int32))[:, 0].astype(np.float64)
    apart = hull[:, None] - hull[None]
    largest = np.sqrt(np.square(apart).sum(axis=2).max())
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack((-edges[:, 1], edges[:, 0]), axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    spans = hull @ normals.T
    # The smallest width of a convex polygon is reached with one side flat against a tangent.
    smallest = np.ptp(spans, axis=0).min()
    x, y = hull.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return float(largest), float(smallest), float(area)


def measure_crystals(
    labels: np.ndarray,
    um_per_px: float | None = None,
    confidence: np.ndarray | None = None,
    marks: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Table of all crystals in `labels`, integer (H, W), 0 = background.

    Columns (each length also in µm, area in µm², when `um_per_px` is given):
    id; area_px2 (pixels); equivalent_diameter_px = 2·sqrt(area/π) (paper IV-C); feret_max_px, feret_min_px (largest
    and smallest caliper width, ISO 13322-1); length_px = the larger of width_px and height_px, the sides of the
    bounding box (the paper's crystal length); perimeter_px (Crofton, four directions); aspect_ratio =
    feret_min/feret_max, 0..1 (ISO 9276-6); circularity = 4π·area/perimeter², at most 1; solidity = area / area of the
    convex hull; orientation_deg of the long axis, 0..180 counter-clockwise from the image's horizontal; centroid_x_px,
    centroid_y_px; touches_border (reaches the image's edge); confidence, 0..1, if given as float (n,) for ids 1..n;
    kind: `crystal`, or what `marks` says of an id (a pore or an artefact is no crystal).
    """
    rows = [_row(region, labels.shape) for region in regionprops(labels)]
    for row in rows:
        number = row["id"]
        row["confidence"] = float(confidence[number - 1]) if confidence is not None else np.nan
        row["kind"] = (marks or {}).get(number, "crystal")
    table = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
    if confidence is None:
        table = table.drop(columns="confidence")
    if um_per_px is not None:
        table.insert(2, "area_um2", table["area_px2"] * um_per_px**2)
        for name in LENGTHS:
            where = table.columns.get_loc(f"{name}_px") + 1
            table.insert(where, f"{name}_um", table[f"{name}_px"] * um_per_px)
    return table


def _row(region: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """What a crystal's shape and place in an image (H, W) say; `region` as `regionprops` gives it."""
    top, left, bottom, right = region.bbox
    largest, smallest, hull_area = feret(region.image)
    perimeter = region.perimeter_crofton
    return {
        "id": region.label,
        "area_px2": float(region.area),
        "equivalent_diameter_px": equivalent_diameter(region.area),
        "feret_max_px": largest,
        "feret_min_px": smallest,
        "length_px": float(max(bottom - top, right - left)),
        "width_px": float(right - left),
        "height_px": float(bottom - top),
        "perimeter_px": perimeter,
        "aspect_ratio": smallest / largest,
        "circularity": min(1.0, 4 * np.pi * region.area / perimeter**2) if perimeter > 0 else 1.0,
        "solidity": region.area / hull_area,
        # scikit-image measures from the downward axis
        "orientation_deg": np.degrees(region.orientation + np.pi / 2) % 180,
        "centroid_x_px": region.centroid[1],
        "centroid_y_px": region.centroid[0],
        "touches_border": top == 0 or left == 0 or bottom == shape[0] or right == shape[1],
    }


def remeasured(
    table: pd.DataFrame,
    changed: Collection[int],
    labels: np.ndarray,
    um_per_px: float | None,
    confidence: np.ndarray,
    marks: Mapping[int, str],
) -> pd.DataFrame:
    """`measure_crystals` again where only the ids `changed` differ from what `table` was made of: those rows are made
    anew, others stay."""
    wanted = np.zeros(len(confidence) + 1, np.int32)
    ids = [n for n in changed if n <= len(confidence)]
    wanted[ids] = ids
    new = measure_crystals(wanted[labels], um_per_px, confidence, marks)
    kept = table[~table["id"].isin(changed)]
    parts = [part for part in (kept, new) if len(part)]
    if not parts:
        return new
    return pd.concat(parts).sort_values("id", ignore_index=True)


# Types too: a table without crystals has the same.
_COLUMNS = {
    "id": int,
    "area_px2": float,
    "equivalent_diameter_px": float,
    "feret_max_px": float,
    "feret_min_px": float,
    "length_px": float,
    "width_px": float,
    "height_px": float,
    "perimeter_px": float,
    "aspect_ratio": float,
    "circularity": float,
    "solidity": float,
    "orientation_deg": float,
    "centroid_x_px": float,
    "centroid_y_px": float,
    "touches_border": bool,
    "confidence": float,
    "kind": object,
}
