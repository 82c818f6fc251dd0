"""Wheel and sdist, built and installed elsewhere, do what the checkout does, from any folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

import pytest

import crystalseg
from crystalseg.micrographs import examples
from tests.browser.serving import free_port

ROOT = Path(__file__).parents[1]
IMAGE = examples.FOLDER / "etched-metal-light-microscope.png"
USE = """
import time
from pathlib import Path
from streamlit.testing.v1 import AppTest
import crystalseg.ui.viewer
from crystalseg import places
from crystalseg.execution.decoder import Decoder
from crystalseg.micrographs import examples
from crystalseg.segmentation.settings import Measuring
from crystalseg.ui import shared

assert places.IS_INSTALLED
assert Measuring(only="round ones").only
decoder = Decoder()
assert decoder.read(examples.files()["etched metal light microscope"].read_bytes(), "e.png").shape == (300, 400)
decoder.close()
assert len(examples.rehearsed()) == len(examples.looked_at()) == 4

examples.FIRST = "etched-metal-light-microscope.png"
app = AppTest.from_file(str(places.APP), default_timeout=600).run()
assert not app.exception, app.exception
assert app.title[0].value.startswith("Measure")
end = time.monotonic() + 600  # the worker measures the example
while shared.queue().active():
    assert time.monotonic() < end, "the worker does nothing"
    time.sleep(0.2)
app.run()
shared.queue().close()
assert app.metric, "the example is not measured"
app.switch_page("pages/history.py").run()
assert not app.exception, app.exception
assert app.title[0].value.startswith("History")
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A virtual environment in which only the wheel is installed, over what is installed here, and an empty folder;
    the wheel is made of the sdist."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", ROOT]
    subprocess.run(command, check=True, capture_output=True)
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    Path(sysconfig.get_path("purelib", "venv", paths), "here.pth").write_text(sysconfig.get_path("purelib"))
    [wheel] = (tmp_path / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", environment, "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    return Path(sysconfig.get_path("scripts", "venv", paths)), empty


@pytest.fixture
def run(elsewhere):
    programs, empty = elsewhere
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program, *words):
        done = subprocess.run(
            [programs / program, *words], cwd=empty, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no checkout")
def test_what_is_installed_measures_and_shows_pages_from_an_empty_folder(run, elsewhere, tmp_path):
    programs, empty = elsewhere
    run("crystalseg", "segment", IMAGE, "--out", tmp_path / "out", "--effort", "quick")
    told = json.loads((tmp_path / "out" / f"{IMAGE.stem}_run.json").read_text())
    assert told["software"]["crystalseg"] == crystalseg.__version__
    assert re.fullmatch("[0-9a-f]{12}(-dirty)?", told["software"]["commit"])  # of the checkout, put in by the build
    assert told["figures"]["counted"] > 0
    run("python", "-c", USE)
    port = free_port()
    command = [programs / "crystalseg", "app", "--server.port", str(port), "--server.headless", "true"]
    server = subprocess.Popen(command, cwd=empty, stdout=subprocess.DEVNULL)
    try:
        assert answer(f"http://127.0.0.1:{port}/_stcore/health", server) == b"ok"
        # the app's own configuration holds: who does not sit at this machine is not let in
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://127.0.0.2:{port}/_stcore/health", timeout=5)
    finally:
        server.terminate()
        server.wait(30)
    assert list(empty.iterdir()) == []


def answer(address, server):
    """What a server that is just starting answers."""
    end = time.monotonic() + 600
    while server.poll() is None and time.monotonic() < end:
        try:
            return urllib.request.urlopen(address, timeout=1).read()
        except OSError:
            time.sleep(0.1)
    return None
