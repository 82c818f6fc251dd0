"""What a method's figures are off by, measured on labelled images."""

from collections.abc import Callable, Sequence

import numpy as np

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import figures
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
        um = micrograph.um_per_px or 1.0
        measured, true = (
            figures([Field(of, measure_crystals(of, um), um)], rule) for of in (segment(micrograph), labels)
        )
        rows.append(errors(measured, true))
        report(f"{micrograph.name}: mean {100 * rows[-1].get('mean', float('nan')):+.1f} %")
    keys = dict.fromkeys(key for row in rows for key in row)
    return Validation(kind, method, len(rows), {key: [row[key] for row in rows if key in row] for key in keys})
