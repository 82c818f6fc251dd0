"""SiMA+: proposals and their figures, against hand-worked cases; the choice among them, against its rules."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.proposals import (
    CHANNELS,
    FEATURES,
    PATCH,
    Candidates,
    flow_fit,
    patches,
    propose,
    small_crystals,
)
from crystalseg.segmentation.selection import select, winners
from tests.conftest import discs


def exact(labels, factor, logit=6.0):
    """The prediction that a perfect network makes at one scale."""
    foreground = np.where(labels > 0, logit, -logit).astype(np.float32)
    return ScalePrediction(factor, flows_from_labels(labels), foreground, np.ones(labels.shape, bool))


def half(labels):
    return labels[::2, ::2]


def figure(candidates, name):
    return candidates.features[:, FEATURES.index(name)]


def test_a_perfect_flow_is_proposed_as_it_is():
    labels = discs((120, 140), [(40, 40, 25), (80, 100, 30)])
    (found,) = propose([exact(labels, 1.0)], 0.0, 15)
    assert panoptic_quality(labels, found.labels) > 0.99
    assert found.features.shape == (2, len(FEATURES))
    # foreground 1 / (1 + e^-6) = 0.9975; the flow fits all but some pixels at the edge
    assert (figure(found, "quality") > np.log(0.97 / 0.03)).all()
    assert (figure(found, "support") == 0).all()  # there is no other scale


def test_what_other_scales_say_by_hand():
    """Two crystals at full size; at half size one crystal over both and more."""
    fine = np.zeros((80, 80), np.int32)
    fine[10:30, 10:30], fine[10:30, 34:54] = 1, 2
    coarse = np.zeros((40, 40), np.int32)
    coarse[5:15, 5:27] = 1
    merged, both = propose([exact(coarse, 0.5), exact(fine, 1.0)], 0.0, 15)
    # at half size each fine crystal has 10 × 10 px of the merged 10 × 22
    assert figure(merged, "support") == pytest.approx(100 / 220, abs=0.02)
    assert figure(both, "support") == pytest.approx(100 / 220, abs=0.02)
    assert (figure(both, "rival") > 0.9).all()
    assert figure(merged, "rival") == 0
    assert figure(merged, "parts") == pytest.approx(200 / 220, abs=0.05)
    assert (figure(both, "parts") == 0).all()


def test_quality_by_hand():
    """Half the flow's length halves the fit; a logit of 0 halves the foreground."""
    labels = discs((80, 160), [(40, 40, 30), (40, 120, 30)])
    scale = exact(labels, 1.0)
    scale.flow[:, labels == 1] *= 0.5
    scale.foreground[labels == 2] = 0.0
    scale.foreground[labels == 1] = 9.0
    (found,) = propose([scale], -1.0, 15)
    quality = 1 / (1 + np.exp(-figure(found, "quality")))
    assert quality == pytest.approx([0.5, 0.5], abs=0.02)


def test_pieces_too_large_for_a_tile_come_from_the_coarsest_scale_only():
    labels = discs((600, 600), [(300, 300, 250)])
    coarse, fine = propose([exact(half(labels), 0.5), exact(labels, 1.0)], 0.0, 15)
    assert len(coarse.features) == 1
    assert len(fine.features) == 0


def test_small_crystals_are_narrower_than_20_px():
    labels = np.zeros((120, 120), np.int32)
    labels[10:29, 10:29], labels[30:51, 80:101], labels[60:64, 20:120] = 1, 2, 3  # widths of 19, 21 and 20
    assert (small_crystals(labels) == (labels == 1)).all()


def test_a_few_small_crystals_among_large_ones_do_not_count():
    labels = np.zeros((60, 250), np.int32)
    for k in range(4):
        labels[10:50, 50 * k : 50 * k + 40] = k + 1
    labels[:4, :4] = 5  # a fifth of the crystals
    assert not small_crystals(labels).any()
    labels[5:9, 5:9] = 6  # two of six
    assert (small_crystals(labels) == (labels > 4)).all()


