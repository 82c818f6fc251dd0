"""Long work that a page begins: what it needs, and where its images come from."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution import work
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.names import file_names
from crystalseg.record.profiles import Profile, profiles
from crystalseg.ui import account, image_controls, settings_controls, shared
from crystalseg.ui.telling import refuse


def choose(kind: str, words: str) -> tuple[Profile, Calibration | None, int]:
    """Widgets for what work of that kind needs: profile, pixel size, and how many workers, of which `words` tell."""
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
    """Begin work of that kind with the images uploaded, or those at a path of this machine; its folder. `prepare` gets
    that and the images' place, and says what is asked for. None, with the reason shown, if it cannot be begun: nothing
    of it is left then."""
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
    """Where the images are that a visitor gave for work in `folder`: what was uploaded, which is copied there, or what
    is at a path that may be read here (`shared.server_path`). UserError if nothing is there."""
    if not uploads:
        source = shared.server_path(path)
        if not source.exists():
            raise UserError(f"There is no {source} on this machine: check how it is written.")
        return source
    place = folder / work.UPLOADS
    place.mkdir()
    names = file_names(upload.name for upload in uploads)
    for upload, name in zip(uploads, names, strict=True):
        (place / name).write_bytes(upload.getbuffer())
    return place / names[0] if len(names) == 1 and work.kinds()[kind].takes_a_file else place
