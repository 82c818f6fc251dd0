"""Widgets that choose how to measure: profile, method, scales, thresholds, border rule.

One form wherever settings are chosen: the widgets show a draft of settings and write to it; `place` tells those of one
page from another's.
"""

from collections.abc import Callable

import cv2
import numpy as np
import streamlit as st

from crystalseg.measurement.query import WORDS
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.models import Model, models
from crystalseg.record.profiles import default_of, profiles
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.methods import (
    FLOW_NETWORKS,
    METHODS,
    architecture_of,
    method_of,
    model_of,
    networks_in,
    runs_flow,
    words_of,
)
from crystalseg.segmentation.scales import FACTORS, Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings, SettingsError
from crystalseg.segmentation.tiling import TILE
from crystalseg.ui import session, shared, wording_controls
from crystalseg.ui.choices import NUMBER, choices, linked
from crystalseg.ui.drafts import SettingsDraft, text_of
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling

HOLES: dict[str, str] = {
    "filled": "fill them: the area that the outline encloses",
    "kept": "keep them: the area of the crystal alone",
}
RULES: dict[str, str] = {
    "exclude": "leave out crystals cut by the border (with correction)",
    "include": "count every crystal as seen",
}


def choose_profile() -> None:
    """A profile for all that follows, which sets every control to its settings; or a product, for its default."""
    profile_box("profile", "none: choose below", _apply_profile)


def _apply_profile() -> None:
    profile = session.profile()
    if profile is not None:
        choices().settings.start(profile.settings)


def profile_box(key: str, none: str, changed: Callable[[], None] = lambda: None) -> str | None:
    """Product and profile; returns the profile's name, which the session keeps under `key`. Choosing a product takes
    its default; `none` says what goes without a profile."""
    held, offered = choices().fields, profiles(shared.engine())
    products = sorted({profile.product for profile in offered.values() if profile.product})
    of_product = f"{key} product"

    def take_product(product: str | None) -> None:
        default = default_of(shared.engine(), product) if product else None
        held[of_product], held[key] = product, default.name if default else None
        changed()

    def take(name: str | None) -> None:
        held[key] = name
        changed()

    if held.get(of_product) not in products:
        held[of_product] = None
    if products:
        st.selectbox(
            "Product",
            products,
            None,
            placeholder="any",
            help="Choosing one takes its default profile.",
            **linked(of_product, held[of_product], take_product),
        )
    names = [name for name, profile in offered.items() if held[of_product] in (None, profile.product)]
    if held.get(key) not in names:
        held[key] = None
    st.selectbox(
        "Profile",
        names,
        None,
        placeholder=none,
        disabled=not names,
        help="Everything chosen once for a product, its limits too. Profiles are made on the Profiles page.",
        **linked(key, held[key], take),
    )
    return held[key]


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


def not_offered(network: str) -> str:
    """Why a flow network would not be offered, in a sentence; "" if it would."""
    reference = model_of(network)
    if not reference:
        is_here = network in networks_in()
        return "" if is_here else f"The weights of the flow network {network} are not installed: no run can use it."
    for model in models(shared.engine(), retired=True):
        if model.setting == network:
            return f"Model {reference} is retired. Its runs can be computed as before." if model.retired else ""
    return f"Model {reference} ({architecture_of(network)}) is not on record here: no run can use it."


def choose_method(place: str, draft: SettingsDraft, to_run: bool = True) -> str | None:
    """The method as `Settings.method` names it; None, with the reason shown, while it cannot be used. If it is not
    `to_run` now, the model of a method that nobody changed is kept although it may not be used here."""
    name = draft.shown("method")
    st.selectbox(
        "Method",
        list(METHODS),
        help="SiMA+ is the best on our test images; the others are there for comparison.",
        **_field(place, draft, "method"),
    )
    st.caption(METHODS[name].words)
    network = draft.shown("network")
    runs_sima_plus = METHODS[name].runs_sima_plus
    taught = not runs_sima_plus and bool(model_of(network)) and architecture_of(network) in METHODS[name].networks
    if runs_sima_plus or taught:
        offered = flow_networks(network)
        st.selectbox(
            "Flow network",
            list(offered),
            format_func=offered.__getitem__,
            help="The shipped ones know many materials; models that know one better are made on the Teach page. A run "
            "is computed again as it was only with the network that made it.",
            **_field(place, draft, "network"),
        )
        if why := not_offered(network):
            st.warning(plain(why), icon=":material/inventory_2:")
    if runs_sima_plus:
        each = "; ".join(f"{name}: {effort.words}" for name, effort in EFFORTS.items())
        st.select_slider(
            "Effort",
            list(EFFORTS),
            help=f"What the network looks at. {each}. What it costs is said below Run.",
            **_field(place, draft, "effort"),
        )
    if METHODS[name].model:
        what, _, how = METHODS[name].model.partition(": ")
        st.text_input(
            what,
            help=f"{how.capitalize()}, on the machine that computes.",
            **_field(place, draft, "own model"),
        )
        model = draft.shown("own model").strip()
        if not model:
            st.info("Name a model first.", icon=":material/edit:")
            return None
        with telling():
            allowed = shared.model(model)
            if shared.is_missing(allowed):
                st.warning(
                    f"This machine has nothing at {plain(allowed)}: a run fails unless the one that computes does.",
                    icon=":material/inventory_2:",
                )
            return f"{name}:{allowed}" if to_run or draft.names_model else draft.method()
        return None if to_run or draft.names_model else draft.method()
    return draft.method()


