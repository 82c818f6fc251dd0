"""Widgets for starting long work: its settings, and the source of its images."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution import work
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.headers import SIDECARS
from crystalseg.micrographs.names import file_names
from crystalseg.record.profiles import Profile, profiles
from crystalseg.ui import account, image_controls, settings_controls, shared
from crystalseg.ui.telling import refuse


def choose(kind: str, words: str) -> tuple[Profile, Calibration | None, int]:
    """Show the widgets for work of a kind: profile, pixel size and number of workers, which `words` explain."""
    columns = st.columns(3)
    with columns[0]:
        name = settings_controls.profile_box(f"{kind} profile", "default settings")
    profile = profiles(shared.engine()).get(name or "") or Profile("default settings")
    with columns[1]:
        calibration = image_controls.pixel_size_of_all(kind)
    least = work.kinds()[kind].least_workers
    return profile, calibration, int(columns[2].number_input("Workers", least, 64, least, help=words))


def begin(
    kind: str,
    uploads: Sequence[Any],
    path: str,
    profile: Profile,
    workers: int | None,
    prepare: Callable[[Path, Path], object],
) -> Path | None:
    """Start work of a kind with the uploaded images or those at a path of this machine, and return its folder.
    `prepare` gets the folder and the place of the images, and writes the request. If it cannot start, None is returned
    after showing the reason, and nothing of it is left."""
    account.require("operator")
    folder = work.new_folder(kind)
    try:
        source = given(kind, uploads, path, folder)
        if model := profile.settings.method.partition(":")[2]:
            shared.model(model)
        prepare(folder, source)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, UserError):
            raise
        refuse(error)
        return None
    work.start(work.work_in(folder), workers)
    return folder


def given(kind: str, uploads: Sequence[Any], path: str, folder: Path) -> Path:
    """Return the place of the images that a visitor gave for work in `folder`: copies of the uploads, or a path that
    may be read here (`shared.server_path`). Raises UserError if nothing is there."""
    if not uploads:
        source = shared.server_path(path)
        if not source.exists():
            raise UserError(f"There is no {source} on this machine. Check the spelling.")
        return source
    place = folder / work.UPLOADS
    place.mkdir()
    names = file_names(upload.name for upload in uploads)
    for upload, name in zip(uploads, names, strict=True):
        (place / name).write_bytes(upload.getbuffer())
    images = [name for name in names if not name.lower().endswith(SIDECARS)]
    return place / images[0] if len(images) == 1 and work.kinds()[kind].takes_a_file else place
