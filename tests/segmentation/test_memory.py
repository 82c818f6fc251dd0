import platform
import re
from pathlib import Path

import numpy as np
import pytest

from crystalseg.segmentation.memory import give_back


def resident():
    """Bytes of this process in memory, on Linux."""
    return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_freed_memory_that_glibc_keeps_goes_back():
    arrays = [np.ones(2500) for _ in range(10_000)]  # 200 MB in pieces that are not mapped one by one
    last = arrays.pop()  # lies at the end, so that what is before it is kept
    del arrays
    before = resident()
    give_back()
    assert before - resident() > 100e6
    assert last.all()


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    give_back()
