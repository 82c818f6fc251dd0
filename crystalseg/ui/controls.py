"""Widgets that several pages use: choosing images, settings, the running job."""

import io
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import streamlit as st
from PIL import Image
from streamlit_image_coordinates import streamlit_image_coordinates

from crystalseg import samples
from crystalseg.calibration import Calibration, from_px_per_mm, from_scale_bar, from_um_per_px
from crystalseg.instruments import Instrument
from crystalseg.micrograph import FORMATS, Micrograph, MicrographError, find_scale_bar
from crystalseg.settings import LADDERS, METHODS, PACKAGE, Instances, Measuring, Scales, Settings, SettingsError
from crystalseg.synth import draw_grain
from crystalseg.tiling import TILE
from crystalseg.ui import state

SCALE_BAR_PX = 1000  # width at which the image is shown for marking its scale bar
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
    state.current()
    with st.expander("Or try a sample", expanded=any(item.opener for item in state.items().values())):
        for title, path in samples.files().items():
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
        if st.button("Remove it from the list", icon=":material/close:", help="Its runs stay in the record."):
            state.remove(chosen)
            st.rerun()


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


def choose_profile() -> None:
    """A profile for all that follows, which sets every control to its settings; or a product, for its default."""
    profile_box("profile", "none: choose below", _apply_profile)


def _apply_profile() -> None:
    profile = state.profile()
    if profile is not None:
        state.choose(profile.settings)


def profile_box(key: str, none: str, changed: Callable[[], None] = lambda: None) -> None:
    """Product and profile; the profile's name is in the session under `key`. Choosing a product takes its default;
    `none` says what goes without a profile."""
    held, known = st.session_state, state.profiles()
    products = sorted({profile.product for profile in known.values() if profile.product})
    of_product = f"{key} product"
    if held.get(of_product) not in products:
        held[of_product] = None

    def take_default() -> None:
        default = state.default_profile(held[of_product])
        held[key] = default.name if default else None
        changed()

    if products:
        st.selectbox(
            "Product", products, key=of_product, placeholder="any", on_change=take_default,
            help="Choosing one takes its default profile.",
        )  # fmt: skip
    names = [name for name, profile in known.items() if held[of_product] in (None, profile.product)]
    if held.get(key) not in names:
        held[key] = None
    st.selectbox(
        "Profile",
        names,
        key=key,
        placeholder=none,
        disabled=not names,
        on_change=changed,
        help="Everything chosen once for a product, its limits too. Profiles are made on the Profiles page.",
    )


def choose_method() -> str | None:
    """The method by name; None, with the reason shown, while a model of the cellpose package is not named."""
    method = st.selectbox(
        "Method",
        list(METHODS),
        key="method",
        help="SiMA+ is the best on our test images; the others are there for comparison.",
    )
    st.caption(METHODS[method])
    if method != PACKAGE:
        return method
    model = st.text_input(
        "Model of the cellpose package", key="package model", help="The path of a model file, or a name such as cyto3."
    )
    if not model:
        st.info("Name a model first.", icon=":material/edit:")
        return None
    return f"{PACKAGE}:{model}"


def choose_scales(method: str) -> Scales | None:
    """Resize factors and thresholds; None, with the reason shown, while they make no sense."""
    if method not in LADDERS:
        return Scales()
    plus = method == "sima-plus"
    key = "factors plus" if plus else "factors"
    st.session_state.setdefault(key, "" if plus else "auto, 0.5, 0.75, 1")
    factors = st.text_input(
        "Resize factors",
        placeholder="as many halvings as the image needs",
        key=key,
        help="The image is analysed at each of these sizes, smallest first. Small factors see large crystals whole, 1 "
        "sees the smallest. 'auto' shrinks the whole image to 224 px. Factors above 1 enlarge. Empty: halved from 1 "
        "until the image is small; and 2 where crystals under 20 px are, if many are.",
    )
    st.session_state.setdefault("thresholds", "100, 50, 25, 12.5")
    thresholds = "" if method != "sima" else st.text_input(
        "Size thresholds, % of the longer side",
        key="thresholds",
        help="As many as factors, from 100 down. Crystals longer than the second number are taken from the first "
        "factor, and so on; the last factor takes all crystals up to the last number.",
    )  # fmt: skip
    try:
        return Scales(_floats(factors, "Resize factors"), _floats(thresholds, "Size thresholds"))
    except SettingsError as error:
        st.error(str(error), icon=":material/block:")
        return None


