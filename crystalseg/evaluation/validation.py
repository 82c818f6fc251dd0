"""Measure the errors of a method's figures on labelled images."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import cumulative
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import counted, figures
from crystalseg.measurement.uncertainty import SHARES, Validation, errors, share_key
from crystalseg.micrographs.micrograph import Micrograph


def validate(
    pairs: Sequence[tuple[Micrograph, np.ndarray]],
    segment: Callable[[Micrograph], np.ndarray],
    kind: str,
    method: str,
    rule: str,
    report: Callable[[str], None] = lambda _: None,
) -> Validation:
    """Measure the figures of labelled images twice: from their labels and from the labels that `segment` finds.

    Lengths are compared in px if an image has no pixel size. Grain-size numbers are then computed for 1 µm per pixel,
    which cancels in their differences.
    """
    rows = []
    for micrograph, labels in pairs:
        rows.append(figure_errors(micrograph, segment(micrograph), labels, rule))
        report(f"{micrograph.name}: mean {100 * rows[-1].get('mean', float('nan')):+.1f} %")
    return Validation(kind, method, len(rows), by_figure(rows))


def figure_errors(micrograph: Micrograph, labels: np.ndarray, truth: np.ndarray, rule: str) -> dict[str, float]:
    """Return the figures of `labels` minus those of `truth`, int (H, W), by figure; see `validate`."""
    um = micrograph.um_per_px or 1.0
    measured, true = (Field(of, measure_crystals(of, um), um) for of in (labels, truth))
    off = errors(*(figures([field], rule) for field in (measured, true)))
    return off | _share_errors(measured, true, rule) if off else {}


def _share_errors(measured: Field, true: Field, rule: str) -> dict[str, float]:
    """Return errors of the area share above x: the largest over all x (Kolmogorov's distance of the area-weighted
    distributions), and measured minus true share at the x above which each of SHARES was measured. NaN if nothing was
    measured."""
    curves = []
    for field in (measured, true):
        sizes, weights, areas = counted([field], rule)[1]
        if not len(sizes):
            return dict.fromkeys(("area_above", *map(share_key, SHARES)), float("nan"))
        curves.append(cumulative(sizes, weights * areas))

    def above(x: np.ndarray) -> list[np.ndarray]:
        return [1 - np.append(0, q)[np.searchsorted(sizes, x, side="right")] for sizes, q in curves]

    own, real = above(np.concatenate([[0.0], *(sizes for sizes, _ in curves)]))
    errors = {"area_above": float(np.abs(own - real).max())}
    at = np.append(0.0, curves[0][0])
    own, real = above(at)
    for share in SHARES:
        first = int(np.argmax(own <= share + 1e-9))  # the smallest x above which at most this share was measured
        errors[share_key(share)] = float(own[first] - real[first])
    return errors


def by_figure(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return the errors of each measured figure from the errors of each image."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row[key] for row in rows if key in row] for key in keys}
