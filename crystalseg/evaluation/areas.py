"""Score labels where a person has checked: PQ, number and sizes inside checked areas."""

from dataclasses import dataclass

import numpy as np

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.evaluation.validation import figure_errors
from crystalseg.micrographs.annotations import Annotation, inside


@dataclass(frozen=True)
class AreaScore:
    """The score of an image. name: of the image; crystals: true number; pq: panoptic quality; number: relative error of
    the number found; errors: of each size figure, as in `measurement.uncertainty.Validation`."""

    name: str
    crystals: int
    pq: float
    number: float
    errors: dict[str, float]


def area_score(one: Annotation, labels: np.ndarray, rule: str) -> AreaScore:
    """Score labels (H, W) of a whole image where `one` was checked; a crystal counts if at least half lies there."""
    true, found = (inside(each, one.checked) for each in (one.labels, labels))
    count = int(true.max())
    return AreaScore(
        one.micrograph.name,
        count,
        panoptic_quality(true, found),
        int(found.max()) / count - 1,
        figure_errors(one.micrograph, found, true, rule),
    )
