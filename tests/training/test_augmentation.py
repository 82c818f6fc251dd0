"""Patches show what their targets say."""

import cv2
import numpy as np
import pytest

from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.scales import SIZE_THRESHOLDS
from crystalseg.training.augmentation import _place_on_ground, attention_item, flow_patch, transform
from crystalseg.training.data import labelled_image
from tests.conftest import squares
from tests.training.training_cases import DRAWN, SAMPLE


@pytest.mark.parametrize("factor", [1.0, 0.6, 1.7])
def test_flow_turns_with_the_image(factor):
    """The warped flow must be the flow of the warped labels, at crystals that lie whole in the patch."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        _, labels, flow, _ = transform(SAMPLE, factor, 160, rng)
        edge = np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))
        inner = (labels > 0) & ~np.isin(labels, edge)
        if inner.any():
            assert np.median((flow * flows_from_labels(labels)).sum(axis=0)[inner]) > 0.99


def test_image_and_labels_stay_together():
    bright = np.where(DRAWN.labels > 0, 255, 0).astype(np.uint8)
    s = labelled_image(np.repeat(bright[..., None], 3, axis=2), DRAWN.labels, with_flow=True)
    image, labels, _, valid = transform(s, 0.8, 128, np.random.default_rng(1))
    middle = image.mean(axis=0)
    assert middle[valid & (labels > 0)].mean() > middle[valid & (labels == 0)].mean() + 0.7


def test_patches_are_scaled_to_the_diameter_asked_for():
    rng = np.random.default_rng(2)
    areas = []
    for _ in range(30):
        image, target = flow_patch(SAMPLE, rng, 160, 50.0, (1.0, 1.0 + 1e-9))
        assert image.shape == (3, 160, 160)
        assert target.shape == (5, 160, 160)
        areas.append(target[2].mean())
    # the covered share does not depend on scale; the diameter shows in the number of crystals, so look at one patch
    _, labels, _, _ = transform(SAMPLE, 50 / SAMPLE.diameter, 160, rng)
    assert np.mean(areas) == pytest.approx((DRAWN.labels > 0).mean(), abs=0.12)
    assert len(np.unique(labels)) < 16


def test_a_patch_about_a_crystal_shows_it_near_the_diameter_asked_for():
    rng = np.random.default_rng(4)
    middle = []
    for _ in range(40):
        item = flow_patch(SAMPLE, rng, 128, 50.0, (1.0, 1.1), focus=1.0)
        if item is not None:
            middle.append(item[1][2, 32:96, 32:96].max())
    assert len(middle) > 30
    assert np.mean(middle) > 0.95


def test_an_attention_item_is_the_truth_of_what_it_shows():
    image, target = attention_item(SAMPLE, np.random.default_rng(0), 224, SIZE_THRESHOLDS, (0.5, 1.5))
    assert image.shape == (3, 224, 224)
    assert target.shape == (5, 224, 224)
    assert (target.sum(axis=0) == 1).all()


def test_outlines_are_the_edge_pixels_of_crystals():
    image = labelled_image(np.zeros((80, 80, 3), np.uint8), np.pad(squares(40, 20, (0, 0)), 20), with_flow=True)
    for seed in range(20):  # until it is not turned
        item = flow_patch(image, np.random.default_rng(seed), 80, image.diameter, (1.0, 1.0 + 1e-9))
        ground, outline = item[1][2], item[1][3]
        assert (outline <= ground).all()
        inside = cv2.erode(ground.astype(np.uint8), np.ones((3, 3), np.uint8))
        # all that touches the background, and the two lines between the four squares
        assert ((ground > inside) <= outline).all()
        # 76 of the 400 pixels of a square of 20; more where it is turned or cut
        assert 0.15 < outline.sum() / ground.sum() < 0.35


def test_any_look_keeps_the_picture_finite_and_about_its_range():
    rng = np.random.default_rng(0)
    pictures = [flow_patch(SAMPLE, rng, 96, 50.0, (0.5, 2.0), empty=0.2) for _ in range(60)]
    values = np.array([item[0] for item in pictures if item is not None])
    assert np.isfinite(values).all()
    assert -2 < np.quantile(values, 0.01) < np.quantile(values, 0.99) < 3
    assert values.dtype == np.float32


def test_a_share_of_patches_lies_where_no_crystal_is():
    rng = np.random.default_rng(0)
    labels = np.zeros((400, 400), np.int32)
    labels[180:220, 180:220] = 1
    lonely = labelled_image(np.zeros((400, 400, 3), np.uint8), labels, with_flow=True)
    bare = [flow_patch(lonely, rng, 64, 50.0, (1.0, 1.5), empty=1.0) for _ in range(30)]
    assert np.mean([item[1][2].any() for item in bare if item is not None]) < 0.6


def test_an_image_without_a_crystal_gives_ground():
    s = labelled_image(np.full((200, 200, 3), 90, np.uint8), np.zeros((200, 200), np.int32), with_flow=True)
    rng = np.random.default_rng(0)
    for _ in range(20):
        item = flow_patch(s, rng, 64, 50.0, (0.5, 1.5), whole=0.1, focus=0.6, empty=0.1)
        if item is not None:
            assert not item[1][:4].any()
            assert item[1][4].any()
            break
    else:
        pytest.fail("it is never shown")


def test_busy_ground_is_seen_more_often_than_empty_ground():
    image = np.full((400, 400, 3), 90, np.uint8)
    image[60:90, 60:90] = np.random.default_rng(1).integers(0, 255, (30, 30, 3))  # as letters are
    labels = np.zeros((400, 400), np.int32)
    labels[300:330, 300:330] = 1
    image[labels > 0] = 250
    s = labelled_image(image, labels, with_flow=True)
    rng = np.random.default_rng(0)
    places = np.array([_place_on_ground(s, rng, 0.5) for _ in range(300)])
    near = (np.abs(places - 75).max(axis=1) < 40).mean()
    assert 0.4 < near < 0.65  # of half of them nearly all, of the others 4 %


def test_no_outline_is_taught_inside_of_crystals_whose_lines_are_open():
    square = np.pad(squares(40, 20, (0, 0)), 20)
    image = np.zeros((80, 80, 3), np.uint8)
    open_lines, closed = (labelled_image(image, square, True, None, is_open) for is_open in (True, False))
    first, second = (flow_patch(s, np.random.default_rng(0), 80, s.diameter, (1.0, 1.01)) for s in (open_lines, closed))
    unknown = first[1][3] < 0
    np.testing.assert_array_equal(np.where(unknown, 0, first[1][3]), second[1][3])
    assert unknown.any()
    assert (first[1][2][unknown] == 1).all()
    # nothing is unknown beside an outline that is there
    beside = cv2.dilate(second[1][3], np.ones((5, 5))) > 0
    assert not (unknown & beside).any()
    assert (unknown | beside)[second[1][2] > 0].all()
