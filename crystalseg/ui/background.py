"""Long work that a page starts in a separate process, so that it continues when the page is closed."""

import time
from pathlib import Path

import streamlit as st

from crystalseg import places
from crystalseg.execution import work_folder
from crystalseg.micrographs.calibration import Calibration
from crystalseg.record.profiles import Profile, profiles
from crystalseg.record.store import home
from crystalseg.ui import image_controls, settings_controls, shared

STARTING = 60.0  # s; work that was just started must run by then


def choose(key: str, least: int, words: str) -> tuple[Profile, Calibration | None, int]:
    """Show the widgets for long work and return profile, pixel size and number of workers (at least `least`, explained
    by `words`). `key`: prefix of the page's widgets."""
    columns = st.columns(3)
    with columns[0]:
        settings_controls.profile_box(f"{key} profile", "default settings")
    profile = profiles(shared.engine()).get(st.session_state[f"{key} profile"]) or Profile("default settings")
    with columns[1]:
        calibration = image_controls.pixel_size_of_all(key)
    return profile, calibration, int(columns[2].number_input("Workers", least, 64, least, help=words))


def start(folder: Path, verb: str, *arguments: str) -> None:
    """Run a command of the command line that works in `folder`."""
    work_folder.ask(folder, "")
    with (folder / "log.txt").open("ab") as log:
        places.start(verb, *arguments, stdout=log, stderr=log, start_new_session=True)
    st.session_state[f"started {folder.name}"] = time.monotonic()


def is_watched(folder: Path, state: str) -> bool:
    """Return whether work in that state runs, or started so recently that its process may not be up yet."""
    started = st.session_state.get(f"started {folder.name}", float("-inf"))
    return state == "running" or (state != "done" and time.monotonic() - started < STARTING)


def folders(kind: str, file: str) -> list[Path]:
    """Return the folders of such work in the home folder that hold a `file`, newest first."""
    found = [path for path in (home() / kind).glob("*") if (path / file).exists()]
    return sorted(found, key=lambda path: (path / file).stat().st_mtime, reverse=True)
