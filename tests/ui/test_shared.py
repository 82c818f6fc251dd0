"""What sessions share."""

import pytest

from crystalseg.errors import UserError
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.results import save_segmentation
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.ui import shared


@pytest.fixture
def queue(own_queue, monkeypatch):
    queue = shared.queue()
    monkeypatch.setattr(queue, "start_workers", lambda: None)
    return queue


def test_a_result_that_was_not_there_is_seen_once_it_is(queue):
    """As of a run whose maps were cleared and are brought back under its name."""
    micrograph = Micrograph(draw(1, (80, 90)).image, "a.png", "0" * 64)
    job = queue.submit(micrograph, Settings("watershed"))
    assert shared.result(job) is None
    with pytest.raises(UserError, match="cleared to save space"):
        shared.finished(job)
    save_segmentation(queue.folder / job / "segmentation.npz", segment(micrograph, Settings("watershed"), None))
    assert shared.result(job) is not None
    assert shared.result(job)[1] is shared.result(job)[1]  # read once