def choose_scales(place: str, draft: SettingsDraft) -> Scales | None:
    """Resize factors and thresholds; None, with the reason shown, while they make no sense."""
    chosen = METHODS[draft.shown("method")]
    if chosen.ladder:
        st.text_input(
            "Resize factors",
            placeholder="as many halvings as the image needs" if chosen.selects else text_of(FACTORS),
            help="The image is analysed at each of these sizes, smallest first. Small factors see large crystals "
            "whole, 1 sees the smallest. 'auto' shrinks the whole image to 224 px. Factors above 1 enlarge. Empty: "
            + (
                "halved from 1 until the image is small; and 2 where crystals under 20 px are, if many are."
                if chosen.selects
                else "the paper's."
            ),
            **_field(place, draft, "factors"),
        )
    if chosen.fusion == "attention":
        st.text_input(
            "Size thresholds, % of the longer side",
            placeholder=_levels(draft),
            help="As many as factors, from 100 down; empty: the paper's. Crystals longer than the second number are "
            "taken from the first factor, and so on; the last factor takes all crystals up to the last number.",
            **_field(place, draft, "thresholds"),
        )
    with telling():
        return draft.scales()
    return None


def _levels(draft: SettingsDraft) -> str:
    """The thresholds in use where none are given."""
    try:
        return text_of(draft.scales().levels)
    except SettingsError:
        return ""


def choose_instances(place: str, draft: SettingsDraft) -> Instances:
    """Foreground threshold, smallest area, and by what a method drops crystals: applied at once to a finished run."""
    method = draft.shown("method")
    st.slider(
        "Foreground threshold h",
        -10.0,
        10.0,
        step=0.1,
        format=NUMBER,
        help="Higher: only pixels that surely are crystal count, so crystals shrink and faint ones vanish. Paper: 0.",
        **_field(place, draft, "foreground"),
    )
    st.number_input(
        "Smallest crystal, px²",
        1,
        10**8,
        help="Smaller pieces are dropped as noise, not measured.",
        **_field(place, draft, "min area"),
    )
    by_confidence = method_of(method).runs_sima_plus
    if runs_flow(method) and not by_confidence:
        st.number_input(
            "Flow threshold",
            0.0,
            3.0,
            None,
            step=0.1,
            format=NUMBER,
            placeholder="none: by the lowest confidence",
            help="As in Cellpose: crystals whose shape's flow differs from the predicted one by more than this are "
            "dropped. 0 keeps all. Runs from before there was this choice dropped by their confidence.",
            **_field(place, draft, "flow threshold"),
        )
        by_confidence = draft.shown("flow threshold") is None
    if by_confidence:
        st.slider(
            "Lowest confidence",
            0.0,
            1.0,
            step=0.05,
            format=NUMBER,
            help="Crystals the network is less sure of than this are dropped. 0 keeps all; hover over a crystal to see "
            "its confidence.",
            **_field(place, draft, "min confidence"),
        )
    st.selectbox(
        "Holes in crystals",
        list(HOLES),
        format_func=HOLES.__getitem__,
        help="The area of a ring or of a hollow crystal, and with it its diameter, is one or the other. Holes smaller "
        "than the smallest crystal are filled always.",
        **_field(place, draft, "holes"),
    )
    return draft.instances()


def choose_measuring(place: str, draft: SettingsDraft, item: session.Item | None = None) -> Measuring:
    """The border rule, and in words which crystals count, all of them as long as that cannot be read or answered for
    the micrograph `item`."""
    st.selectbox(
        "Border rule",
        list(RULES),
        format_func=RULES.__getitem__,
        help="Large crystals are cut by the image border more often than small ones. Leaving cut crystals out and "
        "weighting the rest (Miles–Lantuéjoul, ISO 13322-1) makes up for that.",
        **_field(place, draft, "border rule"),
    )
    st.text_input(
        "Count only",
        placeholder="all crystals",
        help=f"In words, such as “round ones above 20 µm” or “ohne kleine”. Known are {WORDS}. The others stay in "
        "table and picture (grey where filled by size), as left out. A selection was not validated: its figures get no "
        "verdict.",
        **_field(place, draft, "only"),
    )
    words = draft.shown("only")
    problem = session.selection_problem(words, item)
    if problem:
        st.error(f"{plain(problem)} Until then all crystals count.", icon=":material/filter_alt_off:")
    elif words:
        st.caption(f"Counted: `{draft.measuring().only}`")
    wording_controls.ask_a_model(place, draft, item)
    return session.measuring_of(draft, item)


def choose_settings(place: str, draft: SettingsDraft) -> Settings | None:
    """All of it, for an image that is not known yet; None, with the reason shown, while it makes no sense."""
    left, right = st.columns(2)
    with left:
        method = choose_method(place, draft, to_run=False)
        scales = choose_scales(place, draft)
    with right:
        choose_instances(place, draft)
        choose_measuring(place, draft)
    if method is None or scales is None:
        return None
    with telling():
        return draft.settings(method)
    return None


def _field(place: str, draft: SettingsDraft, name: str) -> dict:
    return linked(f"{place} {name}", draft.shown(name), lambda value: draft.put(name, value))


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
