import numpy as np
import pytest

from crystalseg.evaluation.reliability import expected_calibration_error, is_right, reliability
from tests.conftest import discs


def test_right_is_more_than_half_by_hand():
    truth = discs((60, 60), [(20, 20, 10), (45, 45, 8)])
    predicted = np.where(truth == 1, 3, 0)
    predicted[45:50, 40:50] = 1  # a part of the second crystal, well under half of its IoU
    assert is_right(truth, predicted, 3).tolist() == [False, False, True]


def test_error_by_hand():
    # two bins: 0.15 on average, a quarter right; 0.95, all right
    confidence, right = [0.1, 0.1, 0.2, 0.2, 0.95, 0.95], [0, 0, 1, 0, 1, 1]
    table = reliability(np.array(confidence), np.array(right), bins=2)
    assert table["count"].tolist() == [4, 2]
    assert table["right"].tolist() == pytest.approx([1 / 4, 1])
    assert expected_calibration_error(table) == pytest.approx((4 * (1 / 4 - 0.15) + 2 * 0.05) / 6)


def test_a_calibrated_confidence_has_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(200_000)
    assert expected_calibration_error(reliability(confidence, rng.random(len(confidence)) < confidence)) < 0.005
    assert expected_calibration_error(reliability(np.array([1.0]), np.array([True]))) == 0
