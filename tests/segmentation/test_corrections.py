import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crystalseg.segmentation.corrections.actions import line_between
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.corrections.evidence import Evidence, ridges
from crystalseg.segmentation.corrections.history import History, replay
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import ScalePrediction
from tests.conftest import discs

WHOLE = discs((80, 200), [(40, 40, 30), (40, 110, 30), (40, 170, 20)])


def evidence(truth, seen=None):
    """What perfect networks say of `truth` at full resolution; the picture shows dark lines between crystals."""
    flow = flows_from_labels(truth)
    foreground = np.where(truth > 0, 6.0, -6.0).astype(np.float32)
    pixels = np.repeat(np.where(truth > 0, 180, 40).astype(np.uint8)[..., None], 3, axis=2)
    return Evidence(pixels, (ScalePrediction(1.0, flow, foreground, np.ones(truth.shape, bool)),))


def history(labels=WHOLE, truth=WHOLE):
    return History(labels, np.full(labels.max(), 0.5, np.float32), evidence(truth))


def halves(gap=3):
    """A disc wrongly cut in two by an upright line `gap` px wide."""
    labels = discs((80, 100), [(40, 50, 30)])
    right = np.arange(100)[None] >= 50 + gap / 2
    left = np.arange(100)[None] < 50 - gap / 2
    return np.where(labels & right, 2, np.where(labels & left, 1, 0)).astype(np.int32)


def test_a_crystal_cut_in_two_is_whole_again_after_a_click_on_the_line():
    whole = discs((80, 100), [(40, 50, 30)])
    h = history(halves(), whole)
    assert line_between(h.labels, 40, 50) in ((1, 2), (2, 1))
    h.do(Correction("merge", line_between(h.labels, 40, 50)))
    (number,) = set(np.unique(h.labels)) - {0}
    both = (h.labels > 0) & (whole > 0)
    assert both.sum() / ((h.labels > 0) | (whole > 0)).sum() > 0.98
    assert number in (1, 2)
    assert h.confidence[number - 1] == 1  # a person decided
    h.do("undo")
    assert (h.labels == halves()).all()
    assert (h.confidence == 0.5).all()


def test_three_in_a_row_merge_and_far_ones_do_not():
    labels = np.zeros((20, 60), np.int32)
    for n in range(3):
        labels[2:18, 2 + 14 * n : 14 + 14 * n] = n + 1
    h = history(labels, labels)
    h.do(Correction("merge", (3, 1, 2)))
    assert (h.labels > 0).sum() == 16 * 40  # with the two lines between
    assert len(np.unique(h.labels)) == 2
    far = history()
    with pytest.raises(CorrectionError, match="does not touch"):
        far.do(Correction("merge", (1, 3)))
    assert (far.labels == WHOLE).all()


def test_two_clicks_split_where_the_flow_parts():
    truth = discs((80, 120), [(40, 35, 25), (40, 82, 25)])
    merged = (truth > 0).astype(np.int32)
    merged[30:50, 55:65] = 1
    h = History(merged, np.array([0.9], np.float32), evidence(truth))
    changed = h.do(Correction("split", (1,), ((40, 30), (40, 90))))
    assert changed == {1, 2}
    for number in (1, 2):
        inside = h.labels == number
        best = max(((inside & (truth == t)).sum() / (inside | (truth == t)).sum()) for t in (1, 2))
        assert best > 0.93
    with pytest.raises(CorrectionError, match="different places"):
        h.do(Correction("split", (1,), ((40, 30), (40, 30))))


def test_a_line_cuts_and_no_pixel_is_lost():
    h = history()
    h.do(Correction("cut", (1,), ((5, 40), (75, 40))))
    assert set(np.unique(h.labels)) == {0, 1, 2, 3, 4}
    assert ((h.labels == 1) | (h.labels == 4)).sum() == (WHOLE == 1).sum()
    assert abs((h.labels == 1).sum() - (h.labels == 4).sum()) < 80
    # a line that stops a little short counts as crossing; one that only scratches does not
    h.do(Correction("cut", (2,), ((15, 110), (66, 110))))
    assert 5 in h.labels
    with pytest.raises(CorrectionError, match="from side to side"):
        h.do(Correction("cut", (3,), ((40, 170), (41, 172))))


def test_a_line_that_begins_beyond_the_image_cuts_a_crystal_at_its_border():
    labels = np.zeros((60, 80), np.int32)
    labels[:40, 20:60] = 1
    h = History(labels, np.ones(1, np.float32), evidence(labels))
    h.do(Correction("cut", (1,), ((-4, 30), (45, 30))))
    # the line's own pixels go to either side
    np.testing.assert_allclose(sorted(np.bincount(h.labels.ravel())[1:]), (400, 1200), atol=40)


