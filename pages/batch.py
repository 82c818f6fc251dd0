"""Batch: measure many images with one profile in the background; progress, pause, failures and results."""

from pathlib import Path

import streamlit as st

from crystalseg.execution import work
from crystalseg.execution.kinds import batch
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.micrographs.headers import ENDINGS
from crystalseg.report import handouts
from crystalseg.report.handouts import HANDOUTS
from crystalseg.ui import batch_results, new_work, session, work_progress
from crystalseg.ui.choices import kept
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling


@telling()
def new() -> None:
    """Choose images, profile and pixel size, and start a batch."""
    uploads = st.file_uploader(
        "Images, or ZIP files of images",
        accept_multiple_files=True,
        type=[*FORMATS, "zip", *ENDINGS],
        help="Also the text files with the pixel size that microscopes write beside images. The files are copied to "
        "the folder of this batch on the server.",
    )
    path = st.text_input("Or a folder on this machine", help="All images in the folder and its subfolders.")
    profile, calibration, workers = new_work.choose("batch", "Number of processes. Each needs 1 to 2 GB of memory.")
    columns = st.columns(3)
    name = columns[0].text_input("Name of the batch", **kept("batch name", ""))
    sample = columns[1].text_input(
        "Sample", help="For all images. Empty: the name of each image.", **kept("batch sample", "")
    )
    customer = columns[2].text_input("Customer", **kept("batch customer", ""))
    usual = handouts.default(handouts.BATCH)
    formats = st.multiselect("Files for each image", list(HANDOUTS), usual, format_func=lambda key: HANDOUTS[key].words)
    if not st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not (uploads or path)):
        return

    def prepare(folder: Path, source: Path) -> None:
        said = (name.strip(), sample.strip(), customer.strip())
        batch.prepare(folder, source, profile, calibration, session.who(), tuple(formats), (), *said)

    if new_work.begin("batch", uploads, path, profile, workers, prepare):
        st.rerun()


def page() -> None:
    session.enter()
    st.title("Batch")
    st.caption(
        "Measure hundreds of images with one profile. A batch continues if you close this page. After a crash, press "
        "Go on. You get a report for each image, a table of all images, and the reason for each image that failed."
    )
    new()
    works = work.works("batch")
    if not works:
        st.info("No batch yet. Add images above and press Start.", icon=":material/upload:")
    for one in works:
        with st.container(border=True):
            st.markdown(f"**{plain(one.title)}**")
            for note in batch.load(one.folder).notes:
                st.caption(plain(note))
            state = work_progress.show(one)
            if state.done and not state.is_active:
                batch_results.show(one)


page()
