"""A series from a file to tracks on record; small frames and no network."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import tifffile
from distributed import LocalCluster
from pypdf import PdfReader

from crystalseg.errors import UserError
from crystalseg.execution.kinds import batch, series
from crystalseg.execution.work_state import WorkError
from crystalseg.measurement.track_corrections import TrackCorrection
from crystalseg.micrographs.frames import Moment
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.record import ledger
from crystalseg.record.audit import audit
from crystalseg.record.database import RecordError, open_database
from crystalseg.record.ledger import StaleError
from crystalseg.record.profiles import Profile
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.growth import pictures, ripening
from tests.conftest import png

QUICK = Profile("quick", settings=Settings("watershed"))
MADE = ripening(4, 220, 40, 4, radius=9, growth=1.5)
SHOWN = pictures(MADE, 1, (1, -2), noise=2)


@pytest.fixture(scope="module")
def address():
    """Of workers that are there already: to start processes would take longer than all the rest."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def stack(path, shown=SHOWN):
    planes = {name: [0] * len(shown) for name in ("TheC", "TheZ")}
    planes |= {
        "TheT": list(range(len(shown))),
        "DeltaT": MADE.seconds[: len(shown)].tolist(),
        "DeltaTUnit": ["s"] * len(shown),
    }
    facts = {"axes": "TYXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Plane": planes}
    tifffile.imwrite(path, shown, photometric="rgb", ome=True, metadata=facts)
    return path


def test_a_file_becomes_tracks_and_a_law_on_record(tmp_path, address):
    engine, out, told = open_database(), tmp_path / "out", []
    source = stack(tmp_path / "hot.ome.tif")
    made = series.prepare(out, source, QUICK, operator="A. Kern")
    assert made.names == tuple(f"{k:04d}.tif" for k in range(1, 5))
    assert made.calibration.um_per_px == 0.5
    assert not series.is_linked(out)
    with pytest.raises(WorkError, match="not been followed yet"):
        series.load(out, engine)
    state = series.run(out, engine, 1, address, told.append)
    assert (state.status, state.done) == ("done", 4)
    assert series.progress_of(out, engine).status == "done"
    assert len(told) == 8
    drift = pd.read_csv(out / "drift.csv", encoding="utf-8-sig")
    np.testing.assert_allclose(drift[["dy_px", "dx_px"]], [(k, -2 * k) for k in range(4)], atol=0.5)
    found = series.load(out, engine)
    np.testing.assert_allclose(found.frames["seconds"], MADE.seconds)
    assert found.unit == "µm"
    # what is found is what was drawn: as many, and the same from frame to frame
    drawn = [len(np.unique(frame)) - 1 for frame in MADE.labels]
    np.testing.assert_allclose(found.frames["found"], drawn, atol=3)
    whole = (found.lengths == 4).sum()
    assert abs(whole - drawn[-1]) <= 3
    assert found.law.exponent_low < 3 < found.law.exponent_high
    curves = found.curves.query("track == 1")
    assert curves["diameter_um"].iloc[0] == pytest.approx(
        2 * np.sqrt(found.tracks.crystals.query("track == 1 and frame == 0")["area_px2"].iloc[0] / np.pi) * 0.5
    )
    # on record, with its files
    (entry,) = ledger.entries(engine, "series", made.id)
    assert (entry.who, len(entry.body["runs"])) == ("A. Kern", 4)
    assert list(audit(engine)) == []
    assert series.run(out, engine, 1, address).status == "done"  # nothing is done twice
    assert len(ledger.entries(engine, "series", made.id)) == 1
    series.write(out, engine)
    assert {"series_report.pdf", "series.xlsx"} <= {path.name for path in out.iterdir()}
    assert list(audit(engine)) == []
    assert json.loads((out / "law.json").read_text())["exponent"] == found.law.exponent
    assert len(pd.read_csv(out / "growth.csv", encoding="utf-8-sig")) == len(found.tracks.crystals)
    # put right by hand, on record with who did it; taken back
    first = found.tracks.crystals.query("frame == 1").iloc[0]
    change = TrackCorrection("cut", 1, int(first["id"]))
    series.correct(out, engine, change, "A. Kern")
    assert len(series.load(out, engine).lengths) == len(found.lengths) + 1
    ((entry, kept),) = series.corrections(out, engine)
    assert (entry.who, kept) == ("A. Kern", change)
    with pytest.raises(UserError, match="begins in frame 2"):
        series.correct(out, engine, change, "A. Kern")
    series.write(out, engine)
    text = " ".join(page.extract_text() for page in PdfReader(out / "series_report.pdf").pages)
    assert f"Corrected by A. Kern {change.words}" in text.replace("\n", " ")
    series.undo(out, engine, "B. Lang")
    assert series.corrections(out, engine) == []
    pd.testing.assert_frame_equal(series.load(out, engine).tracks.crystals, found.tracks.crystals)
    with pytest.raises(UserError, match="no correction to undo"):
        series.undo(out, engine, "B. Lang")
    assert [e.who for e in ledger.entries(engine, "track", made.id)] == ["A. Kern", "B. Lang"]
    assert list(audit(engine)) == []
    # prepared again it is the same series
    assert series.prepare(out, source, QUICK, operator="A. Kern").id == made.id


