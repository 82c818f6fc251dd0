"""The Series page without a browser."""

import io

import numpy as np
import pytest
from distributed import LocalCluster
from pypdf import PdfReader
from streamlit.testing.v1 import AppTest

from crystalseg.execution import work
from crystalseg.execution.kinds import batch, series
from crystalseg.micrographs.frames import Moment
from crystalseg.record import ledger, store
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.report.handouts import SERIES_HANDOUTS
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.growth import pictures, ripening
from tests.conftest import labelled, png

QUICK = Profile("quick", settings=Settings("watershed"))
MADE = ripening(4, 160, 20, 4, radius=9, growth=1.5)


@pytest.fixture
def page(own_queue, monkeypatch):
    app = AppTest.from_file("../../pages/series.py", default_timeout=60)
    app.session_state["entered"] = True
    monkeypatch.setattr(work, "start", lambda *_: None)  # nothing is measured in the background
    return app


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for k, pixels in enumerate(pictures(MADE, 1, noise=2)):
        (folder / f"f{k}.png").write_bytes(png(pixels))
    return folder


def followed(name, frames, celsius, seconds=60.0):
    """A series that is there already."""
    folder = store.home() / "series" / name
    series.prepare(folder, frames, QUICK)
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        series.run(folder, open_database(), 1, cluster.scheduler_address)
    series.set_moments(folder, [Moment(seconds * k, celsius) for k in range(4)])
    return folder


def test_a_series_is_begun_with_a_table_of_times_or_refused(page, frames, tmp_path):
    page.run()
    assert not page.exception
    where = "Or a file or folder on this machine"
    labelled(page.text_input, where).set_value(str(tmp_path / "nothing")).run()
    labelled(page.button, "Start").click().run()
    assert "There is no" in page.error[0].value
    labelled(page.text_input, where).set_value(str(frames)).run()
    tables = next(one for one in page.file_uploader if one.label.startswith("Table of times"))
    tables.upload("times.csv", b"time_weeks\n1\n2\n3\n4\n", "text/csv").run()
    labelled(page.button, "Start").click().run()
    assert "weeks” is not known" in page.error[0].value
    assert not list((store.home() / "series").glob("*"))
    tables = next(one for one in page.file_uploader if one.label.startswith("Table of times"))
    tables.upload("times.csv", b"time_min;temperature_C\n0;900\n1;900\n2;900\n3;900\n", "text/csv").run()
    labelled(page.button, "Start").click().run()
    assert not page.exception
    (folder,) = (path.parent for path in (store.home() / "series").glob("*/batch.json"))
    assert series.moments(folder)["seconds"].tolist() == [0, 60, 120, 180]
    assert any("4 images" in words.value for words in page.markdown)


def test_growth_is_shown_crystal_by_crystal_and_downloaded(page, frames):
    folder = followed("one", frames, 1200.0)
    page.run()
    assert not page.exception
    assert labelled(page.metric, "Frames").value == "4"
    assert any("dⁿ − d₀ⁿ = K·t with n =" in words.value for words in page.markdown)
    labelled(page.segmented_control, "Exponent n").select("3").run()
    assert labelled(page.metric, "Exponent n").value == "3.00"
    found = series.load(folder, open_database(), 3)
    longest = int(found.lengths.idxmax())
    page.selectbox(key=f"track {folder.name}").select(longest).run()
    page.slider(key=f"frame {folder.name}").set_value(4).run()
    assert not page.exception
    # put right by hand
    assert labelled(page.button, "Join").disabled
    page.text_input(key=f"who {folder.name}").set_value("A. Kern").run()
    labelled(page.button, "A different crystal from this frame on").click().run()
    assert not page.exception
    assert any("Kern: from crystal" in words.value.replace("\\", "") for words in page.caption), page.caption
    assert len(series.load(folder, open_database()).lengths) == len(found.lengths) + 1
    new = int(series.load(folder, open_database()).lengths.index.max())
    page.selectbox(key=f"onto {folder.name}").select(new).run()
    labelled(page.button, "Join").click().run()
    assert len(series.load(folder, open_database()).lengths) == len(found.lengths)
    for _ in range(2):
        labelled(page.button, "Undo the last correction").click().run()
    assert labelled(page.button, "Undo the last correction").disabled
    assert not page.exception
    buttons = {button.label: button for button in page.get("download_button")}
    assert set(buttons) == {row.words for row in SERIES_HANDOUTS.values()}
    assert "activation" not in " ".join(words.value.lower() for words in page.markdown)


def test_the_report_that_is_handed_out_is_on_record(page, frames):
    folder, engine = followed("one", frames, 1200.0), open_database()
    found = series.load(folder, engine)
    data = series.hand_out(engine, SERIES_HANDOUTS["pdf"], series.followed(folder, engine, found), "A. Kern")
    assert "Growth of crystals" in PdfReader(io.BytesIO(data)).pages[0].extract_text()
    entry = ledger.entries(engine, "report", found.frames["run"].iloc[0])[-1]
    assert entry.body["runs"] == found.frames["run"].tolist()
    assert entry.who == "A. Kern"


def test_two_series_at_two_temperatures_give_an_activation_energy(page, frames):
    for name, celsius, seconds in (("cool", 1200.0, 60.0), ("hot", 1300.0, 20.0)):
        followed(name, frames, celsius, seconds)
    page.run()
    assert not page.exception
    # three times the rate over 100 K: Q = R ln 3 / (1/1473.15 - 1/1573.15)
    energy = 8.314462618e-3 * np.log(3) / (1 / 1473.15 - 1 / 1573.15)
    assert any(f"Q = {energy:.4g} kJ/mol" in words.value for words in page.markdown)
    assert batch.load(store.home() / "series" / "hot").names == tuple(f"f{k}.png" for k in range(4))
