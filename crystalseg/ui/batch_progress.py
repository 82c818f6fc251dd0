"""What the pages of batches and series share: their images as files, and how far they are."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg.execution import batch, work_folder
from crystalseg.execution.result import packed
from crystalseg.micrographs.names import file_names
from crystalseg.ui import background, shared
from crystalseg.ui.downloads import offer
from crystalseg.ui.plain import plain


def starter(verb: str) -> Callable[[Path, int], None]:
    """What begins the work in a folder, or goes on with it, by a verb of the command line, with so many workers."""

    def start(folder: Path, workers: int) -> None:
        source = batch.load(folder).source
        background.start(folder, verb, source, "--go-on", "--workers", str(workers), "--out", str(folder))

    return start


def copied(uploads: list, folder: Path) -> Path:
    """The uploads as files; those of one name get numbers."""
    folder.mkdir()
    for upload, name in zip(uploads, file_names(upload.name for upload in uploads), strict=True):
        (folder / name).write_bytes(upload.getvalue())
    return folder


def progress(
    folder: Path,
    watched: bool,
    start: Callable[[Path, int], None],
    state_of: Callable[[Path, Engine], batch.State] = batch.state_of,
) -> None:
    """How far a batch is, what failed, its results. A fragment: it looks again by itself while it is `watched`. start:
    begins the work in a folder, or goes on with it, with so many workers; state_of: says how far it is."""
    now = state_of(folder, shared.engine())
    if watched and not background.is_watched(folder, now.state):
        st.rerun()
    settled = now.done + len(now.reasons)
    words = f"{now.done} measured, {len(now.reasons)} failed, {now.total - settled} to do · {now.state}"
    st.progress(settled / now.total, text=words)
    if now.mosaic:
        st.caption(f"Mosaic {plain(now.mosaic)}")
    left, middle, right = st.columns(3)
    if now.state == "running":
        asked = work_folder.asked(folder)
        if asked:
            st.caption("It stops after the images in work.")
        if left.button("Pause", icon=":material/pause:", key=f"pause {folder.name}", disabled=bool(asked)):
            work_folder.ask(folder, "paused")
        if middle.button("Cancel", icon=":material/stop_circle:", key=f"stop {folder.name}", disabled=bool(asked)):
            work_folder.ask(folder, "cancelled")
    elif now.state != "done" and left.button("Go on", icon=":material/play_arrow:", key=f"go {folder.name}"):
        start(folder, 1)
        st.rerun()
    if now.reasons:
        st.dataframe(pd.DataFrame(now.reasons, columns=["image", "why it failed"]), hide_index=True)
    if now.done and now.state != "running":
        offer(
            right,
            "All results (ZIP)",
            lambda: packed(folder),
            f"batch-{batch.load(folder).id}.zip",
            "application/zip",
            key=f"zip {folder.name}",
            type="primary",
        )
        table = pd.read_csv(folder / "summary.csv") if (folder / "summary.csv").exists() else None
        if table is not None:
            st.dataframe(table, hide_index=True, height=300)
