"""Widgets that choose images: upload, examples, pixel size, region."""

import io
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import streamlit as st
from PIL import Image
from streamlit_image_coordinates import streamlit_image_coordinates

from crystalseg.micrographs import examples
from crystalseg.micrographs.calibration import Calibration, from_px_per_mm, from_scale_bar, from_um_per_px
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.micrographs.inscriptions import find_scale_bar
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import instruments
from crystalseg.record.instruments import Instrument
from crystalseg.synthetic.sets import draw_grain
from crystalseg.ui import session, shared
from crystalseg.ui.choices import NUMBER, kept, linked
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import refuse, telling

SCALE_BAR_PX = 1000  # width of the image for marking its scale bar


def choose_micrographs() -> None:
    """Show uploads, examples and the choice of the current micrograph in the sidebar."""
    uploads = st.file_uploader(
        "Micrographs",
        type=list(FORMATS),
        accept_multiple_files=True,
        help="PNG, JPEG, BMP or TIFF, also 16-bit. Files stay on this machine.",
    )
    for problem in session.add_uploads(uploads):
        refuse(problem)
    for upload in session.large_uploads().values():
        st.info(plain(f"{upload.name} is large. The Measure page measures it in windows."), icon=":material/grid_on:")
    session.current()
    with st.expander("Or try an example", expanded=any(item.opener for item in session.items().values())):
        for title, path in examples.files().items():
            if st.button(title, width="stretch"):
                st.session_state["current"] = session.add(path.read_bytes(), path.name)
        if st.button(
            "synthetic polycrystal (0.5 µm/px)",
            width="stretch",
            help="One huge crystal among tiny ones. Each click draws a new image.",
        ):
            st.session_state["current"] = _add_synthetic()
    held = session.items()
    if len(held) > 1:
        keys = list(held)
        now = st.session_state.get("current")
        chosen = st.radio(
            "Working on",
            keys,
            index=keys.index(now) if now in held else 0,
            format_func=lambda k: plain(_told_apart(k, held)),
        )
        st.session_state["current"] = chosen
        if st.button("Remove it from the list", icon=":material/close:", help="Its runs stay on record."):
            session.remove(chosen)
            st.rerun()


def _told_apart(key: str, held: dict[str, session.Item]) -> str:
    """A micrograph's name, with the first signs of its file's hash where two have the same."""
    name, sha256 = held[key].original.name, held[key].original.sha256
    alike = sum(item.original.name == name for item in held.values()) > 1
    return f"{name} ({sha256[:6]})" if alike else name


def _add_synthetic() -> str:
    buffer = io.BytesIO()
    Image.fromarray(draw_grain(7, 1, 2).image).save(buffer, "PNG")
    key = session.add(buffer.getvalue(), "synthetic polycrystal.png")
    session.items()[key].calibrate(Calibration(0.5, "synthetic image of known scale"))
    return key


def choose_pixel_size(item: session.Item) -> None:
    """Let the user calibrate by hand. The pixel size that the file states is kept unless replaced."""
    stated = item.original.calibration
    if stated:
        st.success(f"{stated.um_per_px:.5g} µm per pixel: {plain(stated.source)}.", icon=":material/straighten:")
    else:
        st.info(
            "This file states no pixel size. Until you enter one, all sizes are in pixels.",
            icon=":material/straighten:",
        )
    saved = instruments.instruments(shared.engine())
    ways = [*(["saved calibration"] if saved else []), "µm per pixel", "pixels per mm", "scale bar in the image"]
    way = kept(f"pixel size by {item.key}", ways[0], ways)
    how = st.radio("Give the pixel size", ways, horizontal=True, **way)
    new = None
    with telling():
        if how == "saved calibration":
            names = list(saved)
            name = st.selectbox("Instrument and objective", names, **kept(f"instrument {item.key}", names[0], names))
            new = saved[name].calibration()
        elif how == "scale bar in the image":
            new = _scale_bar(item)
        else:
            new = _typed(item, how)
    if new is None:
        return
    spread = f", ± {100 * new.uncertainty:.2g} %" if new.uncertainty is not None else ""
    if st.button(f"Use {new.um_per_px:.5g} µm per pixel{spread}", type="primary"):
        item.calibrate(new)
        st.rerun()
    if how != "saved calibration":
        _save_instrument(item, new)


def _typed(item: session.Item, how: str) -> Calibration | None:
    """Return the typed µm per pixel or pixels per mm."""
    columns = st.columns(2)
    size, uncertainty = f"pixel size {how} {item.key}", f"uncertainty {how} {item.key}"
    value = columns[0].number_input(how, 0.0, None, format=NUMBER, **kept(size, 0.0))
    percent = columns[1].number_input(
        "Its standard uncertainty, % (empty: unknown)", 0.0, 99.0, None, format=NUMBER, **kept(uncertainty)
    )
    make = from_um_per_px if how == "µm per pixel" else from_px_per_mm
    new = make(value) if value > 0 else None
    return replace(new, uncertainty=percent / 100) if new and percent is not None else new


