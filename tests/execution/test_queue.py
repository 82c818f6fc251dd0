"""The queue with its real worker process, on the shipped weights."""

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from crystalseg.execution.queue import EXAMPLE, JobRow, Queue
from crystalseg.execution.worker import measured_by, run_job
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.ledger import append
from crystalseg.record.results import load_micrograph, load_segmentation, save_micrograph, save_segmentation
from crystalseg.record.runs import record, recorded
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

DRAWN = draw(8, (200, 220), Structure("powder", diameter=35))
PROBE = Micrograph(DRAWN.image, "probe.png", "ab" * 32, from_um_per_px(0.5), ("A note.",), (1, 2, 201, 222))


def until_done(queue, job, seconds=120):
    end = time.monotonic() + seconds
    while (found := queue.job(job)).active:
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path)
    yield queue
    queue.close()


def test_arrays_come_back_as_they_were_saved(tmp_path, random_models):
    save_micrograph(tmp_path / "m.npz", PROBE)
    back = load_micrograph(tmp_path / "m.npz")
    np.testing.assert_array_equal(back.pixels, PROBE.pixels)
    for name in ("name", "sha256", "calibration", "notes", "region"):
        assert getattr(back, name) == getattr(PROBE, name)
    found = segment(PROBE, Settings("sima"), random_models)
    save_segmentation(tmp_path / "s.npz", found)
    same = load_segmentation(tmp_path / "s.npz")
    np.testing.assert_array_equal(same.labels, found.labels)
    np.testing.assert_array_equal(same.fused.flow, found.fused.flow)
    np.testing.assert_array_equal(same.attention, found.attention)
    np.testing.assert_allclose(same.scales[1].flow, found.scales[1].flow, atol=1e-3)
    assert same.settings == found.settings
    assert not list(tmp_path.glob(".part-*"))


def test_a_run_goes_through_the_worker_and_a_bad_one_does_not_stop_it(queue):
    good = queue.submit(PROBE, Settings())
    bad = queue.submit(PROBE, Settings())
    (queue.folder / bad / "micrograph.npz").write_bytes(b"broken")
    last = queue.submit(PROBE, Settings("cellpose-multiscale"))
    assert until_done(queue, good).status == "done"
    failed = until_done(queue, bad)
    assert failed.status == "failed"
    assert failed.error
    assert until_done(queue, last).status == "done"
    micrograph, found = queue.result(good)
    assert micrograph.calibration == PROBE.calibration
    assert found.labels.max() > 3
    assert queue.job(good).share == 1
    assert [run.figures["found"] for run in recorded(queue.engine)][-1] == found.labels.max()


@pytest.fixture
def without_worker(tmp_path, monkeypatch):
    """A queue whose jobs stay as they are: its worker seems to live."""
    monkeypatch.setattr(Queue, "start_workers", lambda self: None)
    queue = Queue(tmp_path)
    with queue.workers.hold(0):
        yield queue


def put(queue, jobs, **values):
    with Session(queue.engine) as session, session.begin():
        session.execute(update(JobRow).where(JobRow.id.in_(jobs)).values(**values))


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_at_its_next_batch(without_worker, random_models):
    queue = without_worker
    running, waiting = (queue.submit(PROBE, Settings("cellpose-multiscale")) for _ in range(2))
    queue.cancel(waiting)
    assert queue.job(waiting).status == "cancelled"
    put(queue, [running], status="running")
    queue.cancel(running)
    assert queue.job(running).status == "running"
    run_job(queue, running, random_models, measured_by(random_models))
    assert queue.job(running).status == "cancelled"
    assert queue.result(running) is None


def test_a_killed_worker_is_noticed_and_replaced(queue, monkeypatch):
    # one that does nothing holds the worker's place, so that its job is surely not done yet
    idle = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setitem(queue.workers._own, 0, idle)
    job = queue.submit(PROBE, Settings("watershed"))
    put(queue, [job], status="running")
    assert queue.job(job).status == "running"
    idle.kill()
    idle.wait()
    failed = until_done(queue, job, 60)
    assert failed.status == "failed"
    assert "interrupted" in failed.error
    assert until_done(queue, queue.submit(PROBE, Settings("watershed"))).status == "done"


def test_whoever_looks_settles_the_job_of_a_worker_that_was_killed(queue):
    """As after a reboot, or when the queue that started the worker has gone: the one that looks had none of its own."""
    job = queue.submit(PROBE, Settings())
    end = time.monotonic() + 60
    while queue.job(job).status != "running":
        assert time.monotonic() < end
        time.sleep(0.02)
    looker = Queue(queue.folder.parent)
    assert looker.job(job).status == "running"
    waiting = queue.submit(PROBE, Settings("watershed"))
    queue.close()
    failed = looker.job(job)
    assert (failed.status, "interrupted" in failed.error) == ("failed", True)
    assert until_done(looker, waiting).status == "done"  # a worker was started for what waited
    looker.close()


def test_only_what_was_running_and_not_yet_on_record_is_failed_at_a_restart(without_worker):
    queue = without_worker
    first, second, third = (queue.submit(PROBE, Settings()) for _ in range(3))
    put(queue, [first, third], status="running")
    # the worker was killed after it had put the third on record
    (queue.folder / third / "segmentation.npz").touch()
    append(queue.engine, "run", third, {})
    queue.settle_interrupted(0)
    assert queue.job(first).status == "failed"
    assert queue.job(second).status == "queued"
    assert queue.job(third).status == "done"
    assert [job.id for job in queue.active()] == [second]


