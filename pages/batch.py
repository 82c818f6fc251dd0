"""Batch: many images with one profile, in the background; progress, pause, failures, results."""

from pathlib import Path

import streamlit as st

from crystalseg.execution import work
from crystalseg.execution.kinds import batch
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.report import handouts
from crystalseg.report.handouts import HANDOUTS
from crystalseg.ui import batch_results, new_work, session, work_progress
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling


@telling()
def new() -> None:
    """Images, profile, pixel size; then it starts."""
    uploads = st.file_uploader(
        "Images, or ZIP files of images",
        accept_multiple_files=True,
        type=[*FORMATS, "zip"],
        help="They are copied to the server's folder for this batch.",
    )
    path = st.text_input("Or a folder on this machine", help="All images in it and in its folders.")
    profile, calibration, workers = new_work.choose("batch", "Processes; each needs 1 to 2 GB.")
    usual = handouts.default(handouts.BATCH)
    formats = st.multiselect("Files of each image", list(HANDOUTS), usual, format_func=lambda key: HANDOUTS[key].words)
    if not st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not (uploads or path)):
        return

    def prepare(folder: Path, source: Path) -> None:
        batch.prepare(folder, source, profile, calibration, session.who(), tuple(formats))

    if new_work.begin("batch", uploads, path, profile, workers, prepare):
        st.rerun()


def page() -> None:
    session.enter()
    st.title("Batch")
    st.caption(
        "Hundreds of images with one profile. A batch goes on when this page is closed; after a crash, Go on continues "
        "it. Each image gets its report, all together a table, and those that fail their reason."
    )
    new()
    works = work.works("batch")
    if not works:
        st.info("No batch yet: give images above and press Start.", icon=":material/upload:")
    for one in works:
        with st.container(border=True):
            st.markdown(f"**{plain(one.title)}**")
            for note in batch.load(one.folder).notes:
                st.caption(plain(note))
            state = work_progress.show(one)
            if state.done and not state.is_active:
                batch_results.show(one)


page()
