"""Turn the crystals table into size distributions and the average crystal size with its uncertainty."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from crystalseg.errors import UserError
from crystalseg.measurement.sampling import Places, mean_size


def border_weights(crystals: pd.DataFrame, shape: tuple[int, int], rule: str) -> np.ndarray:
    """Return the counting weight of each crystal, float64 (n,).

    Weight 0 means not counted; anything marked as something other than a crystal has weight 0. With the rule `include`,
    each crystal has weight 1. With `exclude`, crystals that touch the border of the (H, W) image do not count, and the
    others have weight W·H / ((W − w)(H − h)), where w and h are their Feret widths along the sides of the image. This
    corrects for large crystals being cut more often (Miles–Lantuéjoul correction, ISO 13322-1).
    """
    inside = counting(crystals, rule)
    if rule == "include":
        return inside.astype(float)
    height, width = shape
    free_w = width - crystals["width_px"].to_numpy(float)
    free_h = height - crystals["height_px"].to_numpy(float)
    weights = np.zeros(len(crystals))
    weights[inside] = width * height / (free_w[inside] * free_h[inside])
    return weights


def counting(crystals: pd.DataFrame, rule: str) -> np.ndarray:
    """Return whether each crystal counts, bool (n,); see `border_weights`."""
    crystal = (crystals["kind"] == "crystal").to_numpy(bool)
    return crystal if rule == "include" else crystal & ~crystals["touches_border"].to_numpy(bool)


def percentiles(sizes: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return D10, D50 and D90.

    These are the smallest sizes at which the cumulative weight reaches 10, 50 and 90 % of the total (ISO 9276-1: the x
    where Q(x) = share).
    """
    d10, d50, d90 = np.quantile(sizes, (0.1, 0.5, 0.9), weights=weights, method="inverted_cdf").tolist()
    return d10, d50, d90


def cumulative(sizes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cumulative distribution: the sizes in ascending order, and Q of each, 0..1."""
    order = np.argsort(sizes)
    q = np.cumsum(weights[order])
    return sizes[order], q / q[-1]


def histogram(
    sizes: np.ndarray, weights: np.ndarray, logarithmic: bool, bins: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """Return bin edges (bins + 1,) over the range of `sizes`, and the share in each bin (bins,), with sum 1.

    The bins are equally wide in size, or in its logarithm if `logarithmic`.
    """
    low, high = float(sizes.min()), float(sizes.max())
    if high <= low:
        low, high = low * 0.9, high * 1.1
    edges = np.geomspace(low, high, bins + 1) if logarithmic else np.linspace(low, high, bins + 1)
    # Rounding must not leave the extreme sizes outside the bins.
    edges[0], edges[-1] = low, high
    share, _ = np.histogram(sizes, edges, weights=weights)
    return edges, share / share.sum()


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """A summary of one image; sizes are equivalent circular diameters in `unit`.

    `found` is the number of crystals in the table, `counted` the number with a weight, and `border` the number that
    touch the border. `pores` and `artefacts` are the numbers of objects marked as such, which are not crystals.
    `average` is the average crystal size (ACS) with its 95 % sampling interval. `number` and `area` are D10, D50 and
    D90 of the number- and area-weighted distributions; the span of each is (D90 − D10) / D50. `smallest` and `largest`
    are the extreme sizes counted. `area_share` is the crystals' share of the image.
    """

    unit: str
    rule: str
    found: int
    counted: int
    border: int
    average: Interval
    number: tuple[float, float, float]
    area: tuple[float, float, float]
    smallest: float
    largest: float
    area_share: float
    pores: int = 0
    artefacts: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as a JSON-ready dictionary for the record."""
        return asdict(self)

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> "Summary":
        """Read a summary from the record.

        Raise UserError if it cannot be read, for example because a later version wrote it.
        """
        try:
            own = {f.name: facts[f.name] for f in fields(Summary) if f.name in facts}
            average = {end: math.nan if of is None else float(of) for end, of in facts["average"].items()}
            own |= {"average": Interval(**average)}
            return Summary(**own | {by: (d10, d50, d90) for by in ("number", "area") for d10, d50, d90 in [facts[by]]})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError("The figures on record cannot be read, because another version wrote them.") from error

    @property
    def number_span(self) -> float:
        return (self.number[2] - self.number[0]) / self.number[1]

    @property
    def area_span(self) -> float:
        return (self.area[2] - self.area[0]) / self.area[1]


def average_size(sizes: np.ndarray, weights: np.ndarray, places: Places) -> Interval:
    """Return the weighted mean of `sizes` and its 95 % interval.

    The interval is mean ± U, as in the uncertainty budget (`sampling.mean_size`), but not below 0. It covers the chance
    of which crystals lie in the field, not errors of segmentation or calibration. A single crystal has no interval:
    both ends are NaN.
    """
    mean, of = mean_size(sizes, weights, places)
    return Interval(mean, float(np.maximum(mean - of.reach, 0.0)), mean + of.reach)


def sizes_and_weights(
    crystals: pd.DataFrame, shape: tuple[int, int], rule: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return diameters (n,), counting weights (n,) and areas (n,) of the counted crystals, and the unit.

    The unit is µm if the table is calibrated, else px.
    """
    unit = "µm" if "equivalent_diameter_um" in crystals else "px"
    suffix = "um" if unit == "µm" else "px"
    weights = border_weights(crystals, shape, rule)
    counted = weights > 0
    sizes = crystals[f"equivalent_diameter_{suffix}"].to_numpy(float)[counted]
    areas = crystals[f"area_{suffix}2"].to_numpy(float)[counted]
    return sizes, weights[counted], areas, unit


def summarise(crystals: pd.DataFrame, shape: tuple[int, int], rule: str) -> Summary | None:
    """Return the summary of the crystals found in an (H, W) image, or None if no crystal counts."""
    sizes, weights, areas, unit = sizes_and_weights(crystals, shape, rule)
    if not len(sizes):
        return None
    where = crystals.loc[counting(crystals, rule), ["centroid_x_px", "centroid_y_px"]].to_numpy(float)
    places = Places.of([(where[:, 0], where[:, 1], shape)])
    kinds = crystals["kind"].value_counts()
    crystals = crystals[crystals["kind"] == "crystal"]
    return Summary(
        unit=unit,
        rule=rule,
        found=len(crystals),
        counted=len(sizes),
        border=int(crystals["touches_border"].sum()),
        average=average_size(sizes, weights, places),
        number=percentiles(sizes, weights),
        area=percentiles(sizes, weights * areas),
        smallest=float(sizes.min()),
        largest=float(sizes.max()),
        area_share=float(crystals["area_px2"].sum() / (shape[0] * shape[1])),
        pores=int(kinds.get("pore", 0)),
        artefacts=int(kinds.get("artefact", 0)),
    )
