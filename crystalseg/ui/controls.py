"""Widgets that several pages use: choosing images, settings, the running job."""

import io

import cv2
import numpy as np
import streamlit as st
from PIL import Image
from streamlit_image_coordinates import streamlit_image_coordinates

from crystalseg.calibration import Calibration, from_px_per_mm, from_scale_bar, from_um_per_px
from crystalseg.micrograph import FORMATS, Micrograph, MicrographError
from crystalseg.settings import Instances, Measuring, Scales, Settings, SettingsError
from crystalseg.synth import draw_grain
from crystalseg.tiling import TILE
from crystalseg.ui import state

SCALE_BAR_PX = 1000  # width at which the image is shown for marking its scale bar
FUSIONS = {
    "attention": "attention (SiMA): trust the resolution that suits each crystal's size",
    "average": "average of all resolutions",
    "maximum": "strongest of all resolutions",
}
RULES = {
    "exclude": "leave out crystals cut by the border (with correction)",
    "include": "count every crystal as seen",
}


def choose_micrographs() -> None:
    """Upload, samples, and which micrograph is being worked on; in the sidebar."""
    uploads = st.file_uploader(
        "Micrographs",
        type=list(FORMATS),
        accept_multiple_files=True,
        help="PNG, JPEG, BMP or TIFF, also 16-bit. Files stay on this machine.",
    )
    for problem in state.add_uploads(uploads):
        st.error(problem, icon=":material/block:")
    with st.expander("Or try a sample", expanded=not state.items()):
        for title, path in state.sample_files().items():
            if st.button(title, width="stretch"):
                st.session_state["current"] = state.add(path.read_bytes(), path.name)
        if st.button(
            "synthetic polycrystal (0.5 µm/px)", width="stretch", help="One huge crystal among tiny ones, drawn anew."
        ):
            st.session_state["current"] = _add_synthetic()
    held = state.items()
    if len(held) > 1:
        keys = list(held)
        now = st.session_state.get("current")
        chosen = st.radio(
            "Working on", keys, index=keys.index(now) if now in held else 0, format_func=lambda k: held[k].original.name
        )
        st.session_state["current"] = chosen


def _add_synthetic() -> str:
    buffer = io.BytesIO()
    Image.fromarray(draw_grain(7, 1, 2).image).save(buffer, "PNG")
    key = state.add(buffer.getvalue(), "synthetic polycrystal.png")
    state.items()[key].calibrate(Calibration(0.5, "synthetic image of known scale"))
    return key


def _floats(text: str, name: str) -> tuple[float | None, ...]:
    values: list[float | None] = []
    for word in text.replace(";", ",").split(","):
        word = word.strip().rstrip("%").strip()
        if word.lower() == "auto":
            values.append(None)
        elif word:
            try:
                values.append(float(word))
            except ValueError:
                raise SettingsError(f"{name}: '{word}' is not a number.") from None
    return tuple(values)


def choose_scales() -> Scales | None:
    """Resize factors, thresholds and fusion; None, with the reason shown, while they make no sense."""
    factors = st.text_input(
        "Resize factors",
        "auto, 0.5, 0.75, 1",
        help="The image is analysed at each of these sizes, smallest first. Small factors see large crystals whole, 1 "
        "sees the smallest. 'auto' shrinks the whole image to 224 px. Factors above 1 enlarge.",
    )
    thresholds = st.text_input(
        "Size thresholds, % of the longer side",
        "100, 50, 25, 12.5",
        help="As many as factors, from 100 down. Crystals longer than the second number are taken from the first "
        "factor, and so on; the last factor takes all crystals up to the last number.",
    )
    fusion = st.selectbox("Fusion", list(FUSIONS), format_func=FUSIONS.get, help="How the resolutions become one.")
    try:
        return Scales(_floats(factors, "Resize factors"), _floats(thresholds, "Size thresholds"), fusion)
    except SettingsError as error:
        st.error(str(error), icon=":material/block:")
        return None


def choose_instances() -> Instances:
    """Foreground threshold and smallest area: applied at once to a finished run."""
    threshold = st.slider(
        "Foreground threshold h",
        -3.0,
        3.0,
        0.0,
        0.1,
        help="Higher: only pixels that surely are crystal count, so crystals shrink and faint ones vanish. Paper: 0.",
    )
    area = st.number_input(
        "Smallest crystal, px²",
        1,
        100_000,
        Instances().min_area,
        help="Smaller pieces are dropped as noise, not measured.",
    )
    confidence = st.slider(
        "Lowest confidence",
        0.0,
        1.0,
        Instances().min_confidence,
        0.05,
        help="Crystals the network is less sure of than this are dropped. 0 keeps all; hover over a crystal to see its "
        "confidence.",
    )
    return Instances(float(threshold), int(area), float(confidence))


def choose_measuring() -> Measuring:
    rule = st.selectbox(
        "Border rule",
        list(RULES),
        format_func=RULES.get,
        help="Large crystals are cut by the image border more often than small ones. Leaving cut crystals out and "
        "weighting the rest (Miles–Lantuéjoul, ISO 13322-1) makes up for that.",
    )
    return Measuring(rule)


