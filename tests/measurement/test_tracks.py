"""Crystals followed through frames, each case drawn by hand; and whole series with known tracks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.measurement.tracks import link
from crystalseg.synthetic.growth import curvature_growth
from tests.conftest import discs


def tracks_of(found, frame):
    rows = found.crystals[found.crystals["frame"] == frame]
    return dict(zip(rows["id"], rows["track"], strict=True))


def events_of(found):
    return {tuple(row) for row in found.events[["frame", "event", "track", "other"]].itertuples(index=False)}


def test_one_grows_one_dwindles_and_disappears_one_is_born():
    frames = [
        discs((100, 200), [(30, 30, 12), (70, 60, 15), (50, 150, 20)]),
        discs((100, 200), [(30, 31, 14), (70, 60, 12), (50, 152, 22)]),
        discs((100, 200), [(31, 31, 15), (70, 60, 9), (50, 152, 22), (80, 120, 8)]),
        discs((100, 200), [(31, 31, 16), (50, 152, 22), (80, 120, 10)]),
    ]
    found = link(frames)
    assert [tracks_of(found, k) for k in range(4)] == [
        {1: 1, 2: 2, 3: 3},
        {1: 1, 2: 2, 3: 3},
        {1: 1, 2: 2, 3: 3, 4: 4},
        {1: 1, 2: 3, 3: 4},
    ]
    assert events_of(found) == {(2, "disappearance", 2, 0), (2, "birth", 4, 0)}
    areas = found.crystals.query("track == 1")["area_px2"].tolist()
    assert areas == [int((frame == 1).sum()) for frame in frames]


def test_two_merge_and_the_larger_goes_on():
    apart = discs((100, 100), [(50, 30, 15), (50, 58, 12)])
    together = (apart > 0).astype(np.int32)
    found = link([apart, apart, together, together])
    assert [tracks_of(found, k) for k in range(4)] == [{1: 1, 2: 2}, {1: 1, 2: 2}, {1: 1}, {1: 1}]
    assert events_of(found) == {(1, "merge", 2, 1)}


def test_one_splits_and_the_larger_part_goes_on():
    apart = discs((100, 100), [(50, 30, 15), (50, 58, 12)])
    together = (apart > 0).astype(np.int32)
    found = link([together, together, apart, apart])
    assert [tracks_of(found, k) for k in range(4)] == [{1: 1}, {1: 1}, {1: 1, 2: 2}, {1: 1, 2: 2}]
    assert events_of(found) == {(2, "split", 2, 1)}


def test_a_crystal_that_its_neighbours_eat_does_not_merge():
    """It dwindles, frame by frame, and what it loses goes to the one beside it."""
    frames = []
    for edge in (60, 65, 70, 75, 79):
        frame = np.zeros((60, 120), np.int32)
        frame[10:50, 10:edge], frame[10:50, edge:80] = 1, 2
        frames.append(frame)
    frames.append((frames[-1] > 0).astype(np.int32))
    assert events_of(link(frames)) == {(4, "disappearance", 2, 0)}


def test_a_crystal_not_seen_in_one_frame_is_the_same_afterwards():
    both = discs((100, 100), [(30, 30, 15), (70, 70, 15)])
    one = discs((100, 100), [(30, 30, 15)])
    found = link([both, both, one, both])
    assert tracks_of(found, 3) == {1: 1, 2: 2}
    assert not len(found.events)


def test_drift_is_taken_out():
    """By 20 px a frame, each disc lies where its neighbour was."""
    frames, shifts = [], []
    for k in range(4):
        frames.append(discs((100, 260), [(50, 30 + 20 * j + 20 * k, 8) for j in range(5)]))
        shifts.append((0, 20 * k))
    assert [tracks_of(link(frames, np.array(shifts)), k) for k in range(4)] == [{j: j for j in range(1, 6)}] * 4
    assert tracks_of(link(frames), 1) != {j: j for j in range(1, 6)}


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_how_crystals_are_numbered_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    places = [(15 + 30 * r, 15 + 30 * c) for r in range(3) for c in range(4)]
    frames = [discs((100, 130), [(y, x, rng.integers(6, 12)) for y, x in places]) for _ in range(3)]
    other, names = [], []
    for frame in frames:
        new = np.concatenate(([0], rng.permutation(12) + 1))
        other.append(new[frame].astype(np.int32))
        names.append(new)
    plain, renumbered = link(frames), link(other)
    for k in range(3):
        one, two = tracks_of(plain, k), tracks_of(renumbered, k)
        first = {one[i]: two[names[k][i]] for i in one}
        assert len(set(first.values())) == 12
        assert first == {tracks_of(plain, 0)[i]: tracks_of(renumbered, 0)[names[0][i]] for i in one}


def test_every_crystal_of_a_polycrystal_that_grows_is_followed():
    made = curvature_growth(5, 200, 120, 6, steps=1, sigma=4, before=4)
    found = link(list(made.labels))
    numbers = found.crystals.groupby("track")["id"].nunique()
    assert (numbers == 1).all()  # a grain has the same number in all frames
    assert len(numbers) == len(np.unique(made.labels[0]))
    assert set(found.events["event"]) <= {"disappearance", "merge"}
    assert (found.events["event"] == "merge").mean() < 0.1


def test_empty_frames_and_series_that_are_none():
    nothing = np.zeros((40, 40), np.int32)
    assert link([nothing, nothing]).crystals.empty
    found = link([nothing, discs((40, 40), [(20, 20, 8)]), nothing])
    assert events_of(found) == {(1, "birth", 1, 0), (1, "disappearance", 1, 0)}
    with pytest.raises(UserError, match="at least two frames"):
        link([nothing])
    with pytest.raises(UserError, match="same size"):
        link([nothing, np.zeros((40, 41), np.int32)])


def test_labels_may_have_holes_in_their_numbering():
    frame = np.where(discs((60, 60), [(20, 20, 8), (40, 40, 8)]) == 2, 7, 0).astype(np.int32)
    found = link([frame, frame])
    pd.testing.assert_series_equal(found.crystals["id"], pd.Series([7, 7], name="id"))
