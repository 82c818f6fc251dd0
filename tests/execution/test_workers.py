import pytest
from filelock import Timeout

from crystalseg.errors import UserError
from crystalseg.execution import workers
from crystalseg.execution.workers import Workers, chosen, room


@pytest.mark.parametrize(("text", "count"), [("", 1), ("1", 1), ("4", 4)])
def test_as_many_as_are_asked_for(monkeypatch, text, count):
    monkeypatch.setenv("CRYSTALSEG_WORKERS", text)
    assert chosen() == count


@pytest.mark.parametrize("text", ["0", "-1", "65", "two", "1.5"])
def test_other_numbers_are_refused_in_a_sentence(monkeypatch, text):
    monkeypatch.setenv("CRYSTALSEG_WORKERS", text)
    with pytest.raises(UserError, match="1 to 64, or auto"):
        chosen()


@pytest.mark.parametrize(("cores", "gigabytes", "count"), [(2, 24, 1), (16, 128, 8), (64, 16, 5), (4, 1, 1)])
def test_as_many_as_there_is_room_for(monkeypatch, cores, gigabytes, count):
    monkeypatch.setattr(workers.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(workers.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, gigabytes * 2**18))
    monkeypatch.setenv("CRYSTALSEG_WORKERS", "auto")
    assert chosen() == room() == count


def test_a_place_is_one_worker_s(tmp_path):
    mine, other = Workers(tmp_path, 2), Workers(tmp_path, 2)
    assert not other.lives(0)
    lock = mine.hold(0)
    assert other.lives(0)
    assert not other.lives(1)
    with pytest.raises(Timeout):
        other.hold(0)
    lock.release()
    assert not other.lives(0)


def test_no_more_are_started_than_there_are_jobs_or_places(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(Workers, "_started", lambda self, place: started.append(place))
    few = Workers(tmp_path, 3)
    held = few.hold(0)
    few.start(2)
    few.start(5)
    held.release()
    assert started == [1, 1, 2]
