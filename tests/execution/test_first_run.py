"""The micrographs that come with the program, and the one measured before anybody asks."""

import hashlib

from crystalseg.execution import first_run
from crystalseg.execution.queue import EXAMPLE, Queue
from crystalseg.micrographs import examples
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.record import store
from crystalseg.record.audit import audit
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import recorded
from crystalseg.segmentation.settings import Settings


def test_every_sample_can_be_read_and_the_first_is_among_them():
    found = examples.files()
    assert examples.FOLDER / examples.FIRST in found.values()
    for title, path in found.items():
        assert read_micrograph(path.read_bytes(), path.name).pixels.ndim == 3
        assert "-" not in title


def test_the_run_that_is_shipped_is_of_the_shipped_weights_image_and_settings():
    """`python -m crystalseg example` makes it."""
    run = first_run.shipped()
    assert run.id in (first_run.job_name(), first_run.earlier_name())
    assert run.chosen == Settings()
    assert run.image_sha256 == hashlib.sha256((examples.FOLDER / examples.FIRST).read_bytes()).hexdigest()
    assert run.hashes == hashes_of(run.hashes)
    kept = {name: file.read_bytes() for name, file in first_run.FILES.items()}
    assert run.files == {name: store.put(data) for name, data in kept.items()}
    assert same_figures(run, reopen(run).measurement.summary)


def hashes_of(names):
    return {n: hashlib.sha256((DIRECTORY / f"{n}.safetensors").read_bytes()).hexdigest() for n in names}


def test_it_is_on_record_before_its_maps_are_computed(monkeypatch):
    monkeypatch.setattr(Queue, "start_workers", lambda self: None)
    queue = Queue()
    with queue.workers.hold(0):
        job = first_run.first_job(queue)
        assert job.startswith(EXAMPLE)
        assert queue.job(job).status == "queued"
        (run,) = recorded(queue.engine)
        assert (run.id, run.details["operator"]) == (job, "shipped with the program")
        assert first_run.first_job(queue) == job
        assert list(audit(queue.engine)) == []
        assert len(recorded(queue.engine)) == 1


def test_with_other_weights_it_is_measured(monkeypatch):
    monkeypatch.setattr(Queue, "start_workers", lambda self: None)
    shipped = first_run.shipped().id
    monkeypatch.setattr(first_run, "weights", lambda: "other")
    queue = Queue()
    with queue.workers.hold(0):
        job = first_run.first_job(queue)
        assert job == first_run.job_name() != shipped
        assert recorded(queue.engine) == []
        assert queue.job(job).status == "queued"
