from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from crystalseg.synthetic.appearance import Look, random_look
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.sets import draw_grain
from crystalseg.synthetic.structure import Structure

KINDS = ("polycrystal", "grain", "single", "cluster", "powder", "pebbles", "precipitates")


def test_looks_do_what_they_say():
    structure = Structure("powder", diameter=40, coverage=0.3)
    quiet = Look(
        crystal=(0.8,) * 3,
        matrix=(0.2,) * 3,
        gray=True,
        noise=0,
        blur=0,
        scratches=0,
        pores=0,
        unevenness=0,
        grain_texture=0,
        matrix_texture=0,
        brightness_spread=0,
        line=0,
    )
    made = draw(0, (200, 200), structure, quiet)
    inside = ndimage.binary_erosion(made.labels > 0, iterations=2)
    assert np.abs(made.image[inside] - 204.0).max() <= 1
    assert (made.image[..., 0] == made.image[..., 1]).all()
    noisy = draw(0, (200, 200), structure, replace(quiet, noise=0.05))
    assert noisy.image[inside].std() == pytest.approx(0.05 * 255, rel=0.1)


def test_every_kind_can_be_told_from_its_ground():
    """No look hides all crystals: boundary or brightness must differ somewhere."""
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for _ in range(20):
            look = random_look(rng, kind, 30.0)
            between = abs(look.line) > 0.05 or max(look.colour_spread, look.brightness_spread) > 0.03
            assert between or np.ptp([look.crystal, look.matrix]) > 0.1


def walls(made, width=7):
    """Contrast of each wall between two crystals, gray levels, measured on the picture: line against crystals, or
    crystal against crystal, whichever is more."""
    image, labels = made.image.mean(axis=2), made.labels
    high = ndimage.maximum_filter(labels, width)
    low = ndimage.minimum_filter(np.where(labels == 0, 2**20, labels), width)
    wall = (labels == 0) & (low < high)
    level = np.concatenate(([0], ndimage.median(image, labels, np.arange(1, labels.max() + 1))))
    contrasts = []
    for a, b in np.unique(np.column_stack((low[wall], high[wall])), axis=0):
        line = image[wall & (low == a) & (high == b)]
        if len(line) >= 40:
            contrasts.append(max(abs(level[a] - level[b]), abs(np.median(line) - (level[a] + level[b]) / 2)))
    return contrasts


def test_a_person_could_trace_nearly_all_boundaries():
    """Nine walls of ten differ by 5 gray levels and more, however the grain looks."""
    contrasts = [c for index in range(9) for c in walls(draw_grain(11, index, 1))]
    assert len(contrasts) > 60
    assert np.quantile(contrasts, 0.1) > 5


def test_neighbours_differ_more_than_chance_would_have_it():
    """Of six colours a crystal takes the one least like its neighbours': polarised crystals stay apart."""
    structure = Structure("polycrystal", diameter=60, boundary=3, waviness=0)
    look = Look(crystal=(0.5,) * 3, colour_spread=0.1, line=0, noise=0, blur=0, pores=0, scratches=0)
    made = draw(3, (400, 400), structure, look)
    numbers = np.arange(1, made.labels.max() + 1)
    level = np.array([ndimage.median(made.image[..., c], made.labels, numbers) for c in range(3)]).T
    high = ndimage.maximum_filter(made.labels, 7)
    low = ndimage.minimum_filter(np.where(made.labels == 0, 2**20, made.labels), 7)
    pairs = np.unique(np.column_stack((low[low < high], high[low < high])), axis=0)
    pairs = pairs[pairs[:, 0] < 2**20]
    neighbours = np.abs(level[pairs[:, 0] - 1] - level[pairs[:, 1] - 1]).sum(axis=1)
    strangers = np.abs(level[:, None] - level[None]).sum(axis=2)[np.triu_indices(len(level), 1)]
    assert np.quantile(neighbours, 0.05) > 1.5 * np.quantile(strangers, 0.05)