def test_a_missing_crystal_grows_from_a_click():
    labels = np.where(WHOLE == 2, 0, WHOLE)
    h = history(labels, WHOLE)
    h.do(Correction("add", points=((45, 115),)))
    assert ((h.labels == 4) == (WHOLE == 2)).mean() > 0.995
    with pytest.raises(CorrectionError, match="already"):
        h.do(Correction("add", points=((45, 115),)))


def test_a_crystal_no_network_saw_grows_from_the_picture():
    blind = evidence(WHOLE)
    scale = blind.scales[0]
    nothing = ScalePrediction(1.0, 0 * scale.flow, np.full_like(scale.foreground, -9), scale.covered)
    h = History(np.where(WHOLE == 2, 0, WHOLE), np.ones(3), Evidence(blind.pixels, (nothing,)))
    h.do(Correction("add", points=((40, 110),)))
    grown, wanted = h.labels == 4, WHOLE == 2
    assert (grown & wanted).sum() / (grown | wanted).sum() > 0.9


def test_a_lasso_replaces_the_outline_and_leaves_others_alone():
    h = history()
    square = ((20.0, 20.0), (20.0, 95.0), (60.0, 95.0), (60.0, 20.0))
    h.do(Correction("redraw", (1,), square))
    assert (h.labels[WHOLE == 2] == 2).all()
    assert (h.labels[30:50, 25:75] == 1).all()
    assert h.labels[12, 40] == 0
    h.do(Correction("redraw", (), ((2, 2), (2, 12), (12, 12), (12, 2))))
    assert (h.labels == 4).sum() > 60
    with pytest.raises(CorrectionError, match="no free ground"):
        h.do(Correction("redraw", (), ((38, 108), (38, 112), (42, 112), (42, 108))))


def test_marks_and_acceptance_leave_the_labels():
    h = history()
    h.do(Correction("mark", (2,), mark="pore"))
    assert h.marks == {2: "pore"}
    h.do(Correction("accept", (1,)))
    assert h.confidence.tolist() == [1, 0.5, 0.5]
    h.do(Correction("mark", (2,), mark="crystal"))
    assert h.marks == {}
    h.do("undo")
    assert h.marks == {2: "pore"}
    h.do(Correction("delete", (2,)))
    assert h.marks == {}
    assert (h.labels == np.where(WHOLE == 2, 0, WHOLE)).all()
    h.do("undo")
    assert h.marks == {2: "pore"}


@pytest.mark.parametrize(
    "bad",
    [
        Correction("merge", (1,)),
        Correction("merge", (1, 9)),
        Correction("delete"),
        Correction("split", (1,)),
        Correction("add"),
        Correction("add", points=((500, 2),)),
        Correction("cut", (1, 2), ((0, 0), (1, 1))),
        Correction("redraw", (1,), ((1, 1), (2, 2))),
        Correction("accept", (77,)),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(bad):
    h = history()
    with pytest.raises(CorrectionError) as error:
        h.do(bad)
    assert str(error.value).endswith(".")
    assert (h.labels == WHOLE).all()
    assert h.log == ()
    with pytest.raises(CorrectionError):
        h.do("undo")
    with pytest.raises(CorrectionError):
        h.do("redo")


def test_unknown_kinds_are_refused():
    with pytest.raises(CorrectionError):
        Correction("explode")


corner = st.tuples(st.floats(0, 79), st.floats(0, 199))
asked = st.builds(
    Correction,
    st.sampled_from(["merge", "split", "cut", "delete", "add", "redraw", "mark", "accept"]),
    st.lists(st.integers(1, 6), max_size=3).map(tuple),
    st.lists(corner, max_size=5).map(tuple),
    st.sampled_from(["crystal", "pore", "artefact"]),
)


@settings(max_examples=60)
@given(st.lists(st.one_of(asked, st.sampled_from(["undo", "redo"])), max_size=14))
def test_whatever_is_done_can_be_replayed_and_undone(asks):
    h, entries = history(), []
    for ask in asks:
        try:
            replay(h, [ask])
        except CorrectionError:
            continue
        entries.append(ask)
    again = replay(history(), entries)
    assert (again.labels == h.labels).all()
    assert again.marks == h.marks
    assert (again.confidence == h.confidence).all()
    for number in set(np.unique(h.labels)) - {0}:
        assert ndimage.label(h.labels == number)[1] == 1
        assert number <= len(h.confidence)
    assert set(h.marks) <= set(np.unique(h.labels))
    while h.log:
        h.do("undo")
    assert (h.labels == WHOLE).all()
    assert h.marks == {}
    assert (h.confidence == 0.5).all()


def test_ridges_stand_where_crystals_meet():
    truth = discs((60, 90), [(30, 25, 20), (30, 65, 20)])
    strength = ridges(evidence(truth), (slice(20, 40), slice(10, 80)))
    assert strength.shape == (20, 70)
    assert strength[10, 35] > 5 * strength[10, 15]
