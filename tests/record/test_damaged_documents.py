"""A short run of `benchmarks.fuzz_documents`."""

import random

import pytest

from benchmarks.fuzz_documents import kinds, outcome

KINDS = kinds()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_damaged_documents_are_read_or_refused_in_a_sentence(name):
    kind, rng = KINDS[name], random.Random(7)
    assert {outcome(kind, data) for data in kind.good} == {"read"}
    for _ in range(150):
        data = kind.mutated(rng)
        assert outcome(kind, data) in ("read", "refused"), data[:300]


@pytest.mark.parametrize("name", ["settings", "profile"])
@pytest.mark.parametrize("text", [b"[" * 100_000, b"1" * 10_000, b"\xff\xfe", b"null", b"[]", b"NaN", b""])
def test_json_that_is_no_object_is_refused(name, text):
    assert outcome(KINDS[name], text) == "refused"
