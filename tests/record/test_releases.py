"""Records that earlier releases wrote, each by its own code: they open, and nothing in them is lost.

`releases/` holds home folders as those releases left them: the first with corrections, before
schemas had numbers; the last with tables of runs and corrections; the last before people signed in, its entries a chain
(its signing key is of use here only).
"""

import zipfile
from pathlib import Path

import pytest

from crystalseg.execution.queue import Queue
from crystalseg.record import anchors, ledger, store
from crystalseg.record.approvals import approval
from crystalseg.record.audit import audit
from crystalseg.record.profiles import profiles
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.reports import reports_of
from crystalseg.record.runs import recorded

RELEASES = sorted(p.stem for p in Path(__file__).with_name("releases").iterdir())

FOUND = {"1-corrections": 11, "2-migrations": 9, "3-chain": 10}  # crystals, as each release counted them


@pytest.fixture
def opened():
    """Opens the home folder that a release left, as the app does: with its queue."""
    queues = []

    def from_release(name: str) -> Queue:
        with zipfile.ZipFile(Path(__file__).with_name("releases") / f"{name}.zip") as archive:
            archive.extractall(store.home())
        queues.append(Queue())
        return queues[-1]

    yield from_release
    for queue in queues:
        queue.close()


@pytest.mark.parametrize("release", RELEASES)
def test_its_run_is_there_and_the_record_goes_on(opened, release):
    engine = opened(release).engine
    (run,) = recorded(engine)
    assert (run.image_name, run.figures["found"], run.corrections) == ("Powder 12, field 3.png", FOUND[release], [])
    assert run.chosen.network == ("folded" if release == "3-chain" else "cellpose")
    assert list(audit(engine)) == []
    ledger.append(engine, "profile", "later", {})
    assert list(audit(engine)) == []


def test_its_queue_s_results_are_there(opened):
    queue = opened("1-corrections")
    (run,) = recorded(queue.engine)
    assert queue.job("4c507b5c5836").status == "done"
    micrograph, segmentation = queue.result("4c507b5c5836")
    assert micrograph.pixels.shape[:2] == segmentation.labels.shape == (96, 96)
    assert micrograph.sha256 == run.image_sha256
    assert len(segmentation.confidence) == segmentation.labels.max() == run.figures["found"]


@pytest.mark.parametrize("release", ["1-corrections", "2-migrations"])
def test_corrections_are_entries_now(opened, release):
    entries = list(ledger.entries(opened(release).engine, "correction"))
    assert [(e.who, e.body["entry"]["kind"]) for e in entries] == [("A. Kern", "delete"), ("A. Kern", "undo")]


def test_profile_approval_labels_and_report_of_a_chain(opened):
    engine = opened("3-chain").engine
    (run,) = recorded(engine)
    assert same_figures(run, reopen(run).measurement.summary)
    assert profiles(engine)["Powder, release"].limits[0].upper == 20.0
    assert approval(engine, run.id).startswith("M. Vogt, 2026-11-25 14:04:59")
    (report,) = reports_of(engine, run.id)
    assert list(anchors.check(engine, store.get(report.body["files"]["PDF report"]))) == []
