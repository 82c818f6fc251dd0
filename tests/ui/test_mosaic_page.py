"""The Mosaic page without a browser."""

import time

import numpy as np
import pytest
import tifffile
from streamlit.testing.v1 import AppTest

from crystalseg.errors import UserError
from crystalseg.execution import mosaic, mosaic_run, work_folder
from crystalseg.record import store
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile, save
from crystalseg.segmentation.settings import Settings
from tests.conftest import discs, labelled

LABELS = discs((260, 330), [(60 + 130 * r, 60 + 100 * c, 40) for r in range(2) for c in range(3)])


@pytest.fixture
def page(own_queue):
    app = AppTest.from_file("../../pages/mosaic.py", default_timeout=60)
    app.session_state["entered"] = True
    return app


def until(state, folder):
    end = time.monotonic() + 120
    while (now := mosaic.state_of(folder)).state != state:
        assert time.monotonic() < end, ((folder / "log.txt").read_text(), now)
        time.sleep(0.5)


def test_a_mosaic_is_measured_in_the_background_and_looked_at(page, tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, np.where(LABELS > 0, 200, 40).astype(np.uint8), tile=(128, 128))
    save(open_database(), Profile("quick", settings=Settings("watershed")))  # needs no network
    page.run()
    assert "No mosaic yet" in page.info[0].value
    where = "Or a file on this machine"
    labelled(page.text_input, where).set_value(str(tmp_path / "nothing.tif")).run()
    labelled(page.button, "Start").click().run()
    assert "There is no" in page.error[0].value
    labelled(page.text_input, where).set_value(str(path)).run()
    page.selectbox(key="mosaic profile").select("quick").run()
    labelled(page.button, "Start").click().run()
    assert not page.exception
    (folder,) = (p.parent for p in (store.home() / "mosaics").glob("*/mosaic.json"))
    until("done", folder)
    labelled(page.run().toggle, "Show the result").set_value(True).run()
    assert not page.exception
    assert labelled(page.metric, "Crystals counted").value == "6 of 6"
    assert "6 crystals" in page.caption[-2].value
    names = {button.label.partition(" ")[0] for button in page.get("download_button")}
    assert {"report.pdf", "crystals.csv", "labels.ome.tif", "image.ome.tif", "run.json"} <= names
    page.selectbox(key=f"side {folder.name}").select(1000).run()
    page.button(key=f"right middle {folder.name}").click().run()
    assert not page.exception


def test_what_failed_is_told_and_can_go_on(page, tmp_path, monkeypatch):
    path = tmp_path / "m.tif"
    path.write_bytes(b"II*\0broken")
    folder = store.home() / "mosaics" / "one"
    mosaic.prepare(folder, path, Profile("default settings"))
    with pytest.raises(UserError, match="damaged"):
        mosaic_run.run(folder, open_database())
    page.run()
    assert "the file is damaged or truncated" in page.error[0].value
    started = []
    monkeypatch.setattr("crystalseg.ui.background.start", lambda *order: started.append(order))
    labelled(page.button, "Go on").click().run()
    assert started == [(folder, "mosaic", str(path), "--go-on", "--workers", "0", "--out", str(folder))]
    with work_folder.locked(folder):
        (folder / "state.json").write_text('{"state": "running", "stage": "scale 1", "share": 0.4}')
        page.run()
        assert page.get("progress")[0].proto.text == "scale 1 · running"
        labelled(page.button, "Pause").click().run()
        assert work_folder.asked(folder) == "paused"
