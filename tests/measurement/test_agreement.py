import numpy as np
import pytest
from scipy import stats

from crystalseg.errors import UserError
from crystalseg.measurement.agreement import bland_altman


def test_limits_by_hand():
    # differences 1, 2, 3: mean 2, standard deviation 1
    found = bland_altman([10, 20, 30], [11, 22, 33])
    assert found.bias == 2
    assert found.limits == pytest.approx((0.04, 3.96))
    assert found.mean.tolist() == [10.5, 21, 31.5]


def test_interval_of_the_bias_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(50, 5, 12), rng.normal(51, 5, 12)
    wanted = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert bland_altman(a, b).bias_interval == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(("a", "b"), [([1], [2]), ([1, 2], [1, 2, 3]), ([], [])])
def test_too_few_or_unpaired_is_refused(a, b):
    with pytest.raises(UserError, match="two or more"):
        bland_altman(a, b)
