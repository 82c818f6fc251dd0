"""Large images on the Measure page, without a browser."""

import time

import numpy as np
import pytest
import tifffile
from streamlit.testing.v1 import AppTest

from crystalseg.errors import UserError
from crystalseg.execution import mosaic_run, work, work_state
from crystalseg.execution.kinds import mosaic
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile, save
from crystalseg.segmentation.settings import Settings
from crystalseg.ui import shared
from tests.conftest import discs, labelled, png

LABELS = discs((260, 330), [(60 + 130 * r, 60 + 100 * c, 40) for r in range(2) for c in range(3)])
SHOWN = np.where(LABELS > 0, 200, 40).astype(np.uint8)
QUICK = Profile("quick", settings=Settings("watershed"))  # needs no network


@pytest.fixture
def page(own_queue, quick_example, monkeypatch):
    monkeypatch.setattr(shared.queue(), "start_workers", lambda: None)
    app = AppTest.from_file("../../pages/measure.py", default_timeout=120)
    app.session_state["entered"] = True
    return app


@pytest.fixture
def tif(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, SHOWN, tile=(128, 128))
    return path


def begun():
    (one,) = work.works("mosaic")
    return one


def test_a_large_image_is_measured_in_the_background_and_looked_at(page, tif, tmp_path):
    save(open_database(), QUICK)
    page.run()
    assert page.subheader[0].value != "m.tif"
    where = "A file on this machine"
    labelled(page.text_input, where).set_value(str(tmp_path / "nothing.tif")).run()
    labelled(page.button, "Start").click().run()
    assert "There is no" in page.error[0].value
    assert work.works() == []
    labelled(page.text_input, where).set_value(str(tif)).run()
    page.selectbox(key="mosaic profile").select("quick").run()
    labelled(page.button, "Start").click().run()
    assert not page.exception
    one = begun()
    end = time.monotonic() + 240
    while (now := one.state(open_database())).status != "done":
        assert now.is_active, now  # starting, then running: never paused in between
        assert time.monotonic() < end, ((one.folder / "log.txt").read_text(), now)
        time.sleep(0.5)
    page.run()
    assert not page.exception
    assert labelled(page.metric, "Crystals counted").value == "6 of 6"
    assert any(words.value.endswith("6 crystals") for words in page.caption)
    names = {button.label.partition(" ")[0] for button in page.get("download_button")}
    assert {"report.pdf", "crystals.csv", "labels.ome.tif", "image.ome.tif", "run.json"} <= names
    (run,) = one.runs(open_database())
    page.selectbox(key=f"side {run.id}").select(1000).run()
    page.button(key=f"right middle {run.id}").click().run()
    assert not page.exception
    # what is left when retention has deleted the image
    (picture,) = one.kind.pictures(one, run)
    picture.unlink()
    page.run()
    assert not page.exception
    assert "was deleted" in page.info[0].value
    # and back to the other images
    labelled(page.button, "Close").click().run()
    assert not page.exception
    assert not [metric for metric in page.metric if metric.value == "6 of 6"]


def test_an_upload_that_is_too_large_for_one_piece_is_taken_as_a_large_image(page, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_MAX_MEGAPIXELS", "0.05")
    started = []
    monkeypatch.setattr(work, "start", lambda *given: started.append(given))
    page.run()
    labelled(page.file_uploader, "Micrographs").upload("big.png", png(SHOWN), "image/png").run()
    assert not page.exception
    assert not page.error
    assert "big.png" in page.subheader[0].value
    labelled(page.button, "Start").click().run()
    assert not page.exception
    one = begun()
    assert started == [(one, 0)]
    assert one.images(open_database()) == {one.folder / work.UPLOADS / "big.png": ""}
    assert one.asked.source == str((one.folder / work.UPLOADS / "big.png").resolve())


def test_what_failed_is_told_and_can_go_on(page, tmp_path, monkeypatch):
    path = tmp_path / "m.tif"
    path.write_bytes(b"II*\0broken")
    folder = work.new_folder("mosaic")
    mosaic.prepare(folder, path, Profile("default settings"))
    with pytest.raises(UserError, match="damaged"):
        mosaic_run.run(folder, open_database())
    page.run()
    page.selectbox(key="large image").select(folder.name).run()
    assert "the file is damaged or truncated" in page.error[0].value
    started = []
    monkeypatch.setattr(work, "start", lambda *given: started.append(given))
    labelled(page.button, "Go on").click().run()
    assert [one.folder for (one,) in started] == [folder]
    with work_state.locked(folder):
        (folder / "state.json").write_text('{"state": "running", "stage": "scale 1", "share": 0.4}')
        page.run()
        assert page.get("progress")[0].proto.text == "running · scale 1"
        labelled(page.button, "Pause").click().run()
        assert work_state.asked(folder) == "paused"
        assert labelled(page.run().button, "Cancel").disabled
    page.run()
    labelled(page.button, "Discard").click().run()
    assert not page.exception
    assert work.works() == []
