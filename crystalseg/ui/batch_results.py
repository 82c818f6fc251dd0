"""The results of a batch: its table, all files in one, and its large images."""

import pandas as pd
import streamlit as st

from crystalseg.execution.result import packed
from crystalseg.execution.work import Work
from crystalseg.ui import large_images, shared
from crystalseg.ui.downloads import offer


def show(one: Work) -> None:
    """Show the results of a batch that is not running."""
    offer(
        st,
        "All results (ZIP)",
        lambda: packed(one.folder),
        f"batch-{one.id}.zip",
        "application/zip",
        key=f"zip {one.folder.name}",
        type="primary",
    )
    summary = one.folder / "summary.csv"
    if summary.exists():
        st.dataframe(pd.read_csv(summary), hide_index=True, height=300)
    _large(one)


def _large(one: Work) -> None:
    """Show the images of the batch that were measured in windows, field by field."""
    runs = {run.image_name: run for run in one.runs(shared.engine()) if large_images.is_kept(one, run)}
    if not runs:
        return
    chosen = st.selectbox("Show a large image", list(runs), None, key=f"large of {one.folder.name}")
    if chosen:
        large_images.result(one, runs[chosen])