def test_a_series_runs_until_its_crystals_were_followed(tmp_path, address, monkeypatch):
    """Also when all frames are measured and they are not."""
    engine, out = open_database(), tmp_path / "out"
    series.prepare(out, stack(tmp_path / "hot.ome.tif", SHOWN[:2]), QUICK)
    seen, real, append = [], series.follow, ledger.append

    def follow(*given):
        seen.append(series.progress_of(out, engine).status)
        with pytest.raises(WorkError, match="already running"):
            series.run(out, engine, 1, address)
        return real(*given)

    def refuse(engine, kind, *given, **more):
        if kind == "series":
            raise RecordError("The record cannot be written.")
        return append(engine, kind, *given, **more)

    monkeypatch.setattr(series, "follow", follow)
    assert series.progress_of(out, engine).status == "waiting"
    # what the record refuses is not done, and can be done then
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", refuse)
        with pytest.raises(RecordError):
            series.run(out, engine, 1, address)
    assert not series.is_linked(out)
    assert series.progress_of(out, engine).status == "failed"
    series.run(out, engine, 1, address)
    assert seen == ["running", "running"]
    assert series.progress_of(out, engine).status == "done"
    # nor is anything put right on what was not seen
    found = series.load(out, engine)
    number = int(found.tracks.crystals.query("frame == 1").iloc[0]["id"])
    change, real_check = TrackCorrection("cut", 1, number), series.corrected

    def meanwhile(tracks, corrections):
        if corrections and len(ledger.entries(engine, "track")) == 0:
            append(engine, "track", batch.load(out).id, asdict(change))
        return real_check(tracks, corrections)

    with monkeypatch.context() as patch:
        patch.setattr(series, "corrected", meanwhile)
        with pytest.raises(StaleError, match="Somebody else"):
            series.correct(out, engine, change, "A. Kern")
    assert len(series.corrections(out, engine)) == 1


def test_times_come_later_and_heat_must_be_one(tmp_path, address):
    engine, out, folder = open_database(), tmp_path / "out", tmp_path / "frames"
    folder.mkdir()
    for k, pixels in enumerate(SHOWN):
        (folder / f"f{k}.png").write_bytes(png(pixels))
    series.prepare(out, folder, QUICK)
    series.run(out, engine, 1, address)
    assert "time of every frame" in series.load(out, engine).why
    series.set_moments(out, [Moment(60.0 * k, 900.0) for k in range(4)])
    assert series.load(out, engine).law is not None
    assert series.load(out, engine, exponent=3).law.exponent == 3
    series.set_moments(out, [Moment(60.0 * k, 900.0 + 50 * k) for k in range(4)])
    assert "from 900 to 1050 °C" in series.load(out, engine).why
    assert series.load(out, engine).unit == "px"


def test_what_is_no_series_is_said(tmp_path, address):
    engine = open_database()
    with pytest.raises(WorkError, match="neither a folder nor a ZIP"):
        series.prepare(tmp_path / "a", tmp_path / "nothing", QUICK)
    (tmp_path / "single.png").write_bytes(png(SHOWN[0]))
    with pytest.raises(WorkError, match="not a TIFF file with several pages"):
        series.prepare(tmp_path / "a", tmp_path / "single.png", QUICK)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "f.png").write_bytes(png(SHOWN[0]))
    with pytest.raises(WorkError, match="at least two frames"):
        series.prepare(tmp_path / "b", tmp_path / "one", QUICK)
    (tmp_path / "one" / "g.png").write_bytes(png(SHOWN[0][:150]))
    series.prepare(tmp_path / "c", tmp_path / "one", QUICK, interval=5)
    with pytest.raises(WorkError, match=r"g\.png differs in size from the frame before it"):
        series.run(tmp_path / "c", engine, 1, address)
    state = series.progress_of(tmp_path / "c", engine)
    assert state.status == "failed"
    assert "differs in size" in state.error
    damaged = stack(tmp_path / "cut.ome.tif")
    damaged.write_bytes(damaged.read_bytes()[:-200_000])
    with pytest.raises((MicrographError, WorkError)):
        series.prepare(tmp_path / "d", damaged, QUICK)
    assert not (tmp_path / "d" / "batch.json").exists()
    assert batch.load(tmp_path / "c").names == ("f.png", "g.png")


def test_a_channel_is_chosen_and_said(tmp_path):
    both = np.stack((SHOWN[..., 0], SHOWN[..., 0] // 2), axis=1)
    tifffile.imwrite(tmp_path / "two.tif", both, imagej=True, metadata={"axes": "TCYX", "finterval": 5.0})
    made = series.prepare(tmp_path / "out", tmp_path / "two.tif", QUICK, channel=2)
    assert made.notes == ("The image has 2 channels; number 2 was used.",)
    assert batch.load(tmp_path / "out").notes == made.notes
    assert series.moments(tmp_path / "out")["seconds"].tolist() == [0, 5, 10, 15]
    first = tifffile.imread(tmp_path / "out" / "frames" / "0001.tif")
    np.testing.assert_array_equal(first, both[0, 1])


def test_times_that_cannot_be_are_refused(tmp_path):
    for k in (1, 2, 10, 11):
        (tmp_path / f"f_{k}.png").write_bytes(png(SHOWN[0]))
    with pytest.raises(MicrographError, match=r"jump from “f_2\.png” to “f_10\.png”"):
        series.prepare(tmp_path / "gap", tmp_path, QUICK, interval=60)
    made = series.prepare(tmp_path / "out", tmp_path, QUICK)
    assert made.names == ("f_1.png", "f_2.png", "f_10.png", "f_11.png")
    for seconds in ((0, 5, 5, 9), (0, 5, 4, 9)):
        with pytest.raises(MicrographError, match="the frame before it"):
            series.set_moments(tmp_path / "out", [Moment(s) for s in seconds])
