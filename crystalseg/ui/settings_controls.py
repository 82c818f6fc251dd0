"""Widgets that choose how to measure: profile, method, scales, thresholds, border rule."""

from collections.abc import Callable

import cv2
import numpy as np
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.measurement.query import WORDS
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.models import Model, models
from crystalseg.record.profiles import default_of, profiles
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.methods import (
    FLOW_NETWORKS,
    LADDERS,
    METHODS,
    method_of,
    networks_in,
    runs_flow,
    words_of,
)
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings, SettingsError
from crystalseg.segmentation.tiling import TILE
from crystalseg.ui import session, shared, wording_controls
from crystalseg.ui.plain import plain

RULES: dict[str, str] = {
    "exclude": "leave out crystals cut by the border (with correction)",
    "include": "count every crystal as seen",
}


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
    profile = session.profile()
    if profile is not None:
        session.choose(profile.settings)


def profile_box(key: str, none: str, changed: Callable[[], None] = lambda: None) -> None:
    """Product and profile; the profile's name is in the session under `key`. Choosing a product takes its default;
    `none` says what goes without a profile."""
    held, offered = st.session_state, profiles(shared.engine())
    products = sorted({profile.product for profile in offered.values() if profile.product})
    of_product = f"{key} product"
    if held.get(of_product) not in products:
        held[of_product] = None

    def take_default() -> None:
        product = held[of_product]
        default = default_of(shared.engine(), product) if product else None
        held[key] = default.name if default else None
        changed()

    if products:
        st.selectbox(
            "Product",
            products,
            key=of_product,
            placeholder="any",
            on_change=take_default,
            help="Choosing one takes its default profile.",
        )
    names = [name for name, profile in offered.items() if held[of_product] in (None, profile.product)]
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


def flow_networks(chosen: str) -> dict[str, str]:
    """What SiMA+ can run, as `Settings.network` names it, in words: the shipped networks, the latest version of each
    model on record, and what is `chosen`."""
    offered = {name: f"{name}: {FLOW_NETWORKS[name]}" for name in networks_in()}
    latest: dict[str, Model] = {}
    for model in models(shared.engine()):
        latest.setdefault(model.name, model)
    for model in latest.values():
        offered[model.setting] = f"{model.reference}, for {model.material or 'any material'}: {model.words}"
    return offered if chosen in offered else {**offered, chosen: words_of(chosen)}


def choose_method() -> str | None:
    """The method by name; None, with the reason shown, while a model of the cellpose package is not named."""
    method = st.selectbox(
        "Method",
        list(METHODS),
        key="method",
        help="SiMA+ is the best on our test images; the others are there for comparison.",
    )
    st.caption(METHODS[method].words)
    st.session_state.setdefault("network", Settings().network)
    if METHODS[method].runs_sima_plus:
        offered = flow_networks(st.session_state["network"])
        st.selectbox(
            "Flow network",
            list(offered),
            key="network",
            format_func=offered.__getitem__,
            help="The shipped ones know many materials; models that know one better are made on the Teach page. A run "
            "is computed again as it was only with the network that made it.",
        )
        st.session_state.setdefault("effort", Settings().effort)
        each = "; ".join(f"{name}: {effort.words}" for name, effort in EFFORTS.items())
        st.select_slider(
            "Effort",
            list(EFFORTS),
            key="effort",
            help=f"What the network looks at. {each}. What it costs is said below Run.",
        )
    if not METHODS[method].model:
        return method
    what, _, how = METHODS[method].model.partition(": ")
    model = st.text_input(what, key="own model", help=f"{how.capitalize()}, on the machine that computes.")
    if not model:
        st.info("Name a model first.", icon=":material/edit:")
        return None
    try:
        return f"{method}:{shared.model(model)}"
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return None


def choose_scales(method: str) -> Scales | None:
    """Resize factors and thresholds; None, with the reason shown, while they make no sense."""
    if method not in LADDERS:
        return Scales()
    chosen = METHODS[method]
    key = "factors plus" if chosen.selects else "factors"
    st.session_state.setdefault(key, "" if chosen.selects else "auto, 0.5, 0.75, 1")
    factors = st.text_input(
        "Resize factors",
        placeholder="as many halvings as the image needs",
        key=key,
        help="The image is analysed at each of these sizes, smallest first. Small factors see large crystals whole, 1 "
        "sees the smallest. 'auto' shrinks the whole image to 224 px. Factors above 1 enlarge. Empty: halved from 1 "
        "until the image is small; and 2 where crystals under 20 px are, if many are.",
    )
    st.session_state.setdefault("thresholds", "100, 50, 25, 12.5")
    thresholds = ""
    if chosen.fusion == "attention":
        thresholds = st.text_input(
            "Size thresholds, % of the longer side",
            key="thresholds",
            help="As many as factors, from 100 down. Crystals longer than the second number are taken from the first "
            "factor, and so on; the last factor takes all crystals up to the last number.",
        )
    try:
        levels = _floats(thresholds, "Size thresholds")
        if None in levels:
            raise SettingsError("Size thresholds must be numbers.")
        return Scales(_floats(factors, "Resize factors"), tuple(t for t in levels if t is not None))
    except SettingsError as error:
        st.error(plain(error), icon=":material/block:")
        return None


def choose_instances(method: str | None) -> Instances:
    """Foreground threshold, smallest area, and by what a method drops crystals: applied at once to a finished run."""
    usual = Instances()
    st.session_state.setdefault("foreground", usual.foreground_threshold)
    st.session_state.setdefault("min area", usual.min_area)
    st.session_state.setdefault("min confidence", usual.min_confidence)
    st.session_state.setdefault("flow threshold", usual.flow_threshold)
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
    by_confidence = method is None or method_of(method).runs_sima_plus
    if method is not None and runs_flow(method) and not by_confidence:
        st.number_input(
            "Flow threshold",
            0.0,
            3.0,
            step=0.1,
            key="flow threshold",
            placeholder="none: by the lowest confidence",
            help="As in Cellpose: crystals whose shape's flow differs from the predicted one by more than this are "
            "dropped. 0 keeps all. Runs from before there was this choice dropped by their confidence.",
        )
        by_confidence = st.session_state["flow threshold"] is None
    if by_confidence:
        st.slider(
            "Lowest confidence",
            0.0,
            1.0,
            step=0.05,
            key="min confidence",
            help="Crystals the network is less sure of than this are dropped. 0 keeps all; hover over a crystal to see "
            "its confidence.",
        )
    return session.instances()


def choose_measuring() -> Measuring:
    """The border rule, and in words which crystals count."""
    st.selectbox(
        "Border rule",
        list(RULES),
        format_func=RULES.__getitem__,
        key="border rule",
        help="Large crystals are cut by the image border more often than small ones. Leaving cut crystals out and "
        "weighting the rest (Miles–Lantuéjoul, ISO 13322-1) makes up for that.",
    )
    words = st.text_input(
        "Count only",
        key="only",
        placeholder="all crystals",
        help=f"In words, such as “round ones above 20 µm” or “ohne kleine”. Known are {WORDS}. The others stay in "
        "table and picture (grey where filled by size), as left out. A selection was not validated: its figures get no "
        "verdict.",
    )
    problem = session.selection_problem(words)
    if problem:
        st.error(f"{plain(problem)} Until then all crystals count.", icon=":material/filter_alt_off:")
    elif words:
        st.caption(f"Counted: `{session.measuring().only}`")
    wording_controls.ask_a_model()
    return session.measuring()


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
