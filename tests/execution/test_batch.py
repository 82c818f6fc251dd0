import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from distributed import LocalCluster
from pypdf import PdfReader

from crystalseg.errors import UserError
from crystalseg.execution import batch_run, mosaic_run, work_state
from crystalseg.execution.batch_source import NoRoomError, Source
from crystalseg.execution.cluster import ClusterError
from crystalseg.execution.kinds import batch, lesson, mosaic
from crystalseg.execution.work_state import WorkError
from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.specification import Limit
from crystalseg.micrographs.calibration import Calibration, from_um_per_px
from crystalseg.record import ledger
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.instruments import Instrument
from crystalseg.record.profiles import Profile, save
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import find, recorded
from crystalseg.segmentation import mosaic as in_windows
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Settings
from tests.conftest import discs, png

ROOT = Path(__file__).parents[2]
GOOD = 7
QUICK = Profile(
    "quick", "discs", settings=Settings("watershed"), limits=(Limit("mean", 1, 900),), decision_rule="guarded"
)  # needs no network


def image(seed):
    rng = np.random.default_rng(seed)
    circles = [(20 + 40 * r, 20 + 40 * c, rng.uniform(8, 17)) for r in range(3) for c in range(3)]
    return png(cv2.GaussianBlur(np.where(discs((120, 120), circles) > 0, 200, 40).astype(np.uint8), (3, 3), 0))


