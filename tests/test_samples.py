"""The micrographs that come with the program, and the one measured before anybody asks."""

import pytest

from crystalseg import samples
from crystalseg.jobs import SAMPLE, Queue
from crystalseg.micrograph import Micrograph, read_micrograph
from crystalseg.synth import Structure, draw


def test_every_sample_can_be_read_and_the_first_is_among_them():
    found = samples.files()
    assert samples.FOLDER / samples.FIRST in found.values()
    for title, path in found.items():
        assert read_micrograph(path.read_bytes(), path.name).pixels.ndim == 3
        assert "-" not in title


@pytest.fixture
def small_first(monkeypatch):
    made = draw(8, (120, 130), Structure("powder", diameter=35))
    monkeypatch.setattr(samples, "first", lambda: Micrograph(made.image, samples.FIRST, "cd" * 32))


def test_prepare_measures_the_first_sample_once(small_first):
    told = []
    for _ in range(2):
        samples.prepare(report=told.append)
    assert len(told) == 1
    queue = Queue()
    try:
        job = samples.first_job(queue)
        assert job.startswith(SAMPLE)
        assert queue.look(job).status == "done"
        assert samples.first_job(queue) == job
        assert queue.result(job)[1].labels.shape == (120, 130)
    finally:
        queue.close()
