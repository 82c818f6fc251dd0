"""How good labels are where a person has checked: PQ, number and sizes inside checked areas."""

from dataclasses import dataclass

import numpy as np

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.evaluation.validation import figure_errors
from crystalseg.micrographs.annotations import Annotation, inside


@dataclass(frozen=True)
class AreaScore:
    """name: of the image; crystals: how many there are; pq: panoptic quality; number: found less true, relative;
    errors: of each size figure, as of measurement.uncertainty.Validation."""

    name: str
    crystals: int
    pq: float
    number: float
    errors: dict[str, float]


def area_score(one: Annotation, labels: np.ndarray, rule: str) -> AreaScore:
    """Labels (H, W) of the whole image, scored where `one` was checked: a crystal counts if half of it lies there."""
    true, found = (inside(each, one.checked) for each in (one.labels, labels))
    count = int(true.max())
    return AreaScore(
        one.micrograph.name,
        count,
        panoptic_quality(true, found),
        int(found.max()) / count - 1,
        figure_errors(one.micrograph, found, true, rule),
    )
