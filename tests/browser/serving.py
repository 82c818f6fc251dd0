"""The app as a user meets it, for tests and benchmarks: a server with a record of its own, and Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def served(home: Path, *options: str, port: int = 0) -> Iterator[str]:
    """The address of a running app whose record is in `home`; `options` are Streamlit's."""
    port = port or free_port()
    command = [sys.executable, "-m", "crystalseg", "app", "--server.port", str(port), "--server.headless=true"]
    command += options
    server = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"CRYSTALSEG_HOME": str(home)}, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 300
        while server.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium if there is one, else playwright's own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=quiet)
        yield browser
        browser.close()
