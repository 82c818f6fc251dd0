"""Mosaic: one image of hundreds of megapixels, in the background; progress, pause, and the result field by field."""

import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution import mosaic, work_folder
from crystalseg.micrographs.pyramids import PyramidFile
from crystalseg.record.runs import find
from crystalseg.record.store import home
from crystalseg.segmentation.overlay import OUTLINE
from crystalseg.ui import background, session, shared
from crystalseg.ui.charts import distribution_chart
from crystalseg.ui.downloads import offer
from crystalseg.ui.plain import plain
from crystalseg.ui.viewer import SHOWN_PX, Crystals, Shown, viewer

FOLDER = "mosaics"
TYPES = ("tif", "tiff", "zip")
FIELDS = (1000, 2000, 4000)  # px, sides of the field that is looked at
LARGEST_DOWNLOAD = 2**28  # bytes; larger files are fetched from the folder


def new() -> None:
    """File, profile, pixel size; then it starts."""
    upload = st.file_uploader("A mosaic", type=TYPES, help="TIFF or OME-TIFF, or an OME-Zarr folder packed as ZIP.")
    path = st.text_input(
        "Or a file on this machine", help="TIFF, OME-TIFF, or an OME-Zarr folder; nothing is copied while it is read."
    )
    profile, calibration, workers = background.choose(
        "mosaic", 0, "0: one process with all cores. Each takes 1 to 2 GB."
    )
    if not st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not (upload or path)):
        return
    folder = home() / FOLDER / uuid.uuid4().hex[:10]
    try:
        source = shared.server_path(path) if upload is None else folder / Path(upload.name).name
        if upload is None and not source.exists():
            raise UserError(f"There is no {source} on this machine.")
        folder.mkdir(parents=True)
        if upload is not None:
            source.write_bytes(upload.getbuffer())
        mosaic.prepare(folder, source, profile, calibration, session.who())
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    start(folder, workers)
    st.rerun()


def start(folder: Path, workers: int = 0) -> None:
    """Begin a mosaic, or go on with it."""
    source = mosaic.load(folder).source
    background.start(folder, "mosaic", source, "--go-on", "--workers", str(workers), "--out", str(folder))


def progress(folder: Path, watched: bool) -> None:
    """How far a mosaic is. A fragment: it looks again by itself while it is `watched`."""
    now = mosaic.state_of(folder)
    if watched and not background.is_watched(folder, now.state):
        st.rerun()
    st.progress(now.share, text=f"{now.stage} · {now.state}" if now.stage else now.state)
    if now.state == "failed" and not watched:
        st.error(plain(now.error), icon=":material/block:")
    if now.state == "running":
        asked = work_folder.asked(folder)
        if asked:
            st.caption("It stops after the tiles under way; what is done is kept.")
        if st.button("Pause", icon=":material/pause:", key=f"pause {folder.name}", disabled=bool(asked)):
            work_folder.ask(folder, "paused")
    elif not watched and st.button("Go on", icon=":material/play_arrow:", key=f"go {folder.name}"):
        start(folder)
        st.rerun()


def results(folder: Path, stem: str) -> None:
    """Figures, the mosaic with its field, and the files."""
    run = find(shared.engine(), mosaic.load(folder).id)
    if run.figures is None:
        st.warning("No crystal counts.", icon=":material/search:")
    else:
        size_metrics(run.figures)
    image, labels = (PyramidFile(folder / f"{stem}_{kind}.ome.tif") for kind in ("image", "labels"))
    crystals = table(str(folder / f"{stem}_crystals.parquet"))
    look(folder, image, labels, crystals, run.um_per_px)
    rule = run.chosen.measuring.border_rule
    st.plotly_chart(distribution_chart(crystals, image.shape, rule, "area", True), width="stretch", key=folder.name)
    files(folder, stem)


def size_metrics(figures: dict[str, Any]) -> None:
    """What is known of the sizes."""
    unit, average = figures["unit"], figures["average"]
    columns = st.columns(4)
    columns[0].metric("Average crystal size", f"{average['value']:.4g} {unit}", help="Mean equivalent diameter.")
    interval = f"{average['low']:.3g} – {average['high']:.3g} {unit}"
    columns[1].metric("95 % interval, sampling", interval, help="The chance of which crystals lie in the mosaic.")
    columns[2].metric("D50 by area", f"{figures['area'][1]:.4g} {unit}")
    columns[3].metric("Crystals counted", f"{figures['counted']} of {figures['found']}")


@st.cache_resource(max_entries=2, show_spinner=False)
def table(path: str) -> pd.DataFrame:
    """The crystals of a mosaic."""
    return pd.read_parquet(path)


