"""Profiles: choices made once for a product, including its specification; kept on record, exported, imported."""

from typing import Any

import pandas as pd
import streamlit as st

from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.rounding import exact
from crystalseg.measurement.specification import RULES, UNITS, Limit
from crystalseg.micrographs.names import file_stem
from crystalseg.record.profiles import MOST_DAYS, SECTIONS, Profile, in_use, remove, save
from crystalseg.record.validations import no_verdict, validations
from crystalseg.ui import account, session, settings_controls, shared
from crystalseg.ui.choices import choices, linked
from crystalseg.ui.downloads import offer
from crystalseg.ui.drafts import ProfileDraft
from crystalseg.ui.numbers import read
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling

KEYS = {d.words: key for key, d in DEFINITIONS.items()}
MAY_SAVE = "Approvers and administrators may change profiles."
NUMBERS = ("lower", "upper", "above x")
COLUMNS = ("figure", *NUMBERS, "unit")
NEW = "new profile"


def may_save() -> bool:
    """Return whether this person may change profiles."""
    return account.person().may("approver")


def limits_of(table: pd.DataFrame) -> tuple[Limit, ...]:
    """Return the rows of the editor as limits. UserError says what is wrong with a row."""
    limits = []
    for row in table.to_dict("records"):
        low, high, above = (
            None if pd.isna(row[c]) else read(str(row[c]), f"{row['figure']}, {c}", -float("inf")) for c in NUMBERS
        )
        if pd.isna(row["figure"]):
            continue
        unit = UNITS[0] if pd.isna(row["unit"]) else row["unit"]
        limits.append(Limit(KEYS[row["figure"]], low, high, above, unit))
    return tuple(limits)


def table_of(limits: tuple[Limit, ...]) -> pd.DataFrame:
    def shown(value: float | None) -> str | None:
        return None if value is None else exact(value)

    rows = [(DEFINITIONS[m.figure].words, *map(shown, (m.lower, m.upper, m.above)), m.unit) for m in limits]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, object))


def limits_editor(draft: ProfileDraft) -> None:
    """Show the specification, one row per limit."""
    st.markdown("**Specification**: lengths in their unit (µm needs the images' pixel size), shares from 0 to 1.")
    numbers = {c: st.column_config.TextColumn() for c in NUMBERS}
    chosen = {
        "figure": st.column_config.SelectboxColumn(options=list(KEYS), width="medium"),
        "unit": st.column_config.SelectboxColumn(options=list(UNITS), default=UNITS[0]),
    }
    key = f"profiles limits {draft.beginnings}"
    # a table that is new on the page starts with the current limits
    if key not in st.session_state or draft.began is None:
        draft.began = table_of(draft.base.limits) if draft.table is None else draft.table
    draft.table = st.data_editor(
        draft.began, num_rows="dynamic", hide_index=True, column_config=numbers | chosen, key=key
    )


def edit(draft: ProfileDraft) -> None:
    """Show the form, which saves a profile under its name."""

    def field(name: str) -> dict[str, Any]:
        return linked(f"profiles {name}", draft.shown(name), lambda value: draft.put(name, value))

    with st.container(border=True):
        left, right = st.columns(2)
        left.text_input("Name", help="Saving under another name keeps both.", **field("name"))
        right.text_input("Product", help="What it is for.", **field("product"))
        known = {v.kind for v in validations()}
        left.selectbox(
            "Kind of material",
            list(dict.fromkeys(["", *sorted(known), draft.shown("kind")])),
            format_func=lambda kind: kind if kind in known or not kind else f"{kind} (no validation here)",
            help="The method was validated on labelled images of this kind. The errors found there go into the "
            "uncertainty of every figure. To add a kind: python -m crystalseg validate.",
            **field("kind"),
        )
        right.checkbox("Default for this product", **field("default"))
        settings = settings_controls.choose_settings("profiles", draft.settings)
        limits_editor(draft)
        st.radio(
            "Decision rule",
            list(RULES),
            None,
            format_func=lambda rule: RULES[rule][0],
            captions=[words for _, words in RULES.values()],
            help="Agree on it with the customer before the first verdict (ISO/IEC 17025:2017, 7.1.3 and 7.8.6).",
            **field("decision rule"),
        )
        st.multiselect("Sections of the report", list(SECTIONS), format_func=SECTIONS.__getitem__, **field("sections"))
        left, right = st.columns(2, vertical_alignment="bottom")
        left.number_input(
            "Keep images for, days (empty: without end)",
            1,
            MOST_DAYS,
            None,
            step=1,
            help="`python -m crystalseg retain` then deletes them and records that. Labels and reports stay on record.",
            **field("keep images"),
        )
        right.checkbox(
            "Four eyes",
            help="A run must be approved by a person who did not measure or correct it.",
            **field("four eyes"),
        )
        ready = may_save() and settings is not None
        if st.button("Save the profile", type="primary", icon=":material/save:", disabled=not ready, help=MAY_SAVE):
            with telling():
                if draft.table is not None:
                    draft.put("limits", limits_of(draft.table))
                put_on_record(draft.profile(settings))


def put_on_record(profile: Profile) -> None:
    """Save a profile and continue with it."""
    save(shared.engine(), profile, session.who())
    take(profile)
    st.rerun()


def take(profile: Profile, name: str | None = None) -> None:
    """Edit a profile. name: its entry in the list, if that is not its own name."""
    choices().fields["profiles chosen"] = profile.name if name is None else name
    choices().profile.start(profile)


@telling()
def bring() -> None:
    """Import a profile from a file."""
    upload = st.file_uploader("Import a profile", type="json")
    if upload is not None and st.session_state.get("imported") != upload.file_id:
        profile = Profile.from_json(upload.getvalue().decode("utf-8", "replace"))
        st.session_state["imported"] = upload.file_id
        put_on_record(profile)


def page() -> None:
    session.enter()
    st.title("Profiles")
    st.caption(
        "A profile holds the method, thresholds, border rule, specification and report sections for a product. Choose "
        "a profile on the Measure page or for a batch. Earlier versions stay on record."
    )
    offered, unreadable = in_use(shared.engine())
    for name, why in unreadable.items():
        st.warning(plain(f"The profile {name} on record cannot be read. {why}"), icon=":material/broken_image:")
    draft = choices().profile
    names = [*offered, NEW]
    chosen = choices().fields.get("profiles chosen")
    if chosen not in names:
        chosen = names[0]
        take(offered.get(chosen, Profile("my product")), chosen)
    elif chosen in offered and draft.base != offered[chosen] and not draft.is_changed:
        take(offered[chosen])  # another session saved it in the meantime
    left, right = st.columns((1, 3), gap="large")
    with left:
        st.radio(
            "Profiles",
            names,
            format_func=plain,
            **linked("profiles chosen", chosen, lambda name: take(offered.get(name, Profile("my product")), name)),
        )
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
            words = "It stays on record, but is no longer offered."
            if st.button("Remove", icon=":material/delete:", help=words, disabled=not may_save()):
                remove(shared.engine(), chosen, session.who())
                st.rerun()
    with right:
        if chosen in offered and (why := no_verdict(offered[chosen])):
            st.info(plain(why), icon=":material/help:")
        if chosen in offered and draft.base != offered[chosen]:
            st.warning(
                "Somebody else saved this profile. Saving it here replaces that version.", icon=":material/sync:"
            )
        edit(draft)


page()
