"""Runs of the app's queue on a Dask cluster, whose worker is a thread here."""

import os
import time

import numpy as np
import pytest
from distributed import Client, LocalCluster

from crystalseg.execution import cluster as module
from crystalseg.execution.cluster import ClusterError, connected, measured_elsewhere
from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.queue import Queue
from crystalseg.execution.worker import measured_by, run_job
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.runs import find
from crystalseg.segmentation.models import Taught
from crystalseg.segmentation.progress import Cancelled, Progress
from crystalseg.segmentation.settings import Settings
from tests.conftest import discs

LABELS = discs((90, 110), [(40, 50, 20), (70, 90, 12)])
PIXELS = np.repeat(np.where(LABELS > 0, 200, 40)[..., None], 3, axis=2).astype(np.uint8)
MICROGRAPH = Micrograph(PIXELS, "discs", "")


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        yield cluster


def test_a_job_is_computed_by_the_cluster_and_recorded_here(cluster, random_models, monkeypatch, tmp_path):
    monkeypatch.setenv("CRYSTALSEG_SCHEDULER", cluster.scheduler_address)
    monkeypatch.setattr("crystalseg.execution.cluster.models", lambda taught="": random_models)
    monkeypatch.setattr(Queue, "start_workers", lambda self: None)
    here = []
    monkeypatch.setattr("crystalseg.execution.worker.measure_micrograph", lambda *order: here.append(order))
    queue = Queue(tmp_path)
    job = queue.submit(MICROGRAPH, Settings("watershed"))
    assert queue.take(0) == job
    run_job(queue, job, random_models, measured_by(random_models))
    assert queue.job(job).status == "done"
    assert not here
    assert find(queue.engine, job).figures["found"] == 2
    alone = measure_micrograph(MICROGRAPH, Settings("watershed"), random_models)
    _, kept = queue.result(job)
    assert (kept.labels == alone.segmentation.labels).all()


def test_progress_comes_from_the_cluster_and_a_stop_goes_there(cluster, monkeypatch):
    stopped = []

    def slow(micrograph, settings, models, progress):
        try:
            for k in range(200):
                progress(Progress("scale 1", k, 200, k / 200))
                time.sleep(0.05)
        except Cancelled:
            stopped.append(k)
            raise

    monkeypatch.setattr("crystalseg.execution.one_image.measure_micrograph", slow)
    monkeypatch.setattr("crystalseg.execution.cluster.models", lambda taught="": None)
    seen = []

    def watch(progress):
        seen.append(progress.share)
        if progress.share > 0.05:
            raise Cancelled

    with Client(cluster) as client:
        with pytest.raises(Cancelled):
            measured_elsewhere(client, MICROGRAPH, Settings("watershed"), watch)
        end = time.monotonic() + 20
        while not stopped:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert seen == sorted(seen)
    assert stopped[0] < 150


def test_a_scheduler_that_does_not_answer_is_a_sentence(random_models, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_SCHEDULER", "tcp://127.0.0.1:1")
    with pytest.raises(ClusterError, match="No Dask scheduler answers at"):
        measured_by(random_models)(MICROGRAPH, Settings("watershed"), None, print)


def test_workers_of_this_machine_end_with_their_client():
    with connected(1, None) as client:
        (number,) = client.run(os.getpid).values()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_process_keeps_the_latest_models_only(monkeypatch):
    built = []
    monkeypatch.setattr(module, "_brought", {})
    monkeypatch.setattr(module, "_shipped", lambda: None)
    monkeypatch.setattr("crystalseg.segmentation.models.with_taught", lambda _, taught: built.append(taught) or taught)
    taught = [Taught(f"m:{k}", "folded", f"test-{k}", b"") for k in range(module.MOST_BROUGHT + 1)]
    for one in taught:
        assert module.models(module.bring(one)) is one
    assert list(module._brought) == [one.sha256 for one in taught[1:]]
    assert module.models(taught[-1].sha256) is taught[-1]
    assert built == taught  # the latest was still loaded
    assert module.models(taught[1].sha256) is taught[1]
    assert built[-1] is taught[1]  # an earlier one is loaded again
    module._with_taught.cache_clear()
