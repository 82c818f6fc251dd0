import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from crystalseg.execution.batch_source import BatchError
from crystalseg.execution.work_folder import LOCK, is_locked, locked


def test_one_at_a_time_works_in_a_folder(tmp_path):
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(BatchError, match="running already"), locked(tmp_path):
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