@st.fragment
def look(
    folder: Path, image: PyramidFile, labels: PyramidFile, crystals: pd.DataFrame, um_per_px: float | None
) -> None:
    """The whole mosaic, small, where a click chooses the field shown beside it at its own resolution."""
    height, width = image.shape
    overview, field = st.columns((2, 5))
    with overview:
        side = int(st.selectbox("Field, px", FIELDS, 1, key=f"side {folder.name}"))
        small, _ = image.read((0, 0, height, width), 1)
        factor = width / small.shape[1]
        key = f"middle {folder.name}"
        y, x = st.session_state.setdefault(key, (height // 2, width // 2))
        top, left = (int(np.clip(c - side // 2, 0, max(0, n - side))) for c, n in ((y, height), (x, width)))
        st.session_state[key] = (top + side // 2, left + side // 2)  # not beyond the edge
        box = (top, left, min(top + side, height), min(left + side, width))
        first, last = ((round(x / factor), round(y / factor)) for y, x in (box[:2], box[2:]))
        marked = cv2.rectangle(small.copy(), first, last, OUTLINE, max(1, len(small) // 150))
        scale = um_per_px and um_per_px * factor
        answer = viewer(marked, f"{folder.name} whole {box}", scale, key=f"all {folder.name}")
        wanted = answer.point and (round(answer.point[0] * factor), round(answer.point[1] * factor))
        if wanted and wanted != st.session_state.get(f"asked {folder.name}"):
            st.session_state[f"asked {folder.name}"] = st.session_state[key] = wanted
            st.rerun()
        moves(key, side)
    with field:
        pixels, part = image.read(box, SHOWN_PX)
        numbers = labels.read(box, SHOWN_PX)[0].astype(np.int32)
        here = crystals[crystals["id"].isin(np.unique(numbers))]
        zoom = (part[3] - part[1]) / pixels.shape[1]
        version = f"{folder.name} {part}"
        st.caption(f"Rows {part[0]} to {part[2]}, columns {part[1]} to {part[3]}: {len(here)} crystals")
        found = [Crystals(numbers, here, version)]
        viewer(pixels, version, um_per_px and um_per_px * zoom, found, Shown(reports=False), f"field {folder.name}")


def moves(key: str, side: int) -> None:
    """Buttons to the neighbouring fields."""

    def move(down: int, across: int) -> None:
        y, x = st.session_state[key]
        st.session_state[key] = (y + down * side, x + across * side)

    steps = {"left": ("back", 0, -1), "up": ("upward", -1, 0), "down": ("downward", 1, 0), "right": ("forward", 0, 1)}
    for column, (name, (icon, *step)) in zip(st.columns(4), steps.items(), strict=True):
        words = f"One field {name}"
        column.button("", help=words, on_click=move, args=step, icon=f":material/arrow_{icon}:", key=f"{name} {key}")


def files(folder: Path, stem: str) -> None:
    """What was written, to take away."""
    written = sorted(folder.glob(f"{stem}_*.*"), key=lambda path: path.suffix != ".pdf")
    columns = st.columns(3)
    for k, path in enumerate(written):
        size = path.stat().st_size
        words = f"{path.name.removeprefix(f'{stem}_')} ({size / 2**20:.1f} MB)"
        if size <= LARGEST_DOWNLOAD:
            main = "primary" if k == 0 else "secondary"
            offer(
                columns[k % 3],
                words,
                path.read_bytes,
                path.name,
                key=f"{path.name} {folder.name}",
                type=main,
                width="stretch",
            )
    st.caption(f"All files: {plain(folder)}")


def page() -> None:
    session.enter()
    st.title("Mosaic")
    st.caption(
        "Stitched images of up to 1000 megapixels, measured window by window as if whole. It goes on when this page is "
        "closed; after a pause or a crash, Go on continues it."
    )
    new()
    folders = background.folders(FOLDER, "mosaic.json")
    if not folders:
        st.info("No mosaic yet: give a file above and press Start.", icon=":material/grid_on:")
    for folder in folders:
        begun, now = mosaic.load(folder), mosaic.state_of(folder)
        with st.container(border=True):
            st.markdown(f"**{plain(Path(begun.source).name)}** · profile {plain(begun.profile.name)}")
            if now.state == "done":
                if st.toggle("Show the result", key=f"show {folder.name}"):
                    results(folder, now.stem)
                continue
            watched = background.is_watched(folder, now.state)
            st.fragment(progress, run_every=1.0 if watched else None)(folder, watched)


page()
