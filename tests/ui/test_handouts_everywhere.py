"""A format is one row: added to the list, it is there wherever something is handed out."""

import io
import sys
import zipfile

import numpy as np
import pytest
from distributed import LocalCluster
from streamlit.testing.v1 import AppTest

from crystalseg.cli.app import main
from crystalseg.execution import batch, batch_run
from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.result import packed
from crystalseg.execution.worker import run_job
from crystalseg.execution.workers import Workers
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import recorded
from crystalseg.report.handouts import BATCH, HANDOUTS, IMAGE, Handout, Measured
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.settings import Settings
from crystalseg.ui import session, shared
from tests.conftest import choose_runs, discs, png

QUICK = Profile("quick", settings=Settings("watershed"))
LABELS = discs((120, 120), [(30, 30, 15), (80, 80, 20)])
PICTURE = png(np.where(LABELS > 0, 200, 40).astype(np.uint8))


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Crystals in one line of text."""
    row = Handout(
        "toy",
        "Toy text",
        "toy.txt",
        "text/plain",
        Measured,
        lambda m: f"{m.field.name}: {m.labels.max()} crystals".encode(),
        default=(IMAGE, BATCH),
    )
    monkeypatch.setitem(HANDOUTS, row.key, row)
    return row


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(PICTURE)
    return folder


def labels_of(app):
    return [button.label for button in app.get("download_button")]


def test_the_command_line_writes_it(images, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ["segment", images / "a.png", "--method", "watershed", "--out", out]
    for more, names in (
        ([], {"a_toy.txt", "a_report.pdf", "a_crystals.csv", "a_labels.tif", "a_run.json"}),
        (["--formats", "toy,settings"], {"a_toy.txt", "a_settings.json"}),
    ):
        for path in out.glob("*"):
            path.unlink()
        monkeypatch.setattr(sys, "argv", ["crystalseg", *map(str, [*arguments, *more])])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        assert {path.name for path in out.iterdir()} == names
        assert (out / "a_toy.txt").read_bytes() == b"a.png: 2 crystals"


@pytest.mark.parametrize("formats", [None, ("toy", "labels-ome")])
def test_a_batch_writes_it_and_packs_whatever_was_written(images, tmp_path, formats):
    out, engine = tmp_path / "out", open_database()
    batch.prepare(out, images, QUICK, formats=formats)
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        assert batch_run.run(out, engine, 1, cluster.scheduler_address).done == 2
    endings = ("toy.txt", *(("labels.ome.tif",) if formats else ("labels.tif", "crystals.csv", "report.pdf")))
    written = {f"{stem}_{ending}" for stem in "ab" for ending in endings}
    assert {path.name for path in out.glob("[ab]_*")} == written
    assert (out / "b_toy.txt").read_bytes() == b"b.png: 2 crystals"
    (out / "a_labels.npz").write_bytes(b"by an earlier release")
    (out / "log.txt").write_text("what its process said")
    names = set(zipfile.ZipFile(io.BytesIO(packed(out))).namelist())
    assert names >= written | {"a_labels.npz", "batch.json", "summary.csv", "combined_report.pdf"}
    assert "log.txt" not in names
    # on record with it are the reports it wrote
    assert {run.id for run in recorded(engine)} == {batch.load(out).run_id(k) for k in (0, 1)}


@pytest.fixture
def measured(own_queue, monkeypatch):
    """A measured image in a session, done in this process without networks."""
    monkeypatch.setattr(Workers, "start", lambda *_: None)
    micrograph, settings = read_micrograph(PICTURE, "a.png"), Settings("watershed")
    job = shared.queue().submit(micrograph, settings)
    run_job(shared.queue(), job, Models({}, "cpu"), lambda given, s, *_: measure_micrograph(given, s, None))
    return session.Item(micrograph, None, job=job)


def test_the_measure_page_and_history_offer_it(measured):
    app = AppTest.from_file("../../pages/measure.py", default_timeout=60)
    app.session_state["entered"] = True
    app.session_state["items"] = {measured.key: measured}
    app.run()
    assert not app.exception
    assert set(labels_of(app)) == {row.words for row in HANDOUTS.values()}
    app = AppTest.from_file("../../pages/history.py", default_timeout=60)
    app.session_state["entered"] = True
    app.run()
    choose_runs(app, open_database(), 0)
    app.run()
    assert not app.exception
    offered = {row.words for row in HANDOUTS.values() if not row.needs_image}  # the image is not in the store
    assert {words for words in labels_of(app) if not words.endswith("CSV")} == offered - {"Crystals CSV"}
    assert "Crystals CSV" in labels_of(app)
