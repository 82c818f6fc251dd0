"""Batch: many images with one profile, in the background; progress, pause, failures, results."""

import io
import uuid
import zipfile
from pathlib import Path

import pandas as pd
import streamlit as st

from crystalseg.execution import batch, work_folder
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.micrographs.names import file_names
from crystalseg.record.store import home
from crystalseg.segmentation.methods import PACKAGE
from crystalseg.ui import background, session, shared
from crystalseg.ui.plain import plain

FOLDER = "batches"


def start(folder: Path, workers: int) -> None:
    """Begin a batch, or go on with it."""
    source = batch.load(folder).source
    background.start(folder, "batch", source, "--go-on", "--workers", str(workers), "--out", str(folder))


def new() -> None:
    """Images, profile, pixel size; then it starts."""
    uploads = st.file_uploader(
        "Images, or ZIP files of images",
        accept_multiple_files=True,
        type=[*FORMATS, "zip"],
        help="They are copied to the server's folder for this batch.",
    )
    path = st.text_input("Or a folder on this machine", help="All images in it and in its folders.")
    profile, calibration, workers = background.choose("batch", 1, "Processes; each needs 1 to 2 GB.")
    if not st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not (uploads or path)):
        return
    folder = home() / FOLDER / uuid.uuid4().hex[:10]
    folder.mkdir(parents=True)
    try:
        source = _copied(uploads, folder / "images") if uploads else shared.server_path(path)
        package, _, model = profile.settings.method.partition(":")
        if package == PACKAGE:
            shared.model(model)
        batch.prepare(folder, source, profile, calibration, session.who())
    except ValueError as error:
        st.error(plain(error), icon=":material/block:")
        return
    start(folder, workers)
    st.rerun()


def _copied(uploads: list, folder: Path) -> Path:
    """The uploads as files; those of one name get numbers."""
    folder.mkdir()
    for upload, name in zip(uploads, file_names(upload.name for upload in uploads), strict=True):
        (folder / name).write_bytes(upload.getvalue())
    return folder


def progress(folder: Path, watched: bool) -> None:
    """How far a batch is, what failed, its results. A fragment: it looks again by itself while it is `watched`."""
    now = batch.state_of(folder, shared.engine())
    if watched and not background.is_watched(folder, now.state):
        st.rerun()
    settled = now.done + len(now.reasons)
    words = f"{now.done} measured, {len(now.reasons)} failed, {now.total - settled} to do · {now.state}"
    st.progress(settled / now.total, text=words)
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
        right.download_button(
            "All results (ZIP)",
            lambda: _packed(folder),
            f"batch-{batch.load(folder).id}.zip",
            "application/zip",
            key=f"zip {folder.name}",
            type="primary",
        )
        table = pd.read_csv(folder / "summary.csv") if (folder / "summary.csv").exists() else None
        if table is not None:
            st.dataframe(table, hide_index=True, height=300)


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.glob("*.*")):
            if path.suffix in (".pdf", ".csv", ".npz") or path.name == "batch.json":
                archive.write(path, path.name)
    return buffer.getvalue()


def page() -> None:
    session.enter()
    st.title("Batch")
    st.caption(
        "Hundreds of images with one profile. A batch goes on when this page is closed; after a crash, Go on continues "
        "it. Each image gets its report, all together a table, and those that fail their reason."
    )
    new()
    folders = background.folders(FOLDER, "batch.json")
    if not folders:
        st.info("No batch yet: give images above and press Start.", icon=":material/upload:")
    for folder in folders:
        listed = batch.load(folder)
        with st.container(border=True):
            st.markdown(f"**{listed.id}** · {len(listed.names)} images · profile {plain(listed.profile.name)}")
            watched = background.is_watched(folder, batch.state_of(folder, shared.engine()).state)
            st.fragment(progress, run_every=1.0 if watched else None)(folder, watched)


page()
