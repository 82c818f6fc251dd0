import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.evaluation.difference import NAMES, difference
from tests.conftest import discs


def strip(*runs):
    """A label image of one row: (label, length) runs."""
    return np.repeat([r[0] for r in runs], [r[1] for r in runs])[None].astype(np.int32)


def test_each_kind_by_hand():
    # reference:  1111 22222222 33 44 0 555 00
    # other:      1111 2222 333 44444 0 000 66
    reference = strip((1, 4), (0, 1), (2, 8), (0, 1), (3, 2), (0, 1), (4, 2), (0, 1), (5, 3), (0, 1), (0, 2))
    other = strip((1, 4), (0, 1), (2, 4), (0, 1), (3, 3), (0, 1), (4, 5), (0, 1), (0, 3), (0, 1), (6, 2))
    found = difference(reference, other)
    assert found.counts == {"agree": 1, "split": 1, "merged": 2, "missed": 1, "extra": 1}
    kinds = {int(n): set(found.map[reference == n].tolist()) for n in (1, 2, 3, 5)}
    one = {name: 1 + k for k, name in enumerate(NAMES)}
    assert kinds == {1: {one["agree"]}, 2: {one["split"]}, 3: {one["merged"]}, 5: {one["missed"]}}
    assert set(found.map[other == 6].tolist()) == {one["extra"]}
    assert (found.map[(reference == 0) & (other == 0)] == 0).all()


def test_the_same_labels_agree():
    labels = discs((60, 90), [(30, 25, 20), (30, 65, 20)])
    found = difference(labels, labels * 7)
    assert found.counts == {"agree": 2, "split": 0, "merged": 0, "missed": 0, "extra": 0}
    assert ((found.map == 1) == (labels > 0)).all()


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_every_crystal_of_the_reference_is_of_one_kind(seed):
    rng = np.random.default_rng(seed)
    one, two = rng.integers(0, 6, (2, 8, 8)).astype(np.int32)
    counts = difference(one, two).counts
    assert sum(counts[name] for name in NAMES[:4]) == len(np.unique(one[one > 0]))
    assert 0 <= counts["extra"] <= len(np.unique(two[two > 0]))


def test_other_sizes_are_refused():
    with pytest.raises(UserError, match="differ in size"):
        difference(np.zeros((2, 2), np.int32), np.zeros((2, 3), np.int32))
