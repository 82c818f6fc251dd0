"""Tracks corrected by hand, drawn by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.measurement.track_corrections import TrackCorrection, corrected
from crystalseg.measurement.tracks import link
from tests.conftest import discs

# 1 stays through all four frames; 2 is there in the first two, 3 in the last two
FRAMES = [
    discs((60, 160), [(30, 30, 12), (30, 80, 8)]),
    discs((60, 160), [(30, 30, 12), (30, 80, 8)]),
    discs((60, 160), [(30, 30, 12), (30, 130, 8)]),
    discs((60, 160), [(30, 30, 12), (30, 130, 8)]),
]
FOUND = link(FRAMES)


def rows(tracks):
    return [tuple(row) for row in tracks.crystals[["frame", "id", "track"]].itertuples(index=False)]


def events(tracks):
    return {tuple(row) for row in tracks.events[["frame", "event", "track", "other"]].itertuples(index=False)}


def test_two_tracks_become_one():
    assert events(FOUND) == {(1, "disappearance", 2, 0), (2, "birth", 3, 0)}
    one = corrected(FOUND, [TrackCorrection("join", 2, 2, 1, 2)])
    assert rows(one) == [(k, 1, 1) for k in range(4)] + [(k, 2, 2) for k in range(4)]
    assert events(one) == set()


def test_one_track_becomes_two():
    two = corrected(FOUND, [TrackCorrection("cut", 2, 1)])
    assert [row for row in rows(two) if row[1] == 1] == [(0, 1, 1), (1, 1, 1), (2, 1, 4), (3, 1, 4)]
    assert events(two) == events(FOUND) | {(1, "disappearance", 1, 0), (2, "birth", 4, 0)}


@given(st.integers(1, 3))
def test_a_cut_that_is_joined_again_changes_nothing(frame):
    changes = [TrackCorrection("cut", frame, 1), TrackCorrection("join", frame, 1, frame - 1, 1)]
    same = corrected(FOUND, changes)
    assert rows(same) == rows(FOUND)
    assert events(same) == events(FOUND)


def test_lineage_follows_the_part_that_it_is_of():
    apart = discs((100, 100), [(50, 30, 15), (50, 58, 12)])
    together = (apart > 0).astype("int32")
    merged = link([apart, apart, together, together])
    assert events(merged) == {(1, "merge", 2, 1)}
    cut = corrected(merged, [TrackCorrection("cut", 1, 1)])
    assert (1, "merge", 2, 3) in events(cut)  # into what goes on from there


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (TrackCorrection("cut", 0, 1), "begins in frame 1"),
        (TrackCorrection("cut", 2, 9), "no crystal 9 in frame 3"),
        (TrackCorrection("join", 2, 1, 1, 1), "only if one ends before"),
        (TrackCorrection("join", 1, 2, 2, 2), "only if one ends before"),
    ],
)
def test_what_cannot_be_done_is_said(change, words):
    with pytest.raises(UserError, match=words):
        corrected(FOUND, [change])


def test_words_count_frames_from_one():
    assert TrackCorrection("cut", 2, 7).words == "from crystal 7 of frame 3 on, another crystal"
    assert TrackCorrection("join", 2, 7, 0, 3).words == "crystal 7 of frame 3 is crystal 3 of frame 1"
