"""The results of a batch: the verdict on its sample, a table of its images to open, and its files."""

import json
import math

import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution.batch_summary import COMBINED, SAMPLE
from crystalseg.execution.result import packed
from crystalseg.execution.work import Work
from crystalseg.record.reopening import reopen
from crystalseg.record.runs import Run, find
from crystalseg.report.handouts import HANDOUTS
from crystalseg.report.pictures import jpeg_address
from crystalseg.report.words import FIGURE_COLUMNS, with_limits
from crystalseg.segmentation.overlay import fit, outlined
from crystalseg.ui import large_images, run_list, shared
from crystalseg.ui.assessment_widgets import banner, verdict_table
from crystalseg.ui.downloads import offer

A_PAGE = 20  # images per page of the table, each with a picture
PICTURE = 160  # px, the longer side of a picture


def show(one: Work) -> None:
    """Show the results of a batch that is not running."""
    _sample(one)
    _files(one)
    runs = {run.id: run for run in one.runs(shared.engine())}
    summary = one.folder / "summary.csv"
    if summary.exists() and runs:
        _table(one, pd.read_csv(summary), runs)


def _sample(one: Work) -> None:
    """Show the verdict and the figures of all images as fields of one sample, once all are done."""
    file = one.folder / SAMPLE
    if not file.exists():
        return
    sample = json.loads(file.read_text())
    if sample["outcome"]:
        banner(sample["outcome"], "against the profile's limits, all images together")
        verdict_table(sample["verdicts"], sample["decision"])
    with st.expander("Figures of all images together", icon=":material/functions:"):
        st.dataframe(pd.DataFrame(sample["figures"], columns=list(FIGURE_COLUMNS)), hide_index=True)


def _files(one: Work) -> None:
    """Offer the files about all images."""
    columns = st.columns(3)
    key = one.folder.name
    made = [(HANDOUTS[form], one.folder / name) for form, name in COMBINED.items() if (one.folder / name).exists()]
    for place, (row, path) in zip(columns, made, strict=False):
        name = f"batch-{one.id}_{path.name}"
        offer(place, row.words, path.read_bytes, name, row.media_type, key=f"{row.key} {key}", width="stretch")
    name = f"batch-{one.id}.zip"
    everything = columns[len(made)]
    offer(
        everything,
        "All results (ZIP)",
        lambda: packed(one.folder),
        name,
        "application/zip",
        key=f"zip {key}",
        type="primary",
        width="stretch",
    )


def _table(one: Work, table: pd.DataFrame, runs: dict[str, Run]) -> None:
    """Show a page of the images with picture and verdict, and what can be done with the chosen one."""
    key = one.folder.name
    pages = math.ceil(len(table) / A_PAGE)
    page = int(st.number_input(f"Page of {pages}", 1, pages, key=f"page {key}")) if pages > 1 else 1
    rows = table.iloc[A_PAGE * (page - 1) : A_PAGE * page]
    rows = rows[rows["run"].isin(list(runs))]
    average = (with_limits(*values) for values in rows[["average", "low", "high"]].astype(float).to_numpy())
    first = {
        "picture": [_picture(run) for run in rows["run"]],
        "image": rows["image"],
        "verdict": rows["verdict"].fillna("").astype(str).str.upper(),
        "average (95 %)": [f"{value} ({low} to {high})" for value, low, high in average],
    }
    shown = pd.DataFrame(first).join(
        rows.drop(columns=["image", "verdict", "average", "low", "high", "run", "files"], errors="ignore")
    )
    chosen = st.dataframe(
        shown,
        hide_index=True,
        row_height=64,
        height=min(420, 64 * len(shown) + 40),
        column_config={"picture": st.column_config.ImageColumn(width="small")},
        on_select="rerun",
        selection_mode="single-row",
        key=f"images {key} {page}",
    )
    picked = [runs[rows["run"].iloc[k]] for k in chosen.selection.rows if k < len(rows)]
    if not picked:
        st.caption("Choose a row to open the image on Measure, or to look at a large image.")
    for run in picked:
        if large_images.is_kept(one, run):
            large_images.result(one, run)
        else:
            run_list.go_on(run)


@st.cache_data(max_entries=500, show_spinner=False)
def _picture(run_id: str) -> str | None:
    """Return a small picture of a run with its outlines, as the address of a JPEG; None if its image was not kept."""
    try:
        again = reopen(find(shared.engine(), run_id))
    except UserError:
        return None
    if again.micrograph is None:
        return None
    return jpeg_address(fit(outlined(again.micrograph.pixels, again.labels, thickness=3), PICTURE))
