"""Batch: many images with one profile, in the background; progress, pause, failures, results."""

import uuid

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution import batch
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.record.store import home
from crystalseg.report import handouts
from crystalseg.report.handouts import HANDOUTS
from crystalseg.ui import background, batch_progress, session, shared
from crystalseg.ui.plain import plain

FOLDER = "batches"
start = batch_progress.starter("batch")


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
    usual = handouts.default(handouts.BATCH)
    formats = st.multiselect("Files of each image", list(HANDOUTS), usual, format_func=lambda key: HANDOUTS[key].words)
    if not st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not (uploads or path)):
        return
    folder = home() / FOLDER / uuid.uuid4().hex[:10]
    folder.mkdir(parents=True)
    try:
        source = batch_progress.copied(uploads, folder / "images") if uploads else shared.server_path(path)
        if model := profile.settings.method.partition(":")[2]:
            shared.model(model)
        batch.prepare(folder, source, profile, calibration, session.who(), tuple(formats))
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    start(folder, workers)
    st.rerun()


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
            st.fragment(batch_progress.progress, run_every=1.0 if watched else None)(folder, watched, start)


page()
