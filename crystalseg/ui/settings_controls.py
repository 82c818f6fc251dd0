"""Widgets that choose how to measure: profile, method, scales, thresholds, border rule.

All pages use the same form for settings. The widgets show a draft of settings and write to it; `place` distinguishes
the widgets of different pages.
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
    """Choose a profile, which sets every control to its settings, or a product, for its default profile."""
    profile_box("profile", "none: choose below", _apply_profile)


def _apply_profile() -> None:
    profile = session.profile()
    if profile is not None:
        choices().settings.start(profile.settings)


def profile_box(key: str, none: str, changed: Callable[[], None] = lambda: None) -> str | None:
    """Choose product and profile. Returns the name of the profile, which the session keeps under `key`. Choosing a
    product selects its default profile; `none` says what applies without a profile."""
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
            help="Choosing a product selects its default profile.",
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
        help="All choices made once for a product, including its limits. Profiles are made on the Profiles page.",
        **linked(key, held[key], take),
    )
    return held[key]


def flow_networks(chosen: str) -> dict[str, str]:
    """Return the flow networks that SiMA+ can run, as `Settings.network` names them, with their words: the shipped
    networks, the latest version of each model on record, and the `chosen` one."""
    offered = {name: f"{name}: {FLOW_NETWORKS[name]}" for name in networks_in()}
    latest: dict[str, Model] = {}
    for model in models(shared.engine()):
        latest.setdefault(model.name, model)
    for model in latest.values():
        offered[model.setting] = f"{model.reference}, for {model.material or 'any material'}: {model.words}"
    return offered if chosen in offered else {**offered, chosen: words_of(chosen)}


def not_offered(network: str) -> str:
    """Return why a flow network is not offered, in a sentence, or "" if it is."""
    reference = model_of(network)
    if not reference:
        is_here = network in networks_in()
        return "" if is_here else f"The weights of the flow network {network} are not installed, so no run can use it."
    for model in models(shared.engine(), retired=True):
        if model.setting == network:
            return f"Model {reference} is retired. Its runs can still be computed again." if model.retired else ""
    return f"Model {reference} ({architecture_of(network)}) is not on record here, so no run can use it."


def choose_method(place: str, draft: SettingsDraft, to_run: bool = True) -> str | None:
    """Choose the method. Returns it as `Settings.method` names it, or None, after showing the reason, if it cannot be
    used. If it is not `to_run` immediately, an unchanged method keeps its model even if it may not be used here."""
    name = draft.shown("method")
    st.selectbox(
        "Method",
        list(METHODS),
        help="SiMA+ is the best method on our test images. The others are there for comparison.",
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
            help="The shipped networks know many materials. Models that know one material better are made on the Teach "
            "page. To reproduce a run exactly, use the network that made it.",
            **_field(place, draft, "network"),
        )
        if why := not_offered(network):
            st.warning(plain(why), icon=":material/inventory_2:")
    if runs_sima_plus:
        each = "; ".join(f"{name}: {effort.words}" for name, effort in EFFORTS.items())
        st.select_slider(
            "Effort",
            list(EFFORTS),
            help=f"Which parts of the image the network looks at. {each}. The cost is shown below Run.",
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
                    f"There is nothing at {plain(allowed)} here. Runs fail unless the computing machine has it.",
                    icon=":material/inventory_2:",
                )
            return f"{name}:{allowed}" if to_run or draft.names_model else draft.method()
        return None if to_run or draft.names_model else draft.method()
    return draft.method()


def choose_scales(place: str, draft: SettingsDraft) -> Scales | None:
    """Choose resize factors and thresholds. Returns None, after showing the reason, if they are invalid."""
    chosen = METHODS[draft.shown("method")]
    if chosen.ladder:
        st.text_input(
            "Resize factors",
            placeholder="as many halvings as the image needs" if chosen.selects else text_of(FACTORS),
            help="The image is analysed at each of these sizes, smallest first. Small factors show large crystals "
            "whole, 1 shows the smallest. 'auto' shrinks the whole image to 224 px. Factors above 1 enlarge. Empty: "
            + (
                "halved from 1 until the image is small, and 2 where many crystals are narrower than 20 px."
                if chosen.selects
                else "the paper's."
            ),
            **_field(place, draft, "factors"),
        )
    if chosen.fusion == "attention":
        st.text_input(
            "Size thresholds, % of the longer side",
            placeholder=_levels(draft),
            help="One per factor, from 100 down; empty: those of the paper. Crystals longer than the second number "
            "come from the first factor, and so on. The last factor covers all crystals up to the last number.",
            **_field(place, draft, "thresholds"),
        )
    with telling():
        return draft.scales()
    return None


def _levels(draft: SettingsDraft) -> str:
    """Return the size thresholds that apply if none are given."""
    try:
        return text_of(draft.scales().levels)
    except SettingsError:
        return ""


def choose_instances(place: str, draft: SettingsDraft) -> Instances:
    """Choose foreground threshold, smallest area and the limit for dropping crystals; a finished run shows them at
    once."""
    method = draft.shown("method")
    st.slider(
        "Foreground threshold h",
        -10.0,
        10.0,
        step=0.1,
        format=NUMBER,
        help="A higher value counts only pixels that surely belong to a crystal. Crystals shrink, faint ones "
        "vanish. Paper: 0.",
        **_field(place, draft, "foreground"),
    )
    st.number_input(
        "Smallest crystal, px²",
        1,
        10**8,
        help="Smaller pieces are dropped as noise and not measured.",
        **_field(place, draft, "min area"),
    )
    by_confidence = method_of(method).runs_sima_plus
    if runs_flow(method) and not by_confidence:
        st.text_input(
            "Flow threshold",
            placeholder="none: by the lowest confidence",
            help="As in Cellpose: a crystal is dropped if the flow of its shape differs from the predicted flow by "
            "more than this. 0 keeps all. Runs on record without this value dropped crystals by confidence.",
            **_field(place, draft, "flow threshold"),
        )
        by_confidence = draft.shown("flow threshold").strip() == ""
    if by_confidence:
        st.slider(
            "Lowest confidence",
            0.0,
            1.0,
            step=0.05,
            format=NUMBER,
            help="Crystals with a lower confidence are dropped. 0 keeps all. Hover over a crystal to see its "
            "confidence.",
            **_field(place, draft, "min confidence"),
        )
    st.selectbox(
        "Holes in crystals",
        list(HOLES),
        format_func=HOLES.__getitem__,
        help="This decides the area and the diameter of a ring or a hollow crystal. Holes smaller than the smallest "
        "crystal are always filled.",
        **_field(place, draft, "holes"),
    )
    return draft.instances()


def choose_measuring(place: str, draft: SettingsDraft, item: session.Item | None = None) -> Measuring:
    """Choose the border rule and, in words, which crystals count. All crystals count while the words cannot be read, or
    cannot be applied to the micrograph `item`."""
    st.selectbox(
        "Border rule",
        list(RULES),
        format_func=RULES.__getitem__,
        help="The image border cuts large crystals more often than small ones. Leaving out cut crystals and weighting "
        "the others (Miles–Lantuéjoul, ISO 13322-1) corrects for that.",
        **_field(place, draft, "border rule"),
    )
    st.text_input(
        "Count only",
        placeholder="all crystals",
        help=f"In words, such as “round ones above 20 µm” or “ohne kleine”. Known words: {WORDS}. The others stay in "
        "the table and the picture, marked as left out (grey if filled by size). A selection is not validated, so "
        "its figures get no verdict.",
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
    """Choose all settings, for an image that is not known yet. Returns None, after showing the reason, if invalid."""
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
    """Show what each scale sees: the part of the image that one tile of the network covers at each factor."""
    height, width = micrograph.shape
    factors = settings.ladder(micrograph.shape)
    for column, factor in zip(st.columns(len(factors)), factors, strict=True):
        side = min(round(TILE / factor), max(height, width))
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        piece = micrograph.pixels[top : top + side, left : left + side]
        with column:
            st.image(_as_seen(piece, factor), width="stretch")
            unit = f" = {side * micrograph.um_per_px:.4g} µm" if micrograph.um_per_px else ""
            st.caption(f"× {factor:.3g}: one tile covers {side} px{unit}")


def _as_seen(piece: np.ndarray, factor: float) -> np.ndarray:
    size = (max(1, round(piece.shape[1] * factor)), max(1, round(piece.shape[0] * factor)))
    small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return cv2.resize(small, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_NEAREST)
