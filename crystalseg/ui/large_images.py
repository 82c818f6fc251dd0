"""Large images on the Measure page: measured in windows in the background, and shown field by field."""

import glob
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.execution import work
from crystalseg.execution.kinds import mosaic
from crystalseg.execution.work import Work
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.rounding import significant
from crystalseg.micrographs.pyramids import PyramidFile
from crystalseg.record.runs import Run
from crystalseg.segmentation.overlay import OUTLINE
from crystalseg.ui import new_work, session, shared, work_progress
from crystalseg.ui.charts import distribution_chart
from crystalseg.ui.choices import choices, kept
from crystalseg.ui.downloads import offer
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling
from crystalseg.ui.viewer import SHOWN_PX, Crystals, Shown, viewer

FIELDS = (1000, 2000, 4000)  # px; sides of the field shown
LARGEST_DOWNLOAD = 2**28  # bytes; larger files must be copied from the folder
CHOSEN, PATH = "large image", "large path"  # keys of widgets


def choose() -> None:
    """Choose, in the sidebar, a large image on this machine, and which measured one is shown."""
    known = {one.folder.name: one.title for one in work.works("mosaic")}
    held = choices().fields
    with st.expander("Large images", expanded=bool(held.get(CHOSEN) or session.large_uploads())):
        st.text_input(
            "A file on this machine",
            help="Stitched images of up to 1000 megapixels, measured in windows with the result of the whole: TIFF, "
            "OME-TIFF, or an OME-Zarr folder. The file is read in place, without a copy.",
            **kept(PATH, ""),
        )
        packed = st.file_uploader("Or an OME-Zarr folder packed as ZIP", type=["zip"])
        if packed is not None:
            session.add_large_upload(packed)
        if known:
            st.selectbox(
                "Measured in windows",
                list(known),
                format_func=lambda name: plain(known[name]),
                placeholder="choose one",
                **kept(CHOSEN, None, known),
            )


def show() -> bool:
    """Show the given or chosen large image in place of others. Returns False if there is none."""
    uploads, held = session.large_uploads(), choices().fields
    path = (held.get(PATH) or "").strip()
    chosen = [one for one in work.works("mosaic") if one.folder.name == held.get(CHOSEN)]
    if uploads:
        _new(next(iter(uploads.values())), "")
    elif path:
        _new([], path)
    elif chosen:
        _look_at(chosen[0])
    return bool(uploads or path or chosen)


@telling()
def _new(uploads: list[Any], path: str) -> None:
    """Choose profile and pixel size of a large image, and start it."""
    name = uploads[0].name if uploads else Path(path).name
    st.subheader(plain(name))
    st.caption("A large image is measured in windows, in the background, even while this page is closed.")
    profile, calibration, workers = new_work.choose("mosaic", "0: one process with all cores. Each takes 1 to 2 GB.")
    start, leave, _ = st.columns((1, 1, 3))
    if start.button("Start", type="primary", icon=":material/play_arrow:"):
        folder = new_work.begin(
            "mosaic",
            uploads,
            path,
            profile,
            workers,
            lambda folder, source: mosaic.prepare(folder, source, profile, calibration, session.who()),
        )
        if folder is not None:
            _leave(folder.name)
    if leave.button("Cancel", icon=":material/close:"):
        _leave(None)


def _leave(chosen: str | None) -> None:
    session.forget_large_upload()
    choices().fields |= {CHOSEN: chosen, PATH: ""}
    st.rerun()


def _look_at(one: Work) -> None:
    """Show its progress, and its result."""
    left, right = st.columns((5, 1), vertical_alignment="center")
    left.subheader(plain(one.title))
    if right.button("Close", icon=":material/close:", key=f"close {one.folder.name}"):
        _leave(None)
    if one.state(shared.engine()).status != "done":
        work_progress.show(one)
        return
    (run,) = one.runs(shared.engine())
    result(one, run)


def is_kept(one: Work, run: Run) -> bool:
    """Return whether a run's result can be shown field by field."""
    return all(_file(one, run, ending).is_file() for ending in ("labels.ome.tif", "crystals.parquet"))


def _file(one: Work, run: Run, ending: str) -> Path:
    return one.kind.results(one, run).with_name(f"{one.kind.results(one, run).name}_{ending}")


def result(one: Work, run: Run) -> None:
    """Show figures, the image with its field, distribution, and the files."""
    key = run.id
    if run.summary is None:
        st.warning("No crystal is counted.", icon=":material/search:")
    else:
        _figures(run.summary)
    labels = PyramidFile(_file(one, run, "labels.ome.tif"))
    image = PyramidFile(file) if (file := _file(one, run, "image.ome.tif")).is_file() else None
    if image is None:
        st.info("The image was deleted, as its profile demands. Its crystals are shown.", icon=":material/hide_image:")
    crystals = _table(str(_file(one, run, "crystals.parquet")))
    _fields(key, image, labels, crystals, run.um_per_px)
    rule = run.chosen.measuring.border_rule
    st.plotly_chart(distribution_chart(crystals, labels.shape, rule, "area", True), width="stretch", key=key)
    _files(one, run)


