import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crystalseg.micrographs.labels import crystal_lengths, size_class
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.geometry import MIN_AREA
from crystalseg.synthetic.sets import draw_flat, draw_grain, draw_random
from crystalseg.synthetic.structure import Structure

KINDS = ("polycrystal", "grain", "single", "cluster", "powder", "pebbles", "precipitates")


@settings(max_examples=30)
@given(st.integers(0, 2**50), st.integers(64, 300), st.integers(64, 300))
def test_any_seed_and_size_gives_an_image_with_sound_labels(seed, height, width):
    made = draw(seed, (height, width))
    assert made.image.shape == (height, width, 3)
    assert made.image.dtype == np.uint8
    assert made.labels.dtype == np.int32
    areas = np.bincount(made.labels.ravel())[1:]
    assert (areas >= MIN_AREA).all()
    for number, box in enumerate(ndimage.find_objects(made.labels), start=1):
        assert ndimage.label(made.labels[box] == number)[1] == 1


def test_the_same_seed_gives_the_same_pixels():
    first, second, other = draw(4, (90, 80)), draw(4, (90, 80)), draw(5, (90, 80))
    assert (first.image == second.image).all()
    assert (first.labels == second.labels).all()
    assert first.structure == second.structure
    assert other.image.shape != first.image.shape or (other.image != first.image).any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_crystals(kind):
    made = draw(1, (300, 300), Structure(kind, diameter=25))
    assert made.structure.kind == kind
    assert (made.labels.max() == 1) == (kind == "single")


def test_boundary_line_has_the_width_asked_for():
    """Two crystals: the unlabelled line between them, measured across."""
    structure = Structure("polycrystal", diameter=60, boundary=5, waviness=0)
    labels = draw(2, (300, 300), structure).labels
    runs = []
    for line in labels:
        edges = np.flatnonzero(np.diff(line))
        for a, b in itertools.pairwise(edges):
            if line[a + 1] == 0 and line[a] and line[b + 1]:
                runs.append(b - a)
    # a straight cut across an oblique line is longer, never shorter
    assert 4 <= np.percentile(runs, 5) <= 6


def test_sizes_follow_the_structure():
    small, large = (
        np.median(
            np.sqrt(np.bincount(draw(7, (600, 600), Structure("powder", diameter=d, spread=0.2)).labels.flat)[1:])
        )
        for d in (20, 60)
    )
    assert 2 < large / small < 4


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_grains_are_of_the_class_asked_for(wanted):
    for index in range(3):
        made = draw_grain(5, index, wanted)
        assert size_class(made.labels) == wanted
        assert min(made.labels.shape) >= 150
        assert max(made.labels.shape) <= 1800
        assert crystal_lengths(made.labels)[1:].min() >= 4


def test_flat_pictures_are_told_by_a_threshold_whichever_is_the_darker():
    """Those without texture and noise: the middle of the two brightnesses parts them."""
    darker = []
    for index in range(24):
        made = draw_flat(3, index)
        gray = made.image.mean(axis=2)
        if not made.labels.any() or made.look.noise + made.look.grain_texture + made.look.unevenness > 0.03:
            continue
        crystal, ground = (np.median(gray[inside]) for inside in (made.labels > 0, made.labels == 0))
        darker.append(crystal < ground)
        wrong = ((gray > (crystal + ground) / 2) != (made.labels > 0)) != darker[-1]
        assert wrong.mean() < 0.05
    assert any(darker)
    assert not all(darker)


def test_sets_are_reproducible_and_differ_by_seed():
    assert (draw_random(0, 1).image == draw_random(0, 1).image).all()
    first, second = draw_random(0, 1).image, draw_random(1, 1).image
    assert first.shape != second.shape or (first != second).any()