def choose_pixel_size(item: state.Item) -> None:
    """Calibration by hand; what the file itself says is kept unless replaced."""
    found = item.original.calibration
    if found:
        st.success(f"{found.um_per_px:.5g} µm per pixel: {found.source}.", icon=":material/straighten:")
    else:
        st.info(
            "This file states no pixel size. Until you give one, all sizes are in pixels.", icon=":material/straighten:"
        )
    how = st.radio("Give the pixel size", ("µm per pixel", "pixels per mm", "scale bar in the image"), horizontal=True)
    try:
        if how == "scale bar in the image":
            new = _scale_bar(item)
        else:
            value = st.number_input(how, 0.0, None, 0.0, format="%.6g", key=f"pixel size {how} {item.key}")
            make = from_um_per_px if how == "µm per pixel" else from_px_per_mm
            new = make(value) if value > 0 else None
    except ValueError as error:
        st.error(str(error), icon=":material/block:")
        return
    if new and st.button(f"Use {new.um_per_px:.5g} µm per pixel", type="primary"):
        item.calibrate(new)
        st.rerun()


def _scale_bar(item: state.Item) -> Calibration | None:
    st.caption("Drag from one end of the bar to the other, or type the ends.")
    pixels = item.original.pixels
    # The bar is nearly always low in the image, where it can be shown larger.
    top = pixels.shape[0] * 2 // 3 if st.checkbox("Show the lowest third only", True) else 0
    factor = SCALE_BAR_PX / pixels.shape[1]
    shown = cv2.resize(pixels[top:], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    dragged = streamlit_image_coordinates(shown, key=f"bar {item.key} {top}", click_and_drag=True)
    ends = st.session_state.setdefault(f"ends {item.key}", [0.0, 0.0, 0.0, 0.0])
    if dragged:
        ends[:] = [
            dragged["x1"] / factor, dragged["y1"] / factor + top, dragged["x2"] / factor, dragged["y2"] / factor + top,
        ]  # fmt: skip
    columns = st.columns(5)
    names = ("left x, px", "left y, px", "right x, px", "right y, px")
    values = [c.number_input(n, 0.0, None, round(e, 1)) for c, n, e in zip(columns, names, ends, strict=False)]
    length = columns[4].number_input("length, µm", 0.0, None, 0.0, format="%.6g")
    if length <= 0 or values == [0.0] * 4:
        return None
    return from_scale_bar(length, (values[0], values[1]), (values[2], values[3]))


def choose_region(item: state.Item) -> Micrograph | None:
    """Data bar and rectangle; returns the part to be measured, or None with the reason shown."""
    height, width = item.original.shape
    if item.bar is not None:
        item.exclude_bar = st.checkbox(
            f"Leave out the data bar below row {item.bar}",
            item.exclude_bar,
            help="A band with writing was found at the lower edge. It is never measured as crystals while excluded.",
        )
    if st.checkbox("Measure a rectangle only", item.region is not None, key=f"rectangle {item.key}"):
        now = item.region or (0, 0, height, width)
        columns = st.columns(4)
        names = ("top", "left", "bottom", "right")
        most = (height, width, height, width)
        item.region = tuple(
            int(c.number_input(f"{n}, px", 0, m, v, key=f"{n} {item.key}"))
            for c, n, m, v in zip(columns, names, most, now, strict=True)
        )
    else:
        item.region = None
    try:
        return item.prepared()
    except MicrographError as error:
        st.error(str(error), icon=":material/block:")
        return None


def preview_scales(micrograph: Micrograph, scales: Scales) -> None:
    """What each scale sees: the part of the image that one tile of the network covers at each factor."""
    height, width = micrograph.shape
    columns = st.columns(len(scales.factors))
    for column, factor in zip(columns, scales.ladder(micrograph.shape), strict=True):
        side = min(round(TILE / factor), max(height, width))
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        piece = micrograph.pixels[top : top + side, left : left + side]
        with column:
            st.image(_as_seen(piece, factor), width="stretch")
            unit = f" = {side * micrograph.um_per_px:.4g} µm" if micrograph.um_per_px else ""
            st.caption(f"× {factor:.3g}: one look covers {side} px{unit}")


def _as_seen(piece: np.ndarray, factor: float) -> np.ndarray:
    size = (max(1, round(piece.shape[1] * factor)), max(1, round(piece.shape[0] * factor)))
    small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return cv2.resize(small, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_NEAREST)


def run_button(item: state.Item, micrograph: Micrograph | None, settings: Settings | None) -> None:
    """Start a run, or show the one in progress."""
    job = state.queue().look(item.job) if item.job else None
    if job and job.active:
        _watch(item.job)
        return
    if job and job.status == "failed":
        st.error(job.error, icon=":material/block:")
    elif job and job.status == "cancelled":
        st.warning("The run was cancelled.", icon=":material/stop_circle:")
    ready = micrograph is not None and settings is not None
    if st.button("Run", type="primary", disabled=not ready, icon=":material/play_arrow:", key="run"):
        item.job = state.queue().submit(micrograph, settings)
        st.rerun()


@st.fragment(run_every=0.5)
def _watch(job_id: str) -> None:
    job = state.queue().look(job_id)
    if job is None or not job.active:
        st.rerun()
    waiting = [j.id for j in state.queue().active()].index(job_id) if job.status == "queued" else 0
    words = f"waiting for {waiting} other run(s)" if waiting else job.stage
    bar, stop = st.columns((5, 1), vertical_alignment="center")
    bar.progress(min(job.share, 1.0), text=f"{words} · {100 * job.share:.0f} %")
    if stop.button("Cancel", icon=":material/stop_circle:"):
        state.queue().cancel(job_id)