def _save_instrument(item: session.Item, new: Calibration) -> None:
    """Save the pixel size by name for other images of the same instrument and objective."""
    with st.popover("Save it for this instrument", icon=":material/save:"):
        name = st.text_input("Instrument and objective", placeholder="SEM 2, 500 ×", key=f"name {item.key}")
        date = st.date_input("Date of the calibration", key=f"date {item.key}")
        length = st.number_input("Certified length, µm (0: none)", 0.0, None, 0.0, key=f"length {item.key}")
        wide = st.number_input("Its standard uncertainty, µm (empty: unknown)", 0.0, None, None, key=f"wide {item.key}")
        certificate = st.text_input("Certificate", key=f"certificate {item.key}")
        if st.button("Save", disabled=not name.strip(), key=f"save {item.key}"):
            instrument = Instrument(
                name.strip(),
                new.um_per_px,
                new.uncertainty,
                date.isoformat(),
                length or None,
                wide if length else None,
                certificate,
            )
            instruments.save(shared.engine(), instrument, session.who())
            st.success(f"{plain(instrument.name)} is on record and offered for every image.", icon=":material/check:")


def _scale_bar(item: session.Item) -> Calibration | None:
    st.caption("Drag from one end of the bar to the other, or type the ends.")
    pixels = item.original.pixels
    # The bar is nearly always in the lowest part of the image, which can be shown larger.
    low = st.checkbox("Show the lowest third only", **kept(f"lowest third {item.key}", True))
    top = pixels.shape[0] * 2 // 3 if low else 0
    factor = SCALE_BAR_PX / pixels.shape[1]
    ends = st.session_state.setdefault(f"ends {item.key}", [0.0, 0.0, 0.0, 0.0])
    proposal = find_scale_bar(pixels)
    if proposal is not None and ends != list(proposal):
        left, right = st.columns((3, 1), vertical_alignment="center")
        left.info(
            f"This may be the scale bar: a stripe {proposal[2] - proposal[0]:.0f} px long, drawn in orange.",
            icon=":material/straighten:",
        )
        if right.button("Use the ends of this stripe", key=f"take {item.key}"):
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
            dragged["x1"] / factor,
            dragged["y1"] / factor + top,
            dragged["x2"] / factor,
            dragged["y2"] / factor + top,
        ]
    columns = st.columns(6)
    names = ("left x, px", "left y, px", "right x, px", "right y, px")
    for k, name in enumerate(names):
        columns[k].number_input(
            name, 0.0, None, format="%.1f", **linked(f"{name} {item.key}", float(ends[k]), partial(_set, ends, k))
        )
    values = list(ends)
    length = columns[4].number_input("length, µm", 0.0, None, format=NUMBER, **kept(f"bar length {item.key}", 0.0))
    wide = columns[5].number_input(
        "± µm",
        0.0,
        None,
        None,
        format=NUMBER,
        placeholder="not known",
        help="Standard uncertainty of the length. If empty, the uncertainty of the pixel size is unknown too.",
        **kept(f"bar length ± {item.key}", None),
    )
    if length <= 0 or values == [0.0] * 4:
        return None
    return from_scale_bar(length, (values[0], values[1]), (values[2], values[3]), wide)


def _set(values: list, index: int, value: Any) -> None:
    values[index] = value


def choose_region(item: session.Item) -> Micrograph | None:
    """Choose data bar and rectangle. Returns the part to measure, or None after showing why there is none."""
    height, width = item.original.shape
    if item.original.channels > 1:
        channels, now = item.original.channels, item.original.channel
        words = "Which detector or channel of the file."
        channel = int(st.number_input("Channel", 1, channels, now, key=f"channel {item.key}", help=words))
        if channel != now:
            item.choose_channel(channel)
            st.rerun()
    if item.bar is not None:
        st.checkbox(
            f"Leave out the data bar below row {item.bar}",
            help="There is a band with text at the lower edge. While it is excluded, it is never measured as crystals.",
            **linked(f"exclude bar {item.key}", item.exclude_bar, partial(setattr, item, "exclude_bar")),
        )

    def rectangle(wanted: bool) -> None:
        item.region = (0, 0, height, width) if wanted else None

    def side(index: int, value: int) -> None:
        sides = list(item.region or (0, 0, height, width))
        sides[index] = int(value)
        item.region = (sides[0], sides[1], sides[2], sides[3])

    st.checkbox("Measure a rectangle only", **linked(f"rectangle {item.key}", item.region is not None, rectangle))
    if item.region is not None:
        names, most = ("top", "left", "bottom", "right"), (height, width, height, width)
        for k, (column, name) in enumerate(zip(st.columns(4), names, strict=True)):
            entered = linked(f"{name} {item.key}", item.region[k], partial(side, k))
            column.number_input(f"{name}, px", 0, most[k], step=1, **entered)
    with telling():
        return item.prepared()
    return None


EACH, BY_HAND = "as each image states", "given by hand"


def pixel_size_of_all(key: str) -> Calibration | None:
    """Return the pixel size for all images: that of a saved instrument, one given by hand, or None, which uses what
    each image states. `key`: prefix of the page's widgets."""
    saved = instruments.instruments(shared.engine())
    how = st.selectbox(
        "Pixel size",
        [EACH, BY_HAND, *saved],
        help="A pixel size given here applies to all images. An image that states another one is not measured.",
        **kept(f"{key} pixel size", EACH, [EACH, BY_HAND, *saved]),
    )
    if how == EACH:
        return None
    if how != BY_HAND:
        return saved[how].calibration()
    um = st.number_input("µm per pixel", 0.0, None, format=NUMBER, **kept(f"{key} µm per pixel", 0.0))
    percent = st.number_input(
        "Its standard uncertainty, % (empty: unknown)", 0.0, 99.0, None, format=NUMBER, **kept(f"{key} uncertainty")
    )
    return from_um_per_px(um, percent) if um > 0 else None
