"""Compare several methods on one image, for the page and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from crystalseg.evaluation.difference import NAMES, difference
from crystalseg.evaluation.metrics import score
from crystalseg.measurement.distribution import sizes_and_weights, summarise


@dataclass(frozen=True)
class Compared:
    """The result of one method: its name, labels int32 (H, W), crystals table, and duration in s (NaN if unknown)."""

    name: str
    labels: np.ndarray
    crystals: pd.DataFrame
    seconds: float = float("nan")


def figures(compared: Sequence[Compared], rule: str) -> pd.DataFrame:
    """Return one row per method: average size and percentiles (with the border rule), number counted, the
    Kolmogorov–Smirnov distance of the counted diameters from those of the first method, and seconds."""
    shape = compared[0].labels.shape
    first = sizes_and_weights(compared[0].crystals, shape, rule)[0]
    rows = []
    for method in compared:
        summary = summarise(method.crystals, shape, rule)
        sizes, *_, unit = sizes_and_weights(method.crystals, shape, rule)
        both = len(first) and len(sizes)
        rows.append(
            {
                "method": method.name,
                f"average, {unit}": summary.average.value if summary else np.nan,
                f"D50 number, {unit}": summary.number[1] if summary else np.nan,
                f"D50 area, {unit}": summary.area[1] if summary else np.nan,
                f"largest, {unit}": summary.largest if summary else np.nan,
                "counted": summary.counted if summary else 0,
                "KS distance": float(ks_2samp(first, sizes, method="asymp").statistic) if both else np.nan,
                "time, s": method.seconds,
            }
        )
    return pd.DataFrame(rows)


def differences(reference: Compared, others: Sequence[Compared]) -> pd.DataFrame:
    """Return one row per other method: numbers of crystals that agree, were split, merged or missed, or are extra."""
    rows = [{"method": other.name, **difference(reference.labels, other.labels).counts} for other in others]
    return pd.DataFrame(rows, columns=["method", *NAMES])


def scores(truth: np.ndarray, compared: Sequence[Compared]) -> pd.DataFrame:
    """Return one row per method: its quality against a label image taken as truth (paper section IV-C), lengths in
    px."""
    rows = []
    for method in compared:
        s = score(truth, method.labels)
        rows.append(
            {
                "method": method.name,
                "PQ": s["pq"],
                "AJI": s["aji"],
                "true ACS, px": s["acs_true_px"],
                "ACS, px": s["acs_predicted_px"],
                "MAE ACS, px": s["mae_acs_px"],
                "MRE ACS, %": 100 * s["mre_acs"],
                "merges": int(s["merges"]),
                "splits": int(s["splits"]),
            }
        )
    return pd.DataFrame(rows)


def as_text(table: pd.DataFrame) -> list[list[str]]:
    """Return header and rows as text, for the report."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return "–" if np.isnan(value) else f"{value:.4g}"
        return str(value)

    return [list(table.columns), *([cell(v) for v in row] for row in table.itertuples(index=False))]


@dataclass(frozen=True)
class Comparison:
    """A comparison for the report: the compared methods, the reference first, and tables by their heading."""

    compared: Sequence[Compared]
    rule: str
    tables: Mapping[str, pd.DataFrame]


def compare(compared: Sequence[Compared], rule: str, truth: np.ndarray | None = None) -> Comparison:
    """Return all tables for two or more methods, and for a label image taken as truth if there is one."""
    tables = {
        "Size figures of all crystals": figures(compared, rule),
        f"Crystals against {compared[0].name}": differences(compared[0], compared[1:]),
    }
    if truth is not None:
        tables["Against the label image given"] = scores(truth, compared)
    return Comparison(compared, rule, tables)
