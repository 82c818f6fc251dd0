"""A short run of `benchmarks.fuzz`, which also watches time and memory from outside."""

from itertools import islice

import pytest

from benchmarks.fuzz import good, mutated, outcome, unpleasant


def test_the_files_that_are_damaged_are_good_ones():
    assert {outcome(data) for data in good()} == {"read"}


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused_in_a_sentence():
    found = [outcome(data) for data in islice(mutated(11), 600)]
    assert set(found) == {"read", "refused"}


def test_bombs_and_lying_headers_are_refused_or_read_within_the_limits():
    found = [outcome(data) for data in unpleasant()]
    assert set(found) == {"read", "refused"}
    assert found[:2] == ["refused"] * 2
