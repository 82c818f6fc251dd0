"""Build the crystals table: one row per crystal, with units in the column names."""

from collections.abc import Collection, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from skimage.measure import regionprops

from crystalseg.measurement.boundaries import CONVENTION, with_boundaries
from crystalseg.measurement.diameter import equivalent_diameter

# Columns in px that also exist in µm when the image is calibrated; they are lengths and scale with the pixel size.
LENGTHS = ("equivalent_diameter", "feret_max", "feret_min", "length", "width", "height", "perimeter")


# A crystal has no direction if its axes differ by at most this many px, or by at most this share of the longer axis.
ROUND, ROUND_SHARE = 0.7, 0.02
# Lattice directions (dy, dx) along which test lines cross the outlines, and the share of all directions that each one
# represents. With these shares the length of a straight edge in any direction is within 1.4 %, and a circle is exact.
_DIRECTIONS = (
    (0.148, ((0, 1), (1, 0))),
    (0.102, ((1, 1), (1, -1))),
    (0.125, ((1, 2), (2, 1), (1, -2), (2, -1))),
)
_CORNER = np.radians(50)  # a larger turn is a corner of the crystal, a smaller one only of its polygon
BEYOND = 0.25  # px by which the vertices of the polygon around a disc lie outside it, for discs of 6 to 100 px


def feret(mask: np.ndarray) -> tuple[float, float, float]:
    """Return the largest and smallest caliper width (px) and the convex hull area (px²) of a bool mask (h, w).

    A caliper width is the distance of parallel tangents (ISO 13322-1). All three values are those of the polygon that
    `hull` returns. A polygon around a circle reaches beyond it, so for the largest width the vertices where the outline
    is round are moved inwards by BEYOND. On average, a disc of 6 px or more gets its diameter within 0.3 px; an
    axis-parallel square gets its diagonal exactly.
    """
    outline = hull(mask)
    sides = np.roll(outline, -1, axis=0) - outline
    along = np.arctan2(sides[:, 1], sides[:, 0])
    turn = np.abs((along - np.roll(along, 1) + np.pi) % (2 * np.pi) - np.pi)
    _, smallest, area = _calipers(outline)
    largest = max(_farthest(outline, np.where(turn > _CORNER, 0.0, BEYOND)), smallest)
    return min(largest, feret_of_corners(mask)[0]), smallest, area  # no wider than its pixels


