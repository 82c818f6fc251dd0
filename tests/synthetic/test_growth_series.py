"""Series whose laws are known from theory."""

import itertools

import numpy as np
import pytest

from crystalseg.synthetic.growth import curvature_growth, pictures, ripening


def test_a_disc_shrinks_by_its_curvature():
    """A grain within one other: dA/dt = -2π in these units (Mullins 1956), whatever its size."""
    made = curvature_growth(0, 128, 1, 1)
    y, x = np.mgrid[:128, :128]
    from crystalseg.synthetic import growth

    labels = np.where((y - 64) ** 2 + (x - 64) ** 2 <= 40**2, 2, 1).astype(np.int32)
    areas = [int((labels == 2).sum())]
    for _ in range(12):
        labels = growth._step(labels, 6.0, 18)
        areas.append(int((labels == 2).sum()))
    rate = np.polyfit(np.arange(13) * 6.0**2 / 2, areas, 1)[0]
    assert rate == pytest.approx(-2 * np.pi, rel=0.05)
    assert (made.labels == 1).all()  # one grain has no boundary to move


def test_grains_only_vanish_and_keep_their_numbers():
    made = curvature_growth(1, 160, 120, 5, steps=2, sigma=5, before=3)
    assert made.labels.shape == (5, 160, 160)
    assert made.labels.min() > 0
    sets = [set(np.unique(frame)) for frame in made.labels]
    assert all(later <= earlier for earlier, later in itertools.pairwise(sets))
    assert len(sets[-1]) < len(sets[0])
    np.testing.assert_array_equal(made.seconds, np.arange(5) * 2 * 25 / 2)
    np.testing.assert_array_equal(made.labels, curvature_growth(1, 160, 120, 5, steps=2, sigma=5, before=3).labels)


def test_particles_that_ripen_stay_in_place_and_never_touch():
    made = ripening(2, 400, 150, 5)
    for frame in made.labels:
        for number in np.unique(frame[frame > 0])[:20]:
            y, x = np.nonzero(frame == number)
            first = np.nonzero(made.labels[0] == number)
            assert abs(y.mean() - first[0].mean()) < 1
            assert abs(x.mean() - first[1].mean()) < 1
        apart = frame[:, 1:], frame[:, :-1]
        assert not ((apart[0] != apart[1]) & (apart[0] > 0) & (apart[1] > 0)).any()
    large = [frame.max(initial=0) and np.bincount(frame.ravel())[1:].max() for frame in made.labels]
    assert large == sorted(large)  # the largest grows


def test_pictures_show_a_crystal_in_the_same_shade_and_drift_by_whole_pixels():
    made = ripening(3, 200, 30, 3, radius=8)
    still, moved = pictures(made, 1, noise=0), pictures(made, 1, (2, -3), noise=0)
    assert still.shape == (3, 200, 200, 3)
    np.testing.assert_array_equal(np.roll(still[2], (4, -6), (0, 1)), moved[2])
    number = np.bincount(made.labels[2].ravel())[1:].argmax() + 1
    y, x = (int(v.mean()) for v in np.nonzero(made.labels[2] == number))
    assert still[0, y, x, 0] == still[2, y, x, 0]
