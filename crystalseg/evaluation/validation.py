"""What a method's figures are off by, measured on labelled images."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import cumulative
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import counted, figures
from crystalseg.measurement.uncertainty import Validation, errors
from crystalseg.micrographs.micrograph import Micrograph


def validate(
    pairs: Sequence[tuple[Micrograph, np.ndarray]],
    segment: Callable[[Micrograph], np.ndarray],
    kind: str,
    method: str,
    rule: str,
    report: Callable[[str], None] = lambda _: None,
) -> Validation:
    """Measure the figures of labelled images twice, from their labels and from what `segment` finds.

    Lengths are compared in px where an image has no pixel size; grain-size numbers then as if a pixel were 1 µm, which
    drops out of their differences.
    """
    rows = []
    for micrograph, labels in pairs:
        rows.append(figure_errors(micrograph, segment(micrograph), labels, rule))
        report(f"{micrograph.name}: mean {100 * rows[-1].get('mean', float('nan')):+.1f} %")
    return Validation(kind, method, len(rows), by_figure(rows))


def figure_errors(micrograph: Micrograph, labels: np.ndarray, truth: np.ndarray, rule: str) -> dict[str, float]:
    """By figure, of `labels` less of `truth`, int (H, W): see `validate`."""
    um = micrograph.um_per_px or 1.0
    measured, true = (Field(of, measure_crystals(of, um), um) for of in (labels, truth))
    off = errors(*(figures([field], rule, resamples=0) for field in (measured, true)))
    return off | {"area_above": _furthest(measured, true, rule)} if off else {}


def _furthest(measured: Field, true: Field, rule: str) -> float:
    """The largest difference of the area shares above x for any x: Kolmogorov's distance of the distributions by area;
    NaN if nothing was measured."""
    shares = []
    for field in (measured, true):
        sizes, weights, areas = counted([field], rule)[1]
        if not len(sizes):
            return float("nan")
        shares.append(cumulative(sizes, weights * areas))
    at = np.concatenate([sizes for sizes, _ in shares])
    reached = [np.append(0, q)[np.searchsorted(sizes, at, side="right")] for sizes, q in shares]
    return float(np.abs(reached[0] - reached[1]).max())


def by_figure(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The errors of each figure that was measured, from those of each image."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row[key] for row in rows if key in row] for key in keys}
