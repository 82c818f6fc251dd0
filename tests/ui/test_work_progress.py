"""How far long work is, of any kind, without a browser."""

import math

import pytest
from streamlit.testing.v1 import AppTest

from crystalseg.execution import work, work_state
from crystalseg.execution.kinds import batch
from crystalseg.execution.work_state import State
from crystalseg.record.profiles import Profile
from crystalseg.ui.work_progress import time_left, words
from tests.conftest import labelled
from tests.execution.test_work import toy  # noqa: F401 - a fixture


def shown(folder):
    from pathlib import Path

    from crystalseg.execution import work
    from crystalseg.ui import work_progress

    work_progress.show(work.work_in(Path(folder)))


@pytest.mark.parametrize(
    ("seconds", "said"), [(math.nan, ""), (42, "42 s left"), (600, "10 min left"), (9000, "2.5 h left")]
)
def test_the_time_left_in_words(seconds, said):
    assert time_left(seconds) == said


def test_which_image_is_under_way_and_how_many_are_done(tmp_path):
    one = work.Work(batch.KIND, tmp_path, None)
    state = State("running", "a.png", 3, 12, 0.3, 150.0, (("b.png", "damaged"),))
    assert words(one, state) == "running · a.png · 3 of 12 images, 1 failed · 2 min left"


def test_a_kind_that_is_one_file_has_its_progress_and_buttons(toy, own_queue, monkeypatch):  # noqa: F811
    started = []
    monkeypatch.setattr(work, "start", lambda *given: started.append(given))
    page = AppTest.from_function(shown, default_timeout=60, args=(str(toy.folder),)).run()
    assert not page.exception
    assert page.get("progress")[0].proto.text == "waiting"
    labelled(page.button, "Go on").click().run()
    assert [one.folder for (one,) in started] == [toy.folder]

    class Process:
        def poll(self):
            return None

    work_state.started(toy.folder, Process())
    page.run()
    assert page.get("progress")[0].proto.text == "starting"
    assert {button.label for button in page.button} == {"Pause", "Cancel"}
    with work_state.locked(toy.folder):
        labelled(page.run().button, "Pause").click().run()
        assert work_state.asked(toy.folder) == "paused"


def test_a_batch_that_release_0_1_left_is_shown(own_queue, tmp_path):
    """It had no file that says how far it is."""
    (tmp_path / "a.png").write_bytes(b"")
    folder = work.new_folder("batch")
    batch.prepare(folder, tmp_path, Profile("default settings"))
    page = AppTest.from_function(shown, default_timeout=60, args=(str(folder),)).run()
    assert page.get("progress")[0].proto.text == r"waiting · 0 of 1 images"
