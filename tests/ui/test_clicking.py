"""The clicks of a session: what begins a crystal, what mends it, and what the log keeps."""

import numpy as np
import pytest

from crystalseg.execution.corrected import Corrected
from crystalseg.record.corrections import correction_log
from crystalseg.record.database import open_database
from crystalseg.segmentation.corrections.correction import CorrectionError
from crystalseg.segmentation.corrections.history import history_of
from crystalseg.segmentation.fusion import no_maps
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings
from crystalseg.ui import clicking
from tests.segmentation.test_correction_clicks import PIXELS, SCALE, TRUTH, Perfect


@pytest.fixture
def corrected(own_home, monkeypatch):
    monkeypatch.setattr(clicking.st, "session_state", {})
    monkeypatch.setattr(clicking, "_network", Perfect)
    clicking._seen.clear()
    nothing = np.zeros_like(TRUTH)
    found = Segmentation(nothing, np.zeros(0, np.float32), no_maps(TRUTH.shape), (SCALE,), None, Settings())
    return Corrected(open_database(), "job", found, history_of(found, PIXELS, []))


def click(corrected, point, role="new"):
    number = int(corrected.history.labels[point])
    edit = {"kind": "click", "points": [list(point)], "ids": [number] if number else [], "role": role}
    clicking.click(corrected, edit, "A. Smith")


def iou(corrected, label, number):
    ours, truth = corrected.history.labels == label, number == TRUTH
    return (ours & truth).sum() / (ours | truth).sum()


def test_one_click_one_crystal(corrected):
    click(corrected, (60, 60))
    click(corrected, (200, 320))
    assert iou(corrected, 1, 2) > 0.9
    assert iou(corrected, 2, 1) > 0.9
    log = corrected.history.log
    assert [(c.kind, c.clicks, c.who) for c in log] == [("redraw", 1, "A. Smith")] * 2
    # the log alone gives the same labels again: no network is asked
    entries = [one.entry for one in correction_log(corrected.engine, "job")]
    again = history_of(corrected.original, PIXELS, entries)
    assert np.array_equal(again.labels, corrected.history.labels)


def test_more_clicks_mend_the_same_crystal(corrected):
    click(corrected, (60, 60))
    click(corrected, (60, 70), "inside")
    assert corrected.history.log[-1].clicks == 2
    assert corrected.history.labels.max() == 1
    click(corrected, (10, 300), "outside")
    assert corrected.history.log[-1].clicks == 3
    click(corrected, (60, 62))  # a plain click in it draws it anew
    assert (corrected.history.log[-1].ids, corrected.history.log[-1].clicks) == ((1,), 1)
    assert iou(corrected, 1, 2) > 0.9


def test_there_must_be_a_crystal_to_mend(corrected):
    with pytest.raises(CorrectionError, match="Click inside a crystal first"):
        click(corrected, (60, 60), "outside")
    click(corrected, (60, 60))
    clicking.forget()
    with pytest.raises(CorrectionError, match="Click inside a crystal first"):
        click(corrected, (60, 70), "outside")
    with pytest.raises(CorrectionError, match="Draw its outline"):
        click(corrected, (390, 10))
    assert len(corrected.history.log) == 1


def test_without_weights_or_on_a_huge_image_it_says_so(corrected, monkeypatch):
    monkeypatch.setattr(clicking, "LARGEST", 1000)
    with pytest.raises(CorrectionError, match="Use add or draw"):
        click(corrected, (60, 60))
    monkeypatch.setattr(clicking, "_network", lambda: None)
    with pytest.raises(CorrectionError, match="no weights for clicks"):
        click(corrected, (60, 60))