def choose_instances() -> Instances:
    """Foreground threshold, smallest area and least confidence: applied at once to a finished run."""
    usual = Instances()
    st.session_state.setdefault("foreground", usual.foreground_threshold)
    st.session_state.setdefault("min area", usual.min_area)
    st.session_state.setdefault("min confidence", usual.min_confidence)
    st.slider(
        "Foreground threshold h",
        -3.0,
        3.0,
        step=0.1,
        key="foreground",
        help="Higher: only pixels that surely are crystal count, so crystals shrink and faint ones vanish. Paper: 0.",
    )
    st.number_input(
        "Smallest crystal, px²", 1, 100_000, key="min area", help="Smaller pieces are dropped as noise, not measured."
    )
    st.slider(
        "Lowest confidence",
        0.0,
        1.0,
        step=0.05,
        key="min confidence",
        help="Crystals the network is less sure of than this are dropped. 0 keeps all; hover over a crystal to see its "
        "confidence.",
    )
    return state.instances()


def choose_measuring() -> Measuring:
    """The border rule."""
    st.selectbox(
        "Border rule",
        list(RULES),
        format_func=RULES.get,
        key="border rule",
        help="Large crystals are cut by the image border more often than small ones. Leaving cut crystals out and "
        "weighting the rest (Miles–Lantuéjoul, ISO 13322-1) makes up for that.",
    )
    return state.measuring()


def choose_pixel_size(item: state.Item) -> None:
    """Calibration by hand; what the file itself says is kept unless replaced."""
    found = item.original.calibration
    if found:
        st.success(f"{found.um_per_px:.5g} µm per pixel: {found.source}.", icon=":material/straighten:")
    else:
        st.info(
            "This file states no pixel size. Until you give one, all sizes are in pixels.", icon=":material/straighten:"
        )
    known = state.instruments()
    ways = [*(["saved calibration"] if known else []), "µm per pixel", "pixels per mm", "scale bar in the image"]
    how = st.radio("Give the pixel size", ways, horizontal=True)
    try:
        if how == "saved calibration":
            name = st.selectbox("Instrument and objective", list(known), key=f"instrument {item.key}")
            new = known[name].calibration()
        elif how == "scale bar in the image":
            new = _scale_bar(item)
        else:
            columns = st.columns(2)
            value = columns[0].number_input(how, 0.0, None, 0.0, format="%.6g", key=f"pixel size {how} {item.key}")
            percent = columns[1].number_input(
                "Its standard uncertainty, % (empty: not known)", 0.0, 99.0, None, key=f"uncertainty {how} {item.key}"
            )
            make = from_um_per_px if how == "µm per pixel" else from_px_per_mm
            new = make(value) if value > 0 else None
            if new and percent is not None:
                new = replace(new, uncertainty=percent / 100)
    except ValueError as error:
        st.error(str(error), icon=":material/block:")
        return
    if new is None:
        return
    stated = f", ± {100 * new.uncertainty:.2g} %" if new.uncertainty is not None else ""
    if st.button(f"Use {new.um_per_px:.5g} µm per pixel{stated}", type="primary"):
        item.calibrate(new)
        st.rerun()
    if how != "saved calibration":
        _save_instrument(item, new)


def _save_instrument(item: state.Item, new: Calibration) -> None:
    """Keep the pixel size by name for later images of the same instrument and objective."""
    with st.popover("Save it for this instrument", icon=":material/save:"):
        name = st.text_input("Instrument and objective", placeholder="SEM 2, 500 ×", key=f"name {item.key}")
        date = st.date_input("Date of the calibration", key=f"date {item.key}")
        length = st.number_input("Certified length, µm (0: none)", 0.0, None, 0.0, key=f"length {item.key}")
        wide = st.number_input("Its standard uncertainty, µm", 0.0, None, 0.0, key=f"wide {item.key}")
        certificate = st.text_input("Certificate", key=f"certificate {item.key}")
        if st.button("Save", disabled=not name.strip(), key=f"save {item.key}"):
            made = Instrument(
                name.strip(), new.um_per_px, new.uncertainty, date.isoformat(), length or None,
                wide if length else None, certificate,
            )  # fmt: skip
            state.save_instrument(made)
            st.success(f"{made.name} is on record and offered for every image.", icon=":material/check:")


