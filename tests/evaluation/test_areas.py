import numpy as np
import pytest

from crystalseg.evaluation.areas import area_score
from crystalseg.micrographs.annotations import annotation
from tests.conftest import discs
from tests.micrographs.test_annotations import area, micrograph

#  three discs, of which the first two lie in the checked upper half
TRUE = discs((80, 80), [(20, 20, 10), (20, 60, 10), (60, 40, 10)])
ONE = annotation(micrograph(TRUE), TRUE, area(0, 0, 40, 80, TRUE.shape))


def test_what_lies_outside_the_area_does_not_count():
    wrong_below = discs((80, 80), [(20, 20, 10), (20, 60, 10), (60, 20, 15), (60, 60, 5)])
    score = area_score(ONE, wrong_below, "include")
    assert (score.pq, score.number, score.crystals) == (1.0, 0.0, 2)
    assert score.errors["mean"] == 0.0


def test_a_missed_crystal_and_one_too_large():
    found = discs((80, 80), [(20, 20, 12)])
    score = area_score(ONE, found, "include")
    assert score.number == -0.5
    #  hand-worked: one pair of IoU A/B, one missed: PQ = IoU / (1 + 1/2)
    small, large = (np.count_nonzero(labels == 1) for labels in (TRUE, found))
    assert score.pq == pytest.approx(small / large / 1.5)
    assert score.errors["mean"] == pytest.approx(np.sqrt(large / small) - 1, rel=1e-6)