def feret_of_corners(mask: np.ndarray) -> tuple[float, float, float]:
    """Return the same values as `feret`, but from the hull of the pixels' corners, as before crystalseg 0.2.

    This makes a disc 1.1 px too large.
    """
    corners = np.concatenate([_pixels(mask) + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    return _calipers(cv2.convexHull(corners.astype(np.int32))[:, 0].astype(np.float64))


def hull(mask: np.ndarray) -> np.ndarray:
    """Return the convex polygon whose pixels a bool mask (h, w) most likely is: its vertices, float (k, 2), x and y.

    Between a side of the hull of the pixel centres and the next grid points outside lies a gap of 1/√(a² + b²) px,
    where (a, b) is the direction of the side in lowest terms. The edge of the crystal may lie anywhere in this gap, so
    the polygon runs through its middle. Axis-parallel squares are exact; other straight edges and circles are correct
    on average.
    """
    corners = cv2.convexHull(_pixels(mask))[:, 0]
    if len(corners) < 3:  # a single pixel or a line of pixels
        ends = [corners + np.array(offset) for offset in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))]
        return cv2.convexHull(np.concatenate(ends).astype(np.float32))[:, 0].astype(np.float64)
    sides = (np.roll(corners, -1, axis=0) - corners).astype(np.int64)
    gap = np.gcd(sides[:, 0], sides[:, 1]) / np.hypot(*sides.T)
    x, y = corners.T.astype(np.float64)
    around = np.sign(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    along = sides / np.hypot(*sides.T)[:, None]
    normals = around * np.stack((along[:, 1], -along[:, 0]), axis=1)
    reach = (normals * corners).sum(axis=1) + gap / 2
    while True:
        vertices = _meeting(normals, reach)
        run = ((np.roll(vertices, -1, axis=0) - vertices) * along).sum(axis=1)
        if run.min() > -1e-9 or len(run) <= 3:
            break
        # drop a side of which its neighbours leave nothing
        normals, reach, along = (np.delete(of, run.argmin(), axis=0) for of in (normals, reach, along))
    # the sides of a needle meet far away, but no vertex may lie far outside the pixels
    away = vertices[:, None] - corners[None]
    nearest = np.hypot(*away.transpose(2, 0, 1)).argmin(axis=1)
    off = away[np.arange(len(vertices)), nearest]
    far = np.maximum(1.0, np.hypot(*off.T) / 1.5)
    inside = corners[nearest] + off / far[:, None]
    return cv2.convexHull(inside.astype(np.float32))[:, 0].astype(np.float64)


def _meeting(normals: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the points (k, 2) where each of the lines n·x = r, (k, 2) and (k,), meets the line before it."""
    before, reached = np.roll(normals, 1, axis=0), np.roll(reach, 1)
    turn = before[:, 0] * normals[:, 1] - before[:, 1] * normals[:, 0]
    x, y = reached * normals[:, 1] - before[:, 1] * reach, before[:, 0] * reach - reached * normals[:, 0]
    return np.stack((x, y), axis=1) / turn[:, None]


def _pixels(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask's outline, int (n, 2), x and y."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.concatenate(contours)[:, 0]


def _farthest(points: np.ndarray, less: np.ndarray | float = 0.0) -> float:
    """Return the largest distance between two points, (k, 2); `less`, (k,), is subtracted at each point."""
    off = np.broadcast_to(less, len(points))
    return float((np.sqrt(np.square(points[:, None] - points[None]).sum(axis=2)) - off[:, None] - off[None]).max())


def _calipers(outline: np.ndarray) -> tuple[float, float, float]:
    """Return the largest and smallest caliper width of a convex polygon, float (k, 2), and its area."""
    sides = np.roll(outline, -1, axis=0) - outline
    lengths = np.hypot(*sides.T)
    sides, lengths = sides[lengths > 1e-9], lengths[lengths > 1e-9]
    spans = outline @ (np.stack((-sides[:, 1], sides[:, 0])) / lengths)
    # A convex polygon has its smallest width where one side lies flat against a tangent.
    smallest = float(np.ptp(spans, axis=0).min())
    x, y = outline.T
    return _farthest(outline), smallest, 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def perimeter(mask: np.ndarray) -> float:
    """Return the length, px, of the outline of a bool mask (h, w).

    The result is the perimeter of the mask's `hull` times a ratio of crossings: how many more times lines of the pixel
    grid in eight directions cross the outline than they cross that of an equally wide convex mask. By Cauchy and
    Crofton, a length is π/2 · the mean over directions of crossings · distance between lines. An axis-parallel square
    is exact, and a disc of 20 px or more is within 1 %. With `skimage.measure.perimeter_crofton` in four directions,
    the square is 5 % too short.
    """
    outline, pixels = hull(mask), _pixels(mask).astype(np.int64)
    padded = np.pad(mask.astype(bool), 2)
    seen = convex = 0.0
    for share, directions in _DIRECTIONS:
        for dy, dx in directions:
            moved = padded[dy:, max(dx, 0) : padded.shape[1] + min(dx, 0)]
            still = padded[: len(padded) - dy, max(-dx, 0) : padded.shape[1] - max(dx, 0)]
            seen += share * np.count_nonzero(moved != still) / np.hypot(dy, dx)
            convex += share * 2 * (np.ptp(pixels @ (dy, -dx)) + 1) / np.hypot(dy, dx)
    return float(np.hypot(*(np.roll(outline, -1, axis=0) - outline).T).sum()) * max(1.0, seen / convex)


def measure_crystals(
    labels: np.ndarray,
    um_per_px: float | None = None,
    confidence: np.ndarray | None = None,
    marks: Mapping[int, str] | None = None,
    convention: int = CONVENTION,
) -> pd.DataFrame:
    """Return a table of all crystals in `labels`, integer (H, W), 0 = background.

    Grains that fill the area each get half of their boundaries (`boundaries.with_boundaries`). The table has these
    columns. If `um_per_px` is given, each length also has a column in µm, and the area one in µm².

    - id
    - area_px2: number of pixels
    - equivalent_diameter_px: 2·sqrt(area/π) (paper IV-C)
    - feret_max_px, feret_min_px: largest and smallest caliper width (ISO 13322-1)
    - width_px, height_px: sides of the bounding box
    - length_px: the larger of width_px and height_px (the paper's crystal length)
    - perimeter_px: see `perimeter`
    - aspect_ratio: feret_min/feret_max, 0..1; this name and the next three are those of ISO 9276-6
    - form_factor: 4π·area/perimeter², at most 1
    - circularity: square root of form_factor
    - solidity: area / area of the convex hull, at most 1
    - orientation_deg: direction of the long axis, 0..180, counter-clockwise from the image's horizontal; NaN for a
      crystal that is as wide as it is long
    - centroid_x_px, centroid_y_px
    - touches_border: whether the crystal reaches the edge of the image
    - confidence: 0..1, only if `confidence` is given as float (n,) for ids 1..n
    - kind: `crystal`, or what `marks` gives for the id (a pore or an artefact is not a crystal)

    `convention` 1 reproduces runs recorded by crystalseg 0.1: no boundaries, Feret diameters from the pixels' corners,
    and perimeters from four directions. `convention` 2 reproduces earlier runs of crystalseg 0.2, see `boundaries`.
    """
    return _table(with_boundaries(labels, convention), um_per_px, confidence, marks, convention)


def _table(
    labels: np.ndarray,
    um_per_px: float | None,
    confidence: np.ndarray | None,
    marks: Mapping[int, str] | None,
    convention: int,
) -> pd.DataFrame:
    rows = [_row(region, labels.shape, convention) for region in regionprops(labels)]
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


def _row(region: Any, shape: tuple[int, ...], convention: int) -> dict[str, Any]:
    """Return the values that follow from a crystal's shape and its place in an image (H, W).

    `region` is an item of what `regionprops` returns.
    """
    top, left, bottom, right = region.bbox
    first = convention == 1
    largest, smallest, hull_area = (feret_of_corners if first else feret)(region.image)
    around = region.perimeter_crofton if first else perimeter(region.image)
    form_factor = min(1.0, 4 * np.pi * region.area / around**2) if around > 0 else 1.0
    long, short = region.axis_major_length, region.axis_minor_length
    is_round = not first and long - short <= max(ROUND, ROUND_SHARE * long)
    return {
        "id": region.label,
        "area_px2": float(region.area),
        "equivalent_diameter_px": equivalent_diameter(region.area),
        "feret_max_px": largest,
        "feret_min_px": smallest,
        "length_px": float(max(bottom - top, right - left)),
        "width_px": float(right - left),
        "height_px": float(bottom - top),
        "perimeter_px": around,
        "aspect_ratio": smallest / largest,
        "form_factor": form_factor,
        "circularity": np.sqrt(form_factor),
        "solidity": min(1.0, region.area / hull_area),
        # scikit-image measures from the downward axis
        "orientation_deg": np.nan if is_round else np.degrees(region.orientation + np.pi / 2) % 180,
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
    convention: int = CONVENTION,
) -> pd.DataFrame:
    """Return the table of `measure_crystals` after only the ids `changed` differ from what `table` was made of.

    The rows of these crystals, and of neighbours that share a boundary with them, are measured again; other rows are
    kept.
    """
    grown = with_boundaries(labels, convention)
    changed = {*changed, *_moved(table, grown)}
    wanted = np.zeros(len(confidence) + 1, np.int32)
    ids = [n for n in changed if n <= len(confidence)]
    wanted[ids] = ids
    new = _table(wanted[grown], um_per_px, confidence, marks, convention)
    kept = table[~table["id"].isin(changed)]
    parts = [part for part in (kept, new) if len(part)]
    if not parts:
        return new
    return pd.concat(parts).sort_values("id", ignore_index=True)


def _moved(table: pd.DataFrame, labels: np.ndarray) -> Collection[int]:
    """Return the ids whose area or centroid differs from the one in the table."""
    areas = np.bincount(labels.ravel())
    y, x = (np.bincount(labels.ravel(), np.broadcast_to(of, labels.shape).ravel()) for of in np.ogrid[_slices(labels)])
    ids = table["id"].to_numpy(int)
    ids = ids[ids < len(areas)]
    known = table.set_index("id").loc[ids, ["area_px2", "centroid_x_px", "centroid_y_px"]].to_numpy(float)
    now = np.column_stack((areas[ids], *(of[ids] / np.maximum(areas[ids], 1) for of in (x, y))))
    return ids[~np.isclose(known, now, rtol=0, atol=1e-6).all(axis=1)].tolist()


def _slices(labels: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(0, side) for side in labels.shape)


# The types are listed too, so that a table without crystals has the same ones.
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
    "form_factor": float,
    "circularity": float,
    "solidity": float,
    "orientation_deg": float,
    "centroid_x_px": float,
    "centroid_y_px": float,
    "touches_border": bool,
    "confidence": float,
    "kind": object,
}
