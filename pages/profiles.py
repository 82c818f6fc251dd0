"""Profiles: what is chosen once for a product, its specification too; kept on record, exported, imported."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.specification import UNITS, Limit
from crystalseg.micrographs.names import file_stem
from crystalseg.record.profiles import SECTIONS, Profile, profiles, remove, save
from crystalseg.record.validations import no_verdict, validations
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.methods import NAMED
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from crystalseg.ui import account, session, settings_controls, shared
from crystalseg.ui.downloads import offer
from crystalseg.ui.plain import plain

KEYS = {d.words: key for key, d in DEFINITIONS.items()}
MAY_SAVE = "Approvers and administrators may change profiles."
NUMBERS = ("lower", "upper", "above x")
COLUMNS = ("figure", *NUMBERS, "unit")


def may_save() -> bool:
    """Whether this person may change profiles."""
    return account.person().may("approver")


def limits_of(table: pd.DataFrame) -> tuple[Limit, ...]:
    """The rows of the editor as limits; UserError says what is wrong with a row."""
    limits = []
    for row in table.to_dict("records"):
        low, high, above = (None if pd.isna(row[c]) else float(row[c]) for c in NUMBERS)
        if pd.isna(row["figure"]):
            continue
        unit = UNITS[0] if pd.isna(row["unit"]) else row["unit"]
        limits.append(Limit(KEYS[row["figure"]], low, high, above, unit))
    return tuple(limits)


def table_of(limits: tuple[Limit, ...]) -> pd.DataFrame:
    rows = [(DEFINITIONS[m.figure].words, m.lower, m.upper, m.above, m.unit) for m in limits]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def limits_editor(old: Profile) -> pd.DataFrame:
    """The specification, a row a limit."""
    st.markdown("**Specification**: lengths in their unit (µm needs the images' pixel size), shares from 0 to 1.")
    numbers = {c: st.column_config.NumberColumn(format="%.4g") for c in NUMBERS}
    choices = {
        "figure": st.column_config.SelectboxColumn(options=list(KEYS), width="medium"),
        "unit": st.column_config.SelectboxColumn(options=list(UNITS), default=UNITS[0]),
    }
    return st.data_editor(
        table_of(old.limits),
        num_rows="dynamic",
        hide_index=True,
        column_config=numbers | choices,
        key=f"limits {old.name}",
    )


def edit(old: Profile) -> None:
    """The form; saves a profile under its name."""
    with st.form(f"profile {old.name}"):
        left, right = st.columns(2)
        name = left.text_input("Name", old.name, help="Saving under another name keeps both.")
        product = right.text_input("Product", old.product, help="What it is for.")
        kinds = ["", *dict.fromkeys(v.kind for v in validations())]
        kind = left.selectbox(
            "Kind of material",
            kinds,
            kinds.index(old.kind) if old.kind in kinds else 0,
            help="On labelled images of this kind the method was validated; what it was off by there goes into the "
            "uncertainty of every figure. More kinds: python -m crystalseg validate.",
        )
        default = right.checkbox("Default for this product", old.default)
        settings = old.settings
        method = left.selectbox(
            "Method", NAMED, NAMED.index(settings.method) if settings.method in NAMED else 0, key="profile method"
        )
        offered = settings_controls.flow_networks(settings.network)
        network = right.selectbox(
            "Flow network of SiMA+",
            list(offered),
            list(offered).index(settings.network),
            format_func=offered.get,
            help="The shipped ones, and the models of the Teach page: a profile keeps the version that is chosen here.",
        )
        effort = left.selectbox(
            "Effort of SiMA+",
            list(EFFORTS),
            list(EFFORTS).index(settings.effort),
            format_func=lambda name: f"{name}: {EFFORTS[name].words}",
        )
        rule = right.selectbox(
            "Border rule",
            list(settings_controls.RULES),
            list(settings_controls.RULES).index(settings.measuring.border_rule),
            format_func=settings_controls.RULES.get,
            key="profile rule",
        )
        only = right.text_input(
            "Count only",
            settings.measuring.only,
            placeholder="all crystals",
            help="In words: “round ones above 20 µm”, “ohne kleine”. Kept as the filter they become. No verdict is "
            "given on a selection, because the method was validated on all crystals.",
        )
        columns = st.columns(4)
        now = settings.instances
        threshold = columns[0].number_input("Foreground threshold h", -10.0, 10.0, float(now.foreground_threshold), 0.1)
        smallest = columns[1].number_input("Smallest crystal, px²", 1, 10**8, now.min_area)
        lowest = columns[2].number_input(
            "Lowest confidence", 0.0, 1.0, float(now.min_confidence), 0.05, help="Of SiMA+'s crystals."
        )
        limit = columns[3].number_input(
            "Flow threshold",
            0.0,
            3.0,
            now.flow_threshold,
            0.1,
            help="Of other methods with a flow network; 0: off.",
        )
        table = limits_editor(old)
        sections = st.multiselect("Sections of the report", list(SECTIONS), list(old.sections), SECTIONS.get)
        left, right = st.columns(2, vertical_alignment="bottom")
        days = left.number_input(
            "Keep images for, days (empty: without end)",
            1,
            36500,
            old.keep_images,
            help="Then `python -m crystalseg retain` deletes them, and puts that on record; labels and reports stay.",
        )
        four_eyes = right.checkbox(
            "Four eyes", old.four_eyes, help="A run is approved by another person than who measured or corrected it."
        )
        if not st.form_submit_button(
            "Save the profile", type="primary", icon=":material/save:", disabled=not may_save(), help=MAY_SAVE
        ):
            return
    try:
        chosen = replace(
            settings,
            method=method,
            instances=Instances(threshold, smallest, lowest, limit),
            measuring=Measuring(rule, only),
            network=network,
            effort=effort,
        )
        ordered = tuple(s for s in SECTIONS if s in sections)
        profile = Profile(name.strip(), product, default, kind, chosen, limits_of(table), ordered, four_eyes, days)
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    save(shared.engine(), profile, session.who())
    st.session_state["edited"] = profile.name
    st.rerun()


def bring() -> None:
    """Import from a file."""
    upload = st.file_uploader("Import a profile", type="json")
    if upload is not None and st.session_state.get("imported") != upload.file_id:
        try:
            profile = Profile.from_json(upload.getvalue().decode("utf-8", "replace"))
        except UserError as error:
            st.error(plain(error), icon=":material/block:")
            return
        save(shared.engine(), profile, session.who())
        st.session_state["imported"] = upload.file_id
        st.session_state["edited"] = profile.name
        st.rerun()


def page() -> None:
    session.enter()
    st.title("Profiles")
    st.caption(
        "A profile holds method, thresholds, border rule, specification and report sections of a product. Choose one "
        "on the Measure page or for a batch. Earlier versions stay on record."
    )
    offered = profiles(shared.engine())
    left, right = st.columns((1, 3), gap="large")
    with left:
        names = [*offered, "new profile"]
        first = names.index(st.session_state["edited"]) if st.session_state.get("edited") in offered else 0
        chosen = st.radio("Profiles", names, index=first, format_func=plain)
        if may_save():
            bring()
        if chosen in offered:
            offer(
                st,
                "Export",
                offered[chosen].to_json(),
                f"{file_stem(f'{chosen}.json')}.json",
                "application/json",
                icon=":material/download:",
            )
            words = "It stays in the record, but is no longer offered."
            if st.button("Remove", icon=":material/delete:", help=words, disabled=not may_save()):
                remove(shared.engine(), chosen, session.who())
                st.rerun()
    with right:
        if chosen in offered and (why := no_verdict(offered[chosen])):
            st.info(plain(why), icon=":material/help:")
        edit(offered.get(chosen) or Profile("my product", settings=Settings()))


page()