def test_an_enlarged_scale_proposes_small_crystals_only_and_where_it_was_computed():
    labels = np.zeros((100, 120), np.int32)  # at full size
    labels[10:26, 10:26], labels[10:26, 90:106], labels[40:80, 16:56] = 1, 2, 3
    labels[90:98, 56:64] = 4  # half of it was computed
    twice = exact(np.kron(labels, np.ones((2, 2), np.int32)), 2.0)
    twice.covered[:, 120:] = False
    twice.foreground[~twice.covered], twice.flow[:, ~twice.covered] = 0, 0
    # a threshold below 0 would take what was not computed for foreground
    full, enlarged = propose([exact(labels, 1.0), twice], -1.0, 15)
    assert len(full.features) == 4
    assert len(enlarged.features) == 1  # 16 px wide; 40 px are enough in the image
    assert enlarged.labels[40, 40] == 1
    assert figure(enlarged, "factor") == 0
    (alone,) = propose([twice], 0.0, 15)
    assert len(alone.features) == 2  # where nothing else is, nothing is left to the others


def test_figures_of_a_proposal_itself_by_hand():
    labels = np.zeros((100, 80), np.int32)
    labels[10:60, 10:60] = 1  # 50 × 50 px of 8000
    labels[80:, 40:] = 2
    (found,) = propose([exact(labels, 0.25)], 0.0, 15)
    assert figure(found, "size")[0] == pytest.approx(1, abs=0.05)  # one octave above 25 px
    assert figure(found, "share")[0] == pytest.approx(1.5 + np.log2(2500 / 8000) / 4, abs=0.02)
    assert figure(found, "border").tolist() == [0, 1]
    assert figure(found, "factor").tolist() == [-1, -1]


def test_the_picture_of_a_proposal_shows_it_in_the_middle():
    labels = discs((200, 300), [(100, 60, 40), (100, 150, 45), (30, 290, 20)])
    scale = exact(labels, 1.0)
    picture = np.stack([labels == k for k in (1, 2, 3)]).astype(np.float32)
    first, third = patches(Candidates(labels, np.zeros((3, 8)), flow_fit(labels, scale)), scale, picture, [1, 3])
    assert first.shape == (len(CHANNELS), PATCH, PATCH)
    assert first.dtype == np.float32
    shown = dict(zip(CHANNELS, first, strict=True))
    middle = PATCH // 2
    for name in ("own", "red", "foreground", "length"):
        assert shown[name][middle - 4 : middle + 4, middle - 10 : middle - 5].mean() > 0.95
    assert shown["others"][middle].sum() > 0  # its neighbour on the right
    assert (shown["others"] * shown["own"]).max() < 0.5
    assert shown["others"] == pytest.approx(shown["green"], abs=0.05)
    # its side is 1.5 times as long as the crystal: two thirds of the middle row
    assert shown["own"][middle].sum() / PATCH == pytest.approx(81 / (1.5 * 81 + 4), abs=0.03)
    # flow parts at the edge towards the neighbour and meets in the middle
    assert shown["divergence"][middle, middle] < 0
    assert dict(zip(CHANNELS, third, strict=True))["foreground"][:, -8:].max() == 0  # beyond the image


def test_outlines_tell_whole_crystals_from_merged_ones_by_hand():
    labels = np.zeros((60, 60), np.int32)
    labels[10:31, 10:31] = 1
    outline = np.full(labels.shape, -20.0, np.float32)
    outline[10:31, (10, 30)] = outline[(10, 30), 10:31] = 20.0
    outline[10:31, 20] = 20.0  # a line across it
    (found,) = propose([replace(exact(labels, 1.0), outline=outline)], 0.0, 15)
    edge, crossed = found.features[0, len(FEATURES) :]
    assert edge == pytest.approx(1.0)
    # inside, from 4 px within the edge on, 13 × 13 px of which one column of 13 is line
    assert crossed == pytest.approx(13 / 13**2)
    scale = replace(exact(labels, 1.0), outline=outline)
    (shown,) = patches(found, scale, np.zeros((3, 60, 60), np.float32), [1])
    assert len(shown) == len(CHANNELS) + 1
    assert shown[-1].max() > 0.8  # a line of 1 px, interpolated


