import colorsys

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from crystalseg.report import pictures
from crystalseg.segmentation import colormap, overlay
from tests.conftest import discs

LABELS = discs((80, 100), [(30, 30, 20), (40, 70, 25)])
IMAGE = np.full((80, 100, 3), 90, np.uint8)


def test_boundaries_are_scikit_images_inner_ones():
    expected = find_boundaries(LABELS, connectivity=1, mode="inner")
    np.testing.assert_array_equal(overlay.boundaries(LABELS), expected)


def test_outlines_change_nothing_else_and_leave_the_image_alone():
    before = IMAGE.copy()
    picture = overlay.outlined(IMAGE, LABELS)
    edge = overlay.boundaries(LABELS)
    assert (picture[edge] == overlay.OUTLINE).all()
    assert (picture[~edge] == 90).all()
    assert (before == IMAGE).all()


def test_fill_colours_only_crystals():
    picture = overlay.outlined(IMAGE, LABELS, opacity=1.0)
    assert (picture[LABELS == 0] == 90).all()
    inside = picture[(LABELS == 1) & ~overlay.boundaries(LABELS)]
    assert (inside == inside[0]).all()
    assert (inside[0] != 90).any()


def test_colours_run_from_small_to_large():
    colours = colormap.colours_by_size(np.array([1.0, 10.0, 100.0])).astype(int).sum(axis=1)
    assert colours[0] < colours[1] < colours[2]  # viridis grows in lightness
    assert colormap.colours_by_size(np.array([])).shape == (0, 3)


@pytest.mark.parametrize(("dy", "dx", "degrees"), [(0, 1, 0), (1, 0, 90), (0, -1, 180), (-1, 0, 270)])
def test_flow_direction_is_hue(dy, dx, degrees):
    colour = colormap.flow_colours(np.array([dy, dx], float)[:, None, None])[0, 0] / 255
    hue, _, value = colorsys.rgb_to_hsv(*colour)
    assert abs((hue * 360 - degrees + 180) % 360 - 180) < 3
    assert value > 0.99
    assert (colormap.flow_colours(np.zeros((2, 1, 1))) == 0).all()


def test_wheel_shows_the_flow_that_points_outward():
    wheel = colormap.flow_wheel(101)
    np.testing.assert_allclose(wheel[50, 99], colormap.flow_colours(np.array([0, 0.98])[:, None, None])[0, 0], atol=2)


@pytest.mark.parametrize(("width", "bar"), [(1000, 200), (999, 100), (60, 10), (2.6, 0.5)])
def test_scale_bar_is_a_round_length(width, bar):
    assert pictures.scale_bar(width) == pytest.approx(bar)


def test_fit_and_overlay_keep_proportions():
    assert overlay.fit(IMAGE, 50).shape == (40, 50, 3)
    assert overlay.fit(IMAGE, 500) is IMAGE
    half = overlay.overlay(IMAGE, np.zeros((8, 10, 3), np.uint8), 0.5)
    assert half.shape == IMAGE.shape
    assert (half == 45).all()