def _figures(summary: Summary) -> None:
    """Show the size figures."""
    unit, average = summary.unit, summary.average
    columns = st.columns(4)
    columns[0].metric("Average crystal size", f"{significant(average.value)} {unit}", help="Mean equivalent diameter.")
    columns[1].metric("95 % interval", f"{significant(average.low)} – {significant(average.high)} {unit}")
    columns[2].metric("D50 by area", f"{significant(summary.area[1])} {unit}")
    columns[3].metric("Crystals counted", f"{summary.counted} of {summary.found}")


@st.cache_resource(max_entries=2, show_spinner=False)
def _table(path: str) -> pd.DataFrame:
    """Return the crystals of a large image."""
    return pd.read_parquet(path)


@st.fragment
def _fields(
    name: str, image: PyramidFile | None, labels: PyramidFile, crystals: pd.DataFrame, um_per_px: float | None
) -> None:
    """Show the whole image, reduced. A click in it chooses the field that is shown beside it at full resolution."""
    height, width = labels.shape
    overview, field = st.columns((2, 5))
    with overview:
        side = int(st.selectbox("Field, px", FIELDS, 1, key=f"side {name}"))
        small, _ = _pixels(image, labels, (0, 0, height, width), 1)
        factor = width / small.shape[1]
        key = f"middle {name}"
        y, x = st.session_state.setdefault(key, (height // 2, width // 2))
        top, left = (int(np.clip(c - side // 2, 0, max(0, n - side))) for c, n in ((y, height), (x, width)))
        st.session_state[key] = (top + side // 2, left + side // 2)  # kept inside the edge
        box = (top, left, min(top + side, height), min(left + side, width))
        first, last = ((round(x / factor), round(y / factor)) for y, x in (box[:2], box[2:]))
        marked = cv2.rectangle(small.copy(), first, last, OUTLINE, max(1, len(small) // 150))
        scale = um_per_px and um_per_px * factor
        answer = viewer(marked, f"{name} whole {box}", scale, key=f"all {name}")
        wanted = answer.point and (round(answer.point[0] * factor), round(answer.point[1] * factor))
        if wanted and wanted != st.session_state.get(f"asked {name}"):
            st.session_state[f"asked {name}"] = st.session_state[key] = wanted
            st.rerun()
        _moves(key, side)
    with field:
        pixels, part = _pixels(image, labels, box, SHOWN_PX)
        numbers = labels.read(box, SHOWN_PX)[0].astype(np.int32)
        here = crystals[crystals["id"].isin(np.unique(numbers))]
        zoom = (part[3] - part[1]) / pixels.shape[1]
        version = f"{name} {part}"
        st.caption(f"Rows {part[0]} to {part[2]}, columns {part[1]} to {part[3]}: {len(here)} crystals")
        found = [Crystals(numbers, here, version)]
        viewer(pixels, version, um_per_px and um_per_px * zoom, found, Shown(reports=False), f"field {name}")


def _moves(key: str, side: int) -> None:
    """Show buttons for moving to the neighbouring fields."""

    def move(down: int, across: int) -> None:
        y, x = st.session_state[key]
        st.session_state[key] = (y + down * side, x + across * side)

    steps = {"left": ("back", 0, -1), "up": ("upward", -1, 0), "down": ("downward", 1, 0), "right": ("forward", 0, 1)}
    for column, (name, (icon, *step)) in zip(st.columns(4), steps.items(), strict=True):
        words = f"One field {name}"
        column.button("", help=words, on_click=move, args=step, icon=f":material/arrow_{icon}:", key=f"{name} {key}")


def _pixels(
    image: PyramidFile | None, labels: PyramidFile, box: tuple[int, int, int, int], longest: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Like `PyramidFile.read` for the image; if the image is gone, crystals in gray."""
    if image is not None:
        return image.read(box, longest)
    numbers, part = labels.read(box, longest)
    return np.where(numbers[..., None] > 0, 160, 60).astype(np.uint8).repeat(3, axis=2), part


def _files(one: Work, run: Run) -> None:
    """Offer the files that were written."""
    stem = one.kind.results(one, run)
    written = sorted(stem.parent.glob(f"{glob.escape(stem.name)}_*.*"), key=lambda path: path.suffix != ".pdf")
    columns = st.columns(3)
    for k, path in enumerate(written):
        size = path.stat().st_size
        words = f"{path.name.removeprefix(f'{stem.name}_')} ({size / 2**20:.1f} MB)"
        if size <= LARGEST_DOWNLOAD:
            main = "primary" if k == 0 else "secondary"
            offer(
                columns[k % 3],
                words,
                path.read_bytes,
                path.name,
                key=f"{path.name} {run.id}",
                type=main,
                width="stretch",
            )
    st.caption(f"All files: {plain(stem.parent)}")
