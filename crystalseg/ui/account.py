"""The person at the browser: signed in by OpenID Connect if that is configured, else whoever uses this machine."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from crystalseg.record import people, preferences
from crystalseg.record.people import Person
from crystalseg.ui.choices import kept, linked
from crystalseg.ui.entrance import signs_in
from crystalseg.ui.plain import plain
from crystalseg.ui.shared import engine

is_configured = signs_in
SIGNED_IN_HOURS = 12.0  # after this time a person must sign in again
SIGNING_MINUTES = 15.0  # greatest age of a sign-in for a signature (21 CFR 11.200 (a)(1))


def claims() -> Mapping[str, Any]:
    """Return the claims of the provider about the person signed in, or an empty mapping."""
    return st.user.to_dict() if st.user.get("is_logged_in") else {}


def identity_of(said: Mapping[str, Any]) -> str:
    """Return the identity of a person: the e-mail address, if the provider vouches for it or says nothing about it;
    else issuer and subject, which are never given to another person."""
    if said.get("email") and said.get("email_verified", True) is True:
        return people.folded(str(said["email"]).strip())
    return f"{said.get('iss', '')}#{said.get('sub', '')}"


def person() -> Person:
    """Return the person with their current role. Without sign-in, the person at this machine may do everything."""
    if not is_configured():
        return Person("", people.clean(str(recalled().get("who", ""))), "administrator", time.time())
    said = claims()
    since = float(said.get("auth_time") or said.get("iat") or 0)
    if not said or time.time() - since > 3600 * SIGNED_IN_HOURS:
        return Person("", "", "")
    identity = identity_of(said)
    return Person(identity, str(said.get("name") or identity), people.roles(engine()).get(identity, ""), since)


def require(role: str) -> None:
    """End the page for people who may not do what needs `role`, and tell them what to do."""
    who = person()
    if who.may(role):
        return
    if is_configured() and not who.identity:
        st.title("crystalseg")
        st.markdown("Measure crystal sizes in micrographs. Your measurements go on record with your name.")
        st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
        st.stop()
    _note(who)
    if not who.role:
        st.error(
            f"You are signed in as {plain(who.identity)}, but have no role here. Ask an administrator for one.",
            icon=":material/block:",
        )
        st.button("Sign out", icon=":material/logout:", on_click=st.logout)
    else:
        st.error(f"This needs the role {role}. Your role is {who.role}.", icon=":material/block:")
    st.stop()


def badge() -> None:
    """Show in the sidebar who is signed in, with a button to sign out."""
    if not is_configured():
        return
    who = person()
    _note(who)
    with st.sidebar:
        left, right = st.columns((3, 1), vertical_alignment="center")
        left.caption(f"{plain(who.name)} · {who.role}", help=plain(who.identity))
        right.button("", icon=":material/logout:", help="Sign out", on_click=st.logout, key="sign out")


def _note(who: Person) -> None:
    if st.session_state.get("noted") != (who.identity, who.since):
        people.note_sign_in(engine(), who)
        st.session_state["noted"] = (who.identity, who.since)


def recalled() -> dict[str, Any]:
    """Return what the person entered last in forms that are remembered, by name."""
    identity = str(claims().get("sub", "")) and identity_of(claims())
    if st.session_state.get("recalled", ("?",))[0] != identity:
        st.session_state["recalled"] = (identity, preferences.recall(identity))
    return st.session_state["recalled"][1]


def remember(name: str, value: Any) -> None:
    """Keep what the person entered for their next session."""
    if recalled().get(name) != value:
        recalled()[name] = value
        preferences.remember(st.session_state["recalled"][0], name, value)


def remembered(
    name: str, about: str = "", value: str = "", offered: Sequence[str] | None = None, key: str = ""
) -> dict[str, Any]:
    """Return arguments for a widget that shows what the person entered last under `name`.

    about: what the value belongs to, such as a profile; until one is entered for it, the latest for anything is shown.
    value: shown until the first is entered. offered: the options of a choice. key: of the widget, where several show
    the same value.
    """
    own = f"{name} of {about}" if about else name
    now = recalled().get(own, recalled().get(name, value))
    if not isinstance(now, str) or (offered is not None and now not in offered):
        now = value

    def write(new: str) -> None:
        remember(own, new)
        remember(name, new)

    return linked(key or f"remembered {own}", now, write)


def name_box(key: str, help: str = "", placeholder: str = "", label: str = "Your name", anew: bool = False) -> str:
    """Return the name for the record: typed by the user, or that of the person signed in, who has no choice.

    key: of the widget. anew: whether the name must be typed here, because it stands for a signature. Elsewhere the name
    that was typed last is offered.
    """
    if not is_configured():
        held = kept(key, "") if anew else remembered("who", key=key)
        return people.clean(st.text_input(label, help=help, placeholder=placeholder, **held))
    who = str(person())
    st.caption(f"{label}: {plain(who)}")
    return who


def can_sign() -> bool:
    """Return whether the person may sign now. If not, show a button to sign in again, which a signature requires."""
    if not is_configured() or time.time() - person().since < 60 * SIGNING_MINUTES:
        return True
    st.caption(f"To sign, sign in again. Your last sign-in is more than {SIGNING_MINUTES:.0f} minutes old.")
    st.button("Sign in again", icon=":material/login:", on_click=st.login, key="again")
    return False