def test_the_surest_is_taken_first_and_its_place_is_taken():
    one = np.zeros((20, 40), np.int32)
    one[2:18, 2:38] = 1
    two = np.zeros((20, 40), np.int32)
    two[2:18, 2:19], two[2:18, 21:38] = 1, 2
    parts = [Candidates(x, np.zeros((x.max(), len(FEATURES)), np.float32), np.zeros(x.shape)) for x in (one, two)]
    labels, sure, chosen = select([p.masks for p in parts], [np.array([0.5]), np.array([0.9, 0.8])], one.shape, 15, 0.2)
    assert labels.max() == 2
    assert chosen.tolist() == [[1, 0], [1, 1]]
    assert sure == pytest.approx([0.9, 0.8])
    assert ((labels > 0) == (two > 0)).all()
    labels, _, chosen = select([p.masks for p in parts], [np.array([0.95]), np.array([0.9, 0.8])], one.shape, 15, 0.2)
    assert labels.max() == 1
    assert chosen.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        (0, 5, True),  # 15 of 20 columns are left
        (0, 7, False),  # 13 of 20
        (8, 11, False),  # 17 of 20, in two pieces of 8 and 9: the rest of a ring about a crystal looks so
    ],
)
def test_what_surer_ones_leave_of_a_proposal_has_to_be_most_of_it_in_one_piece(first, last, kept):
    large, sure = np.zeros((2, 20, 24), np.int32)
    large[4:14, 2:22] = 1
    sure[4:14, 2 + first : 2 + last] = 1
    parts = [Candidates(x, np.zeros((1, len(FEATURES)), np.float32), np.zeros(x.shape)) for x in (large, sure)]
    labels, _, _ = select([p.masks for p in parts], [np.array([0.5]), np.array([0.9])], large.shape, 15, 0.2)
    expected = np.where(sure > 0, 1, np.where(large > 0, 2 * kept, 0))
    assert labels.tolist() == expected.tolist()


def test_a_coarse_crystal_is_enlarged_with_smooth_edges():
    labels = discs((256, 256), [(128, 128, 80), (20, 20, 60)])
    small = discs((32, 32), [((128 - 3.5) / 8, (128 - 3.5) / 8, 10), ((20 - 3.5) / 8, (20 - 3.5) / 8, 7.5)])
    part = Candidates(small, np.zeros((2, len(FEATURES)), np.float32), np.zeros(small.shape))
    found, _, _ = select([part.masks], [np.array([0.9, 0.8])], labels.shape, 15, 0.2)
    assert panoptic_quality(labels, found) > 0.93
    assert found[0, 0] == 2  # a crystal cut by the border stays cut by it


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_what_is_selected_keeps_the_rules(seed, lowest):
    rng = np.random.default_rng(seed)
    images = [discs((n, n), rng.uniform(0, n, (6, 3)) * (1, 1, 0.3)) for n in (30, 60)]
    parts, scores = [], []
    for image in images:
        names = np.unique(image[image > 0])
        labels = np.searchsorted(names, image) + 1
        labels = np.where(image > 0, labels, 0).astype(np.int32)
        parts.append(Candidates(labels, np.zeros((len(names), len(FEATURES)), np.float32), np.zeros(labels.shape)))
        scores.append(rng.uniform(0, 1, len(names)))
    labels, sure, chosen = select([p.masks for p in parts], scores, (60, 60), 20, lowest)
    areas = np.bincount(labels.ravel())[1:]
    assert len(areas) == len(sure) == len(chosen)
    assert (areas >= 20).all()
    assert (np.diff(sure) <= 0).all()
    assert (sure >= lowest).all()


def test_winners_say_where_each_crystal_came_from():
    labels = np.zeros((100, 200), np.int32)
    labels[:50, :100], labels[50:, 100:] = 1, 2
    maps = winners(labels, np.array([1, 0]), 2, longest=100)
    assert maps.shape == (3, 50, 100)
    assert (maps.sum(axis=0) == 1).all()
    assert maps[1, 10, 10] == maps[0, 40, 80] == maps[2, 10, 80] == 1


def test_nothing_proposed_is_nothing_selected():
    empty = ScalePrediction(
        1.0, np.zeros((2, 40, 50), np.float32), np.full((40, 50), -9, np.float32), np.ones((40, 50))
    )
    candidates = propose([empty, empty], 0.0, 15)
    labels, sure, chosen = select([c.masks for c in candidates], [np.zeros(0)] * 2, (40, 50), 15, 0.0)
    assert labels.max() == 0
    assert len(sure) == len(chosen) == 0
