"""Drift of frames whose crystals may grow."""

from itertools import pairwise

import numpy as np
import pytest

from crystalseg.micrographs.drift import drift, find_drift


@pytest.mark.parametrize("by", [(0, 0), (3, -7), (-12, 5)])
def test_drift_is_found_also_where_the_picture_changes(by):
    rng = np.random.default_rng(3)
    field = np.repeat(np.kron(rng.integers(40, 220, (60, 60)), np.ones((6, 6)))[..., None], 3, axis=2)

    def seen(dy, dx, seed):
        part = field[40 - dy : 300 - dy, 40 - dx : 300 - dx]
        return (part + np.random.default_rng(seed).normal(0, 10, part.shape)).clip(0, 255).astype(np.uint8)

    found = find_drift(seen(0, 0, 1), seen(*by, 2))
    np.testing.assert_allclose(found.shift, by, atol=0.05)
    assert (found.uncertainty < 0.05).all()


def growing(circles, grow, frames, shape=(300, 400), bright=True, move=(0.0, 0.0)):
    """Frames of discs (y, x, radius) whose radius grows by `grow` of it a frame; as noise, gray levels of ± 3."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k in range(frames):
        gray = np.full(shape, 40.0 if bright else 200.0)
        for cy, cx, r in circles:
            away = np.hypot(y - cy - move[0] * k, x - cx - move[1] * k)
            gray += np.clip(r * (1 + grow * k) - away + 0.5, 0, 1) * ((200 if bright else 40) - gray)
        yield np.repeat((gray + rng.normal(0, 3, shape)).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


SIX = [(y, x, 15) for y in (80, 220) for x in (70, 200, 330)]
ONE_SIDE = [(y, x, 10) for y, x in np.random.default_rng(3).uniform((20, 200), (280, 380), (12, 2))]


def total(frames):
    frames = list(frames)
    found = [find_drift(*pair) for pair in pairwise(frames)]
    return sum(one.shift for one in found), np.sqrt(sum(one.uncertainty**2 for one in found))


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize(("circles", "grow", "frames"), [(SIX, 0.1, 12), (ONE_SIDE, 0.1, 12), (SIX, -0.04, 10)])
def test_crystals_that_only_grow_do_not_drift(circles, grow, frames, bright):
    # correlation alone finds up to 9 px here
    shift, uncertainty = total(growing(circles, grow, frames, bright=bright))
    np.testing.assert_allclose(shift, 0, atol=0.15)
    assert (uncertainty < 0.15).all()


def test_crystals_that_grow_and_drift_drift_by_what_they_do():
    shift, uncertainty = total(growing(SIX, 0.1, 6, move=(0.8, -1.7)))
    np.testing.assert_allclose(shift, (4.0, -8.5), atol=0.1)
    assert (np.abs(shift - (4.0, -8.5)) < 4 * uncertainty + 0.02).all()


def test_nothing_to_see_is_no_drift_and_unknown():
    flat = np.full((60, 80, 3), 90, np.uint8)
    found = find_drift(flat, flat)
    assert (found.shift == 0).all()
    assert np.isinf(found.uncertainty).all()
    assert (drift(flat, flat) == 0).all()
