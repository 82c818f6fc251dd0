import os
import signal
import sys
import threading
import time
import types

import numpy as np
import pytest

from crystalseg.execution.decoder import Decoder
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import MicrographError
from tests.conftest import png

PIXELS = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder()
    yield decoder
    decoder.close()


def test_it_reads_what_is_read_here(decoder):
    here, there = read_micrograph(png(PIXELS), "a.png"), decoder.read(png(PIXELS), "a.png")
    assert np.array_equal(here.pixels, there.pixels)
    assert (here.name, here.sha256, here.notes) == (there.name, there.sha256, there.notes)


def test_a_refusal_comes_through_in_its_words(decoder):
    with pytest.raises(MicrographError) as here:
        read_micrograph(b"no image", "a.png")
    with pytest.raises(MicrographError) as there:
        decoder.read(b"no image", "a.png")
    assert str(here.value) == str(there.value)
    with pytest.raises(MicrographError, match="megapixel"):
        decoder.read(png(PIXELS), "a.png", 0.001)


def test_after_one_that_dies_the_next_is_read(decoder):
    decoder.read(png(PIXELS), "a.png")
    os.kill(decoder._process.pid, signal.SIGSTOP)  # in the middle of its work
    pid = decoder._process.pid
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(MicrographError, match=r"^a\.png: it could not be read to its end"):
        decoder.read(png(PIXELS), "a.png")
    assert decoder.read(png(PIXELS), "b.png").name == "b.png"


def test_one_that_hangs_is_given_up(monkeypatch):
    decoder = Decoder()
    decoder.read(png(PIXELS), "a.png")
    monkeypatch.setattr("crystalseg.execution.decoder.LONGEST", 0.5)
    os.kill(decoder._process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(MicrographError, match="took over"):
        decoder.read(png(PIXELS), "a.png")
    assert time.monotonic() - begun < 10
    monkeypatch.setattr("crystalseg.execution.decoder.LONGEST", 60.0)
    assert decoder.read(png(PIXELS), "a.png").name == "a.png"
    decoder.close()


def test_it_does_not_run_what_stands_in_the_main_module_s_place(tmp_path, monkeypatch):
    """As Streamlit puts its pages there."""
    page = tmp_path / "page.py"
    page.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    module = types.ModuleType("__main__")
    module.__file__ = str(page)
    monkeypatch.setitem(sys.modules, "__main__", module)
    decoder = Decoder()
    assert decoder.read(png(PIXELS), "a.png").name == "a.png"
    decoder.close()
    assert not (tmp_path / "ran").exists()