def _scale_bar(item: state.Item) -> Calibration | None:
    st.caption("Drag from one end of the bar to the other, or type the ends.")
    pixels = item.original.pixels
    # The bar is nearly always low in the image, where it can be shown larger.
    top = pixels.shape[0] * 2 // 3 if st.checkbox("Show the lowest third only", True) else 0
    factor = SCALE_BAR_PX / pixels.shape[1]
    ends = st.session_state.setdefault(f"ends {item.key}", [0.0, 0.0, 0.0, 0.0])
    proposal = find_scale_bar(pixels)
    if proposal is not None and ends != list(proposal):
        left, right = st.columns((3, 1), vertical_alignment="center")
        left.info(
            f"This may be the bar: a stripe {proposal[2] - proposal[0]:.0f} px long, drawn in orange.",
            icon=":material/straighten:",
        )
        if right.button("Take its ends", key=f"take {item.key}"):
            ends[:] = proposal
            st.rerun()
    shown = cv2.resize(pixels[top:], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    for x0, y0, x1, y1 in [p for p in (proposal, tuple(ends)) if p is not None and any(p)]:
        a, b = ((round(x * factor), round((y - top) * factor)) for x, y in ((x0, y0), (x1, y1)))
        shown = cv2.line(shown.copy(), a, b, (213, 94, 0), 2)
    dragged = streamlit_image_coordinates(shown, key=f"bar {item.key} {top}", click_and_drag=True)
    if dragged and dragged != st.session_state.get(f"dragged {item.key}"):
        st.session_state[f"dragged {item.key}"] = dragged
        ends[:] = [
            dragged["x1"] / factor, dragged["y1"] / factor + top, dragged["x2"] / factor, dragged["y2"] / factor + top,
        ]  # fmt: skip
    columns = st.columns(6)
    names = ("left x, px", "left y, px", "right x, px", "right y, px")
    values = [c.number_input(n, 0.0, None, round(e, 1)) for c, n, e in zip(columns, names, ends, strict=False)]
    length = columns[4].number_input("length, µm", 0.0, None, 0.0, format="%.6g")
    wide = columns[5].number_input("± µm", 0.0, None, 0.0, format="%.6g", help="Standard uncertainty of the length.")
    if length <= 0 or values == [0.0] * 4:
        return None
    return from_scale_bar(length, (values[0], values[1]), (values[2], values[3]), wide)


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


def preview_scales(micrograph: Micrograph, settings: Settings) -> None:
    """What each scale sees: the part of the image that one tile of the network covers at each factor."""
    height, width = micrograph.shape
    factors = settings.ladder(micrograph.shape)
    for column, factor in zip(st.columns(len(factors)), factors, strict=True):
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


def sidebar() -> None:
    """What every page but Measure has at its side: the micrographs, and whose corrections these are."""
    with st.sidebar:
        choose_micrographs()
        st.caption(f"Thresholds ({state.instances().name}) and border rule are set on the Measure page.")


def finished(item: state.Item | None) -> bool:
    """Whether there is a result to look at; if not, says what to do."""
    if item is None:
        st.info("Upload a micrograph on the left, or choose a sample.", icon=":material/upload:")
        return False
    job = state.queue().look(item.job) if item.job else None
    if job and job.active:
        watch(item.job)
        return False
    if job and job.status == "done" and state.result(item.job) is not None:
        return True
    if job and job.status == "failed":
        st.error(job.error, icon=":material/block:")
    st.info(f"{item.original.name} is not measured yet: go to Measure and press Run.", icon=":material/straighten:")
    return False


def result_page(title: str, caption: str, show: Callable[[state.Item], None]) -> None:
    """A page about the micrograph's finished run, which `show` draws."""
    state.preserve()
    sidebar()
    st.title(title)
    st.caption(caption)
    item = state.current()
    if finished(item):
        st.subheader(item.original.name)
        show(item)


def run_button(item: state.Item, micrograph: Micrograph | None, settings: Settings | None) -> None:
    """Start a run, or show the one in progress."""
    job = state.queue().look(item.job) if item.job else None
    if job and job.active:
        watch(item.job)
        return
    if job and job.status == "failed":
        st.error(job.error, icon=":material/block:")
    elif job and job.status == "cancelled":
        st.warning("The run was cancelled.", icon=":material/stop_circle:")
    ready = micrograph is not None and settings is not None
    if st.button("Run", type="primary", disabled=not ready, icon=":material/play_arrow:", key="run"):
        item.job = item.run(micrograph, settings)
        st.rerun()


@st.fragment(run_every=0.5)
def watch(job_id: str) -> None:
    """The progress of a run, with a button to stop it."""
    job = state.queue().look(job_id)
    if job is None or not job.active:
        st.rerun()
    waiting = [j.id for j in state.queue().active()].index(job_id) if job.status == "queued" else 0
    words = f"waiting for {waiting} other run(s)" if waiting else job.stage
    bar, stop = st.columns((5, 1), vertical_alignment="center")
    bar.progress(min(job.share, 1.0), text=f"{words} · {100 * job.share:.0f} %")
    if stop.button("Cancel", icon=":material/stop_circle:", key=f"cancel {job_id}"):
        state.queue().cancel(job_id)