@pytest.fixture
def images(tmp_path):
    """GOOD images and four that are none, one of them in a folder of its own."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for k in range(GOOD):
        (folder / f"{k:02d}.png").write_bytes(image(k))
    (folder / "24.png").write_text("no image")
    (folder / "25.png").write_bytes(image(25)[:90])
    (folder / "26.tif").write_bytes(b"")
    (folder / "more" / "00.png").write_bytes(png(np.zeros((10, 10), np.uint8)))
    (folder / "notes.txt").write_text("not meant")
    return folder


def start(images, out, *more):
    command = [sys.executable, "-m", "crystalseg", "batch", images, "--out", out, "--profile", "quick", *more]
    return subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_killed_twice_every_image_is_done_once_and_the_broken_ones_are_explained(images, tmp_path):
    out, engine = tmp_path / "out", open_database()
    save(engine, QUICK)
    shown = set()
    for many in (2, 3):
        running = start(images, out)
        lines = [running.stdout.readline() for _ in range(many)]
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        shown |= {line.split(":")[0] for line in lines if "average" in line}
    before = {entry.body["image_name"] for entry in ledger.entries(engine, "run")}
    assert shown <= before  # nothing that was shown as done is lost
    running = start(images, out, "--workers", 2)
    text, _ = running.communicate(timeout=300)
    assert running.returncode == 2
    assert f"{GOOD} of {GOOD + 4} images measured, 4 failed: done" in text
    assert not shown & {line.split(":")[0] for line in text.splitlines()}
    runs = recorded(engine)
    assert sorted(r.image_name for r in runs) == [f"{k:02d}.png" for k in range(GOOD)]
    assert list(audit(engine)) == []
    assert all(same_figures(run, reopen(run).measurement.summary) for run in runs)
    failures = pd.read_csv(out / "failures.csv").set_index("image")["reason"]
    assert set(failures.index) == {"24.png", "25.png", "26.tif", "more/00.png"}
    assert "empty" in failures["26.tif"]
    summary = pd.read_csv(out / "summary.csv")
    assert set(summary["verdict"]) == {"not decidable"}  # discs were not validated on
    assert len(summary) == GOOD
    for row in summary.itertuples():
        assert row.average == pytest.approx(find(engine, row.run).figures["average"]["value"], rel=1e-5)
    assert len(list(out.glob("[0-9m]*_report.pdf"))) == GOOD
    pages = [page.extract_text() for page in PdfReader(out / "combined_report.pdf").pages]
    combined = " ".join(" ".join(pages).split())
    assert "Table per field" in combined
    assert all(f"{k:02d}.png" in combined for k in range(GOOD))
    # once more there is nothing to do
    assert batch_run.run(out, engine).done == GOOD
    assert len(recorded(engine)) == GOOD


def test_a_zip_in_this_process_paused_and_gone_on_with(images, tmp_path, monkeypatch):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(images.glob("0*.png")):
            file.write(path, f"set/{path.name}")
        file.write(images / "00.png", "set/00 (copy).png")
    out, engine = tmp_path / "out", open_database()
    made = batch.prepare(out, archive, QUICK, from_um_per_px(0.5), name="Lot 7", sample="S 7", customer="Hütte")
    assert set(made.names[:2]) == {"set/00.png", "set/00 (copy).png"}
    assert batch.load(out) == made
    state = batch.progress_of(out, engine)
    assert (state.status, state.done, state.total, state.reasons) == ("waiting", 0, GOOD + 1, ())

    def pause_after_two(_):
        if len(recorded(engine)) == 2:
            work_state.ask(out, "paused")

    at_the_end, finish = [], batch_run.finish

    def watched(*given):
        at_the_end.append(batch.progress_of(out, engine).status)
        finish(*given)

    monkeypatch.setattr(batch_run, "finish", watched)
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        state = batch_run.run(out, engine, 1, cluster.scheduler_address, pause_after_two)
        assert state.status == "paused"
        assert 2 <= state.done < GOOD + 1
        work_state.ask(out, "")
        state = batch_run.run(out, engine, 1, cluster.scheduler_address)
    assert (state.status, state.done) == ("done", GOOD + 1)
    assert at_the_end == ["running", "running"]  # not done before what concerns all images is written
    pages = [page.extract_text() for page in PdfReader(out / "combined_report.pdf").pages]
    combined = " ".join(" ".join(pages).split())
    assert f"1 of {GOOD + 1} images are copies of others and were left out" in combined
    assert f"in {GOOD} fields" in combined
    assert "Crystal size report: S 7" in combined
    assert "Hütte" in combined
    with pd.ExcelFile(out / "combined_workbook.xlsx") as book:
        assert len(pd.read_excel(book, "Fields")) == GOOD
    sample = json.loads((out / "sample.json").read_text())
    assert sample["outcome"] == "not decidable"
    assert sample["figures"][0][0] == DEFINITIONS["mean"].words
    run = recorded(engine)[0]
    assert run.um_per_px == 0.5
    assert run.details == {"sample": "S 7", "customer": "Hütte"}
    assert run.profile == "quick"
    assert run.files["image"]


@pytest.fixture
def mosaics(tmp_path, monkeypatch):
    """A ZIP file with an image, a mosaic, and another one that is damaged."""
    monkeypatch.setenv("CRYSTALSEG_MAX_MEGAPIXELS", "0.1")
    monkeypatch.setattr(in_windows, "WHOLE", 1000)
    labels = discs((400, 440), [(50 + 100 * r, 55 + 110 * c, 30 + 3 * r) for r in range(4) for c in range(4)])
    large = cv2.GaussianBlur(np.where(labels > 0, 190, 60).astype(np.uint8), (5, 5), 0)
    path = tmp_path / "mosaics.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lot/a.png", png(large))
        archive.writestr("lot/b.png", image(1))
        archive.writestr("lot/c.png", png(large)[:600])
    return path


def test_a_mosaic_in_a_batch_goes_window_by_window_and_on_where_it_stopped(mosaics, tmp_path, monkeypatch):
    out, engine, lines = tmp_path / "out", open_database(), []
    batch.prepare(out, mosaics, Profile("coarse", settings=Settings(scales=Scales((0.25, 0.5)))))
    tell = mosaic_run.tell

    def pausing(reporter, progress):
        if progress.stage == "scale 0.5":
            work_state.ask(out, "paused")
        tell(reporter, progress)

    monkeypatch.setattr(mosaic_run, "tell", pausing)
    state = batch_run.run(out, engine, say=lines.append)
    # the image was measured meanwhile; of the mosaic is kept what was found
    assert (state.status, state.done, len(state.reasons)) == ("paused", 1, 0)
    assert state.stage.startswith("lot/a.png: ")
    assert [line.split(":")[0] for line in lines] == ["lot/b.png"]
    assert (out / "lot_a.mosaic" / "windows" / "scale0_band0.npz").exists()
    work_state.ask(out, "")
    seen = []
    monkeypatch.setattr(mosaic_run, "tell", lambda reporter, p: (seen.append(p.stage), tell(reporter, p)))
    state = batch_run.run(out, engine, say=lines.append)
    assert "scale 0.25" not in seen
    assert (state.status, state.done, state.stage) == ("done", 2, "")
    ((name, reason),) = state.reasons
    assert name == "lot/c.png"
    assert "damaged or truncated" in reason
    assert not list(out.glob("*.mosaic"))
    # its files lie beside the image's, and its run is the batch's
    run = next(r for r in recorded(engine) if r.image_name == "a.png")
    assert run.id == batch.load(out).run_id(0)
    reopened = reopen(run)
    assert same_figures(run, reopened.measurement.summary)
    assert len(pd.read_csv(out / "lot_a_crystals.csv")) == reopened.labels.max() >= 12
    assert (tifffile.imread(out / "lot_a_labels.ome.tif") == reopened.labels).all()
    assert {"lot_a_report.pdf", "lot_a_image.ome.tif", "lot_b_report.pdf", "combined_report.pdf"} <= {
        p.name for p in out.iterdir()
    }
    assert list(audit(engine)) == []


def test_a_batch_whose_disk_is_full_at_a_mosaic_goes_on_once_there_is_room(mosaics, tmp_path, monkeypatch):
    out, engine = tmp_path / "out", open_database()
    batch.prepare(out, mosaics, Profile("coarse", settings=Settings(scales=Scales((0.25,)))))
    with monkeypatch.context() as full:
        full.setattr(mosaic_run, "NEEDED", 2**50)
        with pytest.raises(NoRoomError, match="Free some space"):
            batch_run.run(out, engine)
    state = batch.progress_of(out, engine)
    assert (state.status, state.done, state.reasons) == ("failed", 1, ())
    assert "Free some space" in state.error
    assert batch_run.run(out, engine).done == 2


def test_what_cannot_be_started_is_explained(images, tmp_path):
    with pytest.raises(WorkError, match="neither a folder nor a ZIP"):
        Source(tmp_path / "nothing")
    with pytest.raises(WorkError, match="holds no image"):
        Source(tmp_path.joinpath("empty").mkdir() or tmp_path / "empty")
    batch.prepare(tmp_path / "out", images, QUICK)
    with pytest.raises(WorkError, match=r"was begun with another profile\. Choose"):
        batch.prepare(tmp_path / "out", images, Profile("else"))
    with pytest.raises(WorkError, match="There is no batch in"):
        batch.load(tmp_path)
    with pytest.raises(ClusterError, match="No Dask scheduler"):
        batch_run.run(tmp_path / "out", open_database(), scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize("value", [None, 5, "x", [3], {"a": 1}, [], -1.5, True])
def test_a_request_that_was_edited_is_used_or_refused_in_a_sentence(value, images, tmp_path):
    calibration = Calibration(0.5, "SEM")
    made = batch.prepare(tmp_path, images, QUICK, calibration)
    mosaic_made = mosaic.prepare(tmp_path, images / "a.png", QUICK, calibration, "")
    teach = lesson.Lesson("steel", "steel", "", "folded", 1.0, "", "", (("a", ("b", "c"), None),))
    teach.save(tmp_path)
    for load, whole in ((batch.load, made), (mosaic.load, mosaic_made), (lesson.load, teach)):
        file = tmp_path / f"{load.__module__.rpartition('.')[2]}.json"
        good = json.loads(file.read_text())
        assert load(tmp_path) == whole
        for key in good:
            for edited in ({k: v for k, v in good.items() if k != key}, good | {key: value}):
                file.write_text(json.dumps(edited))
                try:
                    assert load(tmp_path).title
                except UserError as error:
                    assert str(error).endswith(".")  # noqa: PT017
        file.write_text(json.dumps(value))
        with pytest.raises(WorkError, match=r"is damaged\. Remove its folder"):
            load(tmp_path)


def test_a_cluster_of_two_processes_does_it_too(images, tmp_path):
    engine = open_database()
    batch.prepare(tmp_path / "out", images, QUICK)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        state = batch_run.run(tmp_path / "out", engine, scheduler=cluster.scheduler_address)
    assert (state.done, len(state.reasons)) == (GOOD, 4)
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["profile"]["name"] == "quick"


def test_a_pixel_size_given_holds_for_all_images_but_those_that_state_another(tmp_path):
    calibration = Instrument("SEM 2, 500 x", 0.5, 0.004, "2026-01-31").calibration()

    def stating(um):
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            np.where(discs((120, 120), [(60, 60, 20)]), 200, 40).astype(np.uint8),
            imagej=True,
            resolution=(1 / um, 1 / um),
            metadata={"unit": "um"},
        )
        return buffer.getvalue()

    def run_of(um, given):
        return batch_run.measure_one(
            stating(um), {}, "a.tif", "b-00000", QUICK, given, None, None, "", ("csv",), None, ""
        ).run

    for um in (0.5, 0.51):
        run = run_of(um, calibration)
        assert (run.um_per_px, run.calibration.uncertainty) == (0.5, 0.004)
        assert "SEM 2" in run.calibration.source
    with pytest.raises(UserError, match=r"states 0.25 µm per pixel, not the 0.5 given .*SEM 2"):
        run_of(0.25, calibration)
    assert run_of(0.25, None).um_per_px == 0.25
