"""Widgets that choose images: upload, examples, pixel size, region."""

import datetime
import io
from functools import partial
from typing import Any

import cv2
import streamlit as st
from PIL import Image
from streamlit_image_coordinates import streamlit_image_coordinates

from crystalseg.execution.queue import EXAMPLE
from crystalseg.measurement.rounding import at_most
from crystalseg.micrographs import examples
from crystalseg.micrographs.calibration import BY_HAND, Calibration, by_hand, from_scale_bar
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.micrographs.headers import ENDINGS
from crystalseg.micrographs.inscriptions import find_scale_bar
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import index, instruments
from crystalseg.record.instruments import Instrument
from crystalseg.record.runs import find as find_run
from crystalseg.synthetic.sets import draw_grain
from crystalseg.ui import session, shared
from crystalseg.ui.choices import kept, linked, number_field
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import refuse, telling

TYPED, SCALE_BAR, SAVED = "typed", "scale bar in the image", "saved calibration"  # ways to give a pixel size
LATEST = 5  # runs offered to go on with
SCALE_BAR_PX = 1000  # width of the image for marking its scale bar


def choose_micrographs() -> None:
    """Show uploads, examples and the choice of the current micrograph in the sidebar."""
    uploads = st.file_uploader(
        "Micrographs",
        type=[*FORMATS, *ENDINGS],
        accept_multiple_files=True,
        help="PNG, JPEG, JPEG 2000, WebP, BMP or TIFF, also 16-bit, with the text files (TXT, HDR, XML) in which a "
        "microscope states the pixel size. Files stay on this machine.",
    )
    for problem in session.add_uploads(uploads):
        refuse(problem)
    for upload, *_ in session.large_uploads().values():
        st.info(plain(f"{upload.name} is large. The Measure page measures it in windows."), icon=":material/grid_on:")
    session.current()
    _go_on()
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


def _go_on() -> None:
    """Offer what this person measured last, other than what is in the session already."""
    held = {item.job for item in session.items().values()}
    query = index.Query(tuple(session.who().split()))
    rows = index.runs(shared.engine(), query, LATEST + len(held), only=("run", "image", "created"))
    rows = [row for row in rows.itertuples() if row.run not in held and not row.run.startswith(EXAMPLE)][:LATEST]
    if not rows:
        return
    with st.expander("Go on with …"), telling():
        for row in rows:
            words = f"{plain(row.image)} · {row.created[:16].replace('T', ' ')} UTC"
            if st.button(words, key=f"go on {row.run}", width="stretch"):
                session.take_up(find_run(shared.engine(), row.run))
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


def choose_pixel_size(item: session.Item) -> bool:
    """Let the user calibrate by hand. What is entered holds at once; without it, what the file states holds. Returns
    False, after showing the reason, if what is entered cannot be used."""
    now = item.original.calibration
    if now:
        st.success(f"{at_most(now.um_per_px)} µm per pixel: {plain(now.source)}.", icon=":material/straighten:")
    else:
        st.info(
            "This file states no pixel size. Until you enter one, all sizes are in pixels.",
            icon=":material/straighten:",
        )
    saved = instruments.instruments(shared.engine())
    ways = [TYPED, SCALE_BAR, *([SAVED] if saved else [])]
    how = st.radio("Give the pixel size", ways, horizontal=True, **kept(f"pixel size by {item.key}", ways[0], ways))
    new, usable = None, False
    with telling():
        if how == SAVED:
            names = list(saved)
            name = st.selectbox("Instrument and objective", names, None, **kept(f"instrument {item.key}", None, names))
            new = saved[name].calibration() if name else None
        elif how == SCALE_BAR:
            new = _scale_bar(item)
        else:
            new = _typed(item.key, item.original.shape[1])
        usable = True
    if item.entered(new):
        st.rerun()
    if new is not None and how != SAVED:
        _save_instrument(item, new)
    return usable


def _typed(key: str, width: int | None) -> Calibration | None:
    """Return the pixel size that was typed as one of BY_HAND. width: of the image, px; None without a single image,
    which leaves out the ways that need one."""
    ways = [way for way in BY_HAND if width is not None or not way.startswith("image width")]
    columns = st.columns(3)
    stated_as = columns[1].selectbox("Unit", ways, **kept(f"unit {key}", ways[0], ways))
    value = number_field("Pixel size or image width", f"pixel size {key}", place=columns[0], placeholder="0.05")
    words = "Its standard uncertainty, %"
    percent = number_field(words, f"uncertainty {key}", 0, 99, columns[2], placeholder="empty: unknown")
    return None if value is None else by_hand(stated_as, value, width or 0, percent)


def _save_instrument(item: session.Item, new: Calibration) -> None:
    """Save the pixel size by name for other images of the same instrument and objective."""
    with st.popover("Save it for this instrument", icon=":material/save:"), telling():
        key = item.key
        name = st.text_input("Instrument and objective", placeholder="SEM 2, 500 ×", **kept(f"name {key}", "")).strip()
        date = st.date_input("Date of the calibration", **kept(f"date {key}", datetime.date.today()))
        length = number_field("Certified length, µm", f"length {key}", placeholder="empty: none")
        wide = number_field("Its standard uncertainty, µm", f"wide {key}", placeholder="empty: unknown")
        certificate = st.text_input("Certificate", **kept(f"certificate {key}", ""))
        if st.button("Save", disabled=not name, key=f"save {key}"):
            wide = wide if length else None
            facts = (new.um_per_px, new.uncertainty, date.isoformat(), length or None, wide, certificate)
            instruments.save(shared.engine(), Instrument(name, *facts), session.who())
            st.success(f"{plain(name)} is on record and offered for every image.", icon=":material/check:")


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
    length = number_field("length, µm", f"bar length {item.key}", place=columns[4])
    words = "Standard uncertainty of the length. If empty, the uncertainty of the pixel size is unknown too."
    wide = number_field("± µm", f"bar length ± {item.key}", place=columns[5], placeholder="not known", help=words)
    if not length or values == [0.0] * 4:
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


EACH, TYPED_FOR_ALL = "as each image states", "given by hand"


def pixel_size_of_all(key: str) -> Calibration | None:
    """Return the pixel size for all images: that of a saved instrument, one given by hand, or None, which uses what
    each image states. `key`: prefix of the page's widgets."""
    saved = instruments.instruments(shared.engine())
    how = st.selectbox(
        "Pixel size",
        [EACH, TYPED_FOR_ALL, *saved],
        help="A pixel size given here applies to all images. An image that states another one is not measured.",
        **kept(f"{key} pixel size", EACH, [EACH, TYPED_FOR_ALL, *saved]),
    )
    if how == EACH:
        return None
    if how != TYPED_FOR_ALL:
        return saved[how].calibration()
    return _typed(key, None)
