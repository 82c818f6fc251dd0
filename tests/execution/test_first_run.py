"""The micrographs that come with the program, and the one measured before anybody asks."""

import pytest

from crystalseg.execution import first_run
from crystalseg.execution.queue import EXAMPLE, Queue
from crystalseg.micrographs import examples
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure


def test_every_sample_can_be_read_and_the_first_is_among_them():
    found = examples.files()
    assert examples.FOLDER / examples.FIRST in found.values()
    for title, path in found.items():
        assert read_micrograph(path.read_bytes(), path.name).pixels.ndim == 3
        assert "-" not in title


@pytest.fixture
def small_first(monkeypatch):
    made = draw(8, (120, 130), Structure("powder", diameter=35))
    micrograph = Micrograph(made.image, examples.FIRST, "cd" * 32)
    monkeypatch.setattr("crystalseg.execution.first_run.first", lambda: micrograph)


def test_prepare_measures_the_first_sample_once(small_first):
    told = []
    for _ in range(2):
        first_run.prepare(report=told.append)
    assert len(told) == 1
    queue = Queue()
    try:
        job = first_run.first_job(queue)
        assert job.startswith(EXAMPLE)
        assert queue.job(job).status == "done"
        assert first_run.first_job(queue) == job
        assert queue.result(job)[1].labels.shape == (120, 130)
    finally:
        queue.close()
