"""From clicks to outlines: what the network is shown lies where it should, and its answer comes back to the image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from crystalseg.networks.clicks import CHANNELS, SIDE
from crystalseg.segmentation.corrections.clicks import (
    BEFORE,
    INSIDE,
    OUTSIDE,
    Clicks,
    Seen,
    clicked,
    outline_of,
    sampled,
)
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.corrections.evidence import Evidence
from crystalseg.segmentation.corrections.history import History
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import ScalePrediction
from tests.conftest import discs

TRUTH = discs((400, 620), [(200, 320, 150), (60, 60, 20), (60, 135, 30), (350, 560, 4)])
PIXELS = np.repeat(np.where(TRUTH > 0, 200, 50).astype(np.uint8)[..., None], 3, axis=2)
FOREGROUND = np.where(TRUTH > 0, 9.0, -9.0).astype(np.float32)
SCALE = ScalePrediction(1.0, flows_from_labels(TRUTH), FOREGROUND, np.ones(TRUTH.shape, bool))
SEEN = Seen.of(PIXELS, [SCALE])


class Perfect:
    """A network that knows the truth: at each resolution the mask of the crystal in the middle of the clicks inside,
    less what is clicked outside; the surer, the more of the window it fills without leaving it."""

    def __init__(self, seen=SEEN, truth=TRUTH):
        self.seen, self.truth = seen, truth

    def __call__(self, x):
        assert x.shape == (1, len(self.seen.factors), CHANNELS, SIDE, SIDE)
        masks, quality = [], []
        for window in x[0].numpy():
            # bright inside, dark outside: the piece of the picture that is clicked
            bright = window[0] > 0.5
            place = np.argwhere(window[INSIDE] > 0)
            mask = bright if len(place) else np.zeros_like(bright)
            masks.append(np.where(mask & (window[OUTSIDE] == 0), 9.0, -9.0))
            edge = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
            quality.append(-9.0 if edge.any() else mask.mean())
        logits = torch.tensor(np.array(masks), dtype=torch.float32)[None]
        return logits, torch.tensor([quality]), None


def test_resolutions_reach_from_the_whole_image_to_four_times_its_size():
    assert SEEN.factors == (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # 620 px at 1/8 are 78
    assert [m.shape for m in SEEN.maps[-2:]] == [(7, 200, 310), (7, 400, 620)]
    # picture 0 to 1, flow, foreground; this scale gives no outline
    assert SEEN.maps[3][0, 200, 320] == 1
    assert SEEN.maps[3][5, 200, 320] > 0.99
    assert SEEN.maps[3][6].max() < 0.01


def test_without_a_run_s_maps_the_picture_is_enough():
    blind = Seen.of(PIXELS, [])
    assert all((m[3:] == 0).all() for m in blind.maps)
    box, mask = clicked(blind, Perfect(blind), [(60, 60)])
    assert np.count_nonzero(mask) == pytest.approx((TRUTH == 2).sum(), rel=0.05)
    assert (box[0].start, box[1].start) == (pytest.approx(40, abs=1), pytest.approx(40, abs=1))


@pytest.mark.parametrize("factor", [0.125, 0.25, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("point", [(200.0, 320.0), (60.0, 60.0), (3.0, 600.0)])
def test_windows_show_the_same_place_at_every_resolution(factor, point):
    before = TRUTH == 1
    window = SEEN.windows(point, [point], [(100.0, 300.0)], before)[SEEN.factors.index(factor)]
    corner = SEEN.corner(point, factor)
    # a click is a dot of five pixels about its own place
    rows, columns = np.nonzero(window[INSIDE])
    assert rows.mean() + corner[0] + 0.5 == pytest.approx((point[0] + 0.5) * factor, abs=0.5)
    assert columns.mean() + corner[1] + 0.5 == pytest.approx((point[1] + 0.5) * factor, abs=0.5)
    assert len(rows) == 25
    # the mask before, the picture and the foreground agree but for their edges
    one = sampled(TRUTH > 0, corner, factor)
    assert ((window[0] > 0.5) != one).mean() < 0.05
    assert ((window[5] > 0.5) != one).mean() < 0.05
    assert np.array_equal(window[BEFORE] > 0, sampled(before, corner, factor))


@pytest.mark.parametrize(("point", "number"), [((200, 320), 1), ((250, 200), 1), ((62, 58), 2), ((350, 560), 4)])
def test_a_click_finds_the_crystal_at_its_own_size(point, number):
    box, mask = clicked(SEEN, Perfect(), [point])
    truth = number == TRUTH
    found = np.zeros(TRUTH.shape, bool)
    found[box] = mask
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_further_clicks_add_and_take_away():
    both, _ = clicked(SEEN, Perfect(), [(60, 60), (60, 135)])
    assert both[1].start < 45
    assert both[1].stop > 155
    _, less = clicked(SEEN, Perfect(), [(60, 60)], [(60, 70)])
    _, plain = clicked(SEEN, Perfect(), [(60, 60)])
    assert np.count_nonzero(less) == np.count_nonzero(plain)  # a hole is filled: what is not clicked is as before


def test_where_nothing_is_found_it_says_so():
    with pytest.raises(CorrectionError, match="Draw its outline"):
        clicked(SEEN, Perfect(), [(390, 10)])


@given(st.lists(st.tuples(st.integers(3, 36), st.integers(3, 46), st.integers(1, 12)), min_size=1, max_size=4))
def test_an_outline_drawn_again_is_the_mask_s_largest_piece(circles):
    mask = discs((40, 50), circles) > 0
    labels = np.zeros((60, 80), np.int32)
    history = History(labels, np.zeros(0, np.float32), Evidence(np.zeros((60, 80, 3), np.uint8), []))
    points = outline_of((slice(10, 50), slice(20, 70)), mask)
    try:
        history.do(Correction("redraw", points=points, clicks=1))
    except CorrectionError:
        assert np.count_nonzero(mask) < 40  # less than a crystal
        return
    found = history.labels[10:50, 20:70] > 0
    assert not (found & ~ndimage.binary_fill_holes(mask)).any()
    pieces, _ = ndimage.label(mask)
    assert np.count_nonzero(found) >= np.bincount(pieces.ravel())[1:].max()
    assert np.count_nonzero(history.labels) == np.count_nonzero(found)


def test_clicks_become_one_correction_each():
    history = History(np.zeros_like(TRUTH), np.zeros(0, np.float32), Evidence(PIXELS, [SCALE]))
    first = Clicks(0, ((60, 60),)).correction(history.labels, SEEN, Perfect())
    history.do(first)
    assert first.words().endswith("by 1 click")
    assert (first.kind, first.ids, first.clicks) == ("redraw", (), 1)
    assert Correction.from_dict(first.to_dict()) == first
    again = Clicks(1, ((60, 60), (62, 62))).correction(history.labels, SEEN, Perfect())
    history.do(again)
    assert again.words() == "redrew 1 by 2 clicks"
    assert history.labels.max() == 1
    with pytest.raises(CorrectionError, match="Click inside a crystal first"):
        Clicks(1, (), ((60, 60),)).correction(history.labels, SEEN, Perfect())