def test_old_results_are_cleared_but_never_waiting_ones(without_worker, monkeypatch):
    monkeypatch.setattr("crystalseg.execution.queue.KEPT_RESULTS", 2)
    queue = without_worker
    jobs = [queue.submit(PROBE, Settings()) for _ in range(4)]
    assert all((queue.folder / job).exists() for job in jobs)
    for job in jobs:
        queue.cancel(job)
    last = queue.submit(PROBE, Settings())
    assert sum(p.is_dir() for p in queue.folder.iterdir()) == 2
    assert (queue.folder / last).exists()
    assert queue.job("none") is None


def test_cleared_maps_come_back_with_the_labels_on_record_or_not_at_all(queue):
    settings = Settings("watershed")
    job = queue.submit(PROBE, settings)
    until_done(queue, job)
    labels = queue.result(job)[1].labels
    shutil.rmtree(queue.folder / job)
    queue.bring_back(job, PROBE, settings)
    assert until_done(queue, job).status == "done"
    np.testing.assert_array_equal(queue.result(job)[1].labels, labels)
    order = (queue.folder / job / "segmentation.npz").stat().st_mtime_ns
    queue.bring_back(job, PROBE, settings)  # nothing to do
    assert queue.job(job).status == "done"
    assert (queue.folder / job / "segmentation.npz").stat().st_mtime_ns == order
    assert len(recorded(queue.engine)) == 1
    # the same networks, but other labels: those on record count
    shutil.rmtree(queue.folder / job)
    queue.bring_back(job, PROBE, Settings("watershed", instances=Instances(min_area=2000)))
    assert until_done(queue, job).status == "done"
    np.testing.assert_array_equal(queue.result(job)[1].labels, labels)
    # other networks
    (run,) = recorded(queue.engine)
    other = Settings("cellpose-noresize")
    facts = {"id": "old", "settings": json.loads(other.to_json()), "hashes": {"cellpose": "0" * 64}}
    record(queue.engine, replace(run, **facts), {})
    queue.bring_back("old", PROBE, other)
    failed = until_done(queue, "old")
    assert failed.status == "failed"
    assert "other weights" in failed.error


def test_those_who_ask_take_turns(without_worker):
    queue = without_worker
    names = [("ada", 1), ("ada", 2), ("ada", 3), ("ben", 1), ("eve", 1), ("ben", 2)]
    jobs = {f"{who}{k}": queue.submit(PROBE, Settings(), f"{who}{k}", asker=who) for who, k in names}
    assert [job.id for job in queue.waiting()] == ["ada1", "ben1", "eve1", "ada2", "ben2", "ada3"]
    assert queue.take(0) == "ada1"
    assert [job.id for job in queue.waiting()] == ["ben1", "eve1", "ada2", "ben2", "ada3"]
    put(queue, [jobs["ada1"]], status="done")
    assert [queue.take(k) for k in (0, 1)] == ["ada2", "ben1"]
    assert [job.id for job in queue.waiting()] == ["eve1", "ada3", "ben2"]
    assert queue.job("ben1").worker == 1


def test_without_names_it_is_first_come_first_served(without_worker):
    queue = without_worker
    jobs = [queue.submit(PROBE, Settings()) for _ in range(4)]
    assert [queue.take(0) for _ in range(5)] == [*jobs, None]


def test_an_example_gives_way_to_what_somebody_asked_for(without_worker, random_models):
    queue = without_worker
    example = queue.submit(PROBE, Settings("cellpose-multiscale"), f"{EXAMPLE}probe")
    assert queue.take(0) == example
    asked = queue.submit(PROBE, Settings("cellpose-multiscale"), asker="ada")
    run_job(queue, example, random_models, measured_by(random_models))
    assert queue.job(example).status == "queued"
    assert [job.id for job in queue.waiting()] == [asked, example]
    assert queue.take(0) == asked
    # another example does not
    put(queue, [asked], status="done")
    queue.submit(PROBE, Settings(), f"{EXAMPLE}other")
    assert queue.take(0) == example
    run_job(queue, example, random_models, measured_by(random_models))
    assert queue.job(example).status == "done"


def test_of_several_workers_one_gets_a_job(without_worker):
    queue = without_worker
    jobs = {queue.submit(PROBE, Settings()) for _ in range(12)}
    taken = []

    def take(place):
        own = Queue(queue.folder.parent)
        while job := own.take(place):
            taken.append(job)

    threads = [threading.Thread(target=take, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(jobs)


def test_two_workers_run_two_jobs_at_once_and_only_the_killed_one_s_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_WORKERS", "2")
    queue = Queue(tmp_path)
    big = replace(PROBE, pixels=np.tile(PROBE.pixels, (6, 6) + (1,) * (PROBE.pixels.ndim - 2)))
    jobs = [queue.submit(big, Settings(), asker=who) for who in ("ada", "ben")]
    end = time.monotonic() + 120
    while {queue.job(job).status for job in jobs} != {"running"}:
        assert time.monotonic() < end
        time.sleep(0.02)
    first, second = (queue.job(job) for job in jobs)
    assert {first.worker, second.worker} == {0, 1}
    killed = queue.workers._own[first.worker]
    killed.kill()
    killed.wait(10)
    assert "interrupted" in until_done(queue, first.id).error
    assert queue.job(second.id).status == "running"
    queue.cancel(second.id)
    assert until_done(queue, second.id).status == "cancelled"
    queue.close()
