import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from crystalseg.execution.work_state import LOCK, State, WorkError, ask, is_done, is_locked, locked, state_of, working


def test_one_at_a_time_works_in_a_folder(tmp_path):
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(WorkError, match="already running"), locked(tmp_path):
            pass
    assert not is_locked(tmp_path)


def test_many_who_look_at_once_are_not_taken_for_the_work(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda _: is_locked(tmp_path), range(400)))


def test_somebody_who_only_looks_keeps_no_work_from_beginning(tmp_path):
    look = FileLock(tmp_path / LOCK, thread_local=False).acquire()
    timer = threading.Timer(0.1, look.lock.release)
    timer.start()
    with locked(tmp_path):
        timer.join()
        assert is_locked(tmp_path)


def test_the_time_left_follows_from_the_rate(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: 1000 + clock[0])
    with working(tmp_path) as reporter:
        clock[0] = 30.0
        reporter(stage="half", share=0.25)
        assert state_of(tmp_path).left == 90  # a quarter took 30 s
        clock[0] = 40.0
        assert state_of(tmp_path).left == 80  # also while nothing is told
    assert (state_of(tmp_path).status, state_of(tmp_path).share) == ("done", 1)
    assert state_of(tmp_path).left != state_of(tmp_path).left


def test_whoever_holds_the_lock_sees_whether_the_work_is_done(tmp_path):
    with working(tmp_path):
        assert not is_done(tmp_path)
    with locked(tmp_path):
        assert is_done(tmp_path)


def test_how_work_ends_is_in_its_state(tmp_path):
    with working(tmp_path) as reporter:
        ask(tmp_path, "cancelled")
        reporter.check()
    assert state_of(tmp_path).status == "cancelled"
    with pytest.raises(WorkError, match="no room"), working(tmp_path):
        raise WorkError("There is no room.")
    assert state_of(tmp_path) == State("failed", error="There is no room.")
    with pytest.raises(KeyboardInterrupt), working(tmp_path):
        raise KeyboardInterrupt
    assert state_of(tmp_path).status == "paused"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"state": "done", "stage": "x", "share": 1.0, "error": "", "stem": "m"}, State("done", "x", share=1.0)),
        (
            {"state": "failed", "stage": "", "share": 0.2, "error": "No.", "stem": ""},
            State("failed", share=0.2, error="No."),
        ),
        (
            {"status": "done", "part": 3, "parts": 4, "title": "x", "step": 5, "steps": 5, "left": 0.0, "model": "m:1"},
            State("done", "x", 3, 4, 1.0, made="m:1"),
        ),
    ],
)
def test_what_release_0_1_wrote_is_read(tmp_path, written, read):
    """Of a mosaic and of a lesson; a batch wrote nothing."""
    (tmp_path / "state.json").write_text(json.dumps(written))
    found = state_of(tmp_path)
    assert (found.status, found.stage, found.done, found.total, found.share, found.error, found.made) == (
        read.status,
        read.stage,
        read.done,
        read.total,
        read.share,
        read.error,
        read.made,
    )
