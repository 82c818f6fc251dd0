"""The choices of a person in this session, in one object that outlives the widgets.

Streamlit forgets the value of a widget when its page is left. A widget that is drawn again shows the value held here.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from crystalseg.record.profiles import Profile
from crystalseg.ui.drafts import ProfileDraft, SettingsDraft
from crystalseg.ui.numbers import read

NUMBER = "%.15g"  # format of number fields that hides no digit
_NOTHING = object()


@dataclass
class Choices:
    """The choices of a session. settings: of the next run, and for showing a finished one; profile: being edited;
    fields: the values of all other widgets, by key."""

    settings: SettingsDraft = field(default_factory=SettingsDraft)
    profile: ProfileDraft = field(default_factory=lambda: ProfileDraft(Profile("my product")))
    fields: dict[str, Any] = field(default_factory=dict)


def choices() -> Choices:
    """Return the choices of this session."""
    return st.session_state.setdefault("choices", Choices())


def linked(key: str, value: Any, write: Callable[[Any], None]) -> dict[str, Any]:
    """Return arguments for a widget that shows `value`, held elsewhere, and passes what a person enters to `write`."""
    if st.session_state.get(key, _NOTHING) != value:
        st.session_state[key] = value
    return {"key": key, "on_change": _entered, "args": (key, write)}


def _entered(key: str, write: Callable[[Any], None]) -> None:
    write(st.session_state[key])


def kept(key: str, value: Any = None, offered: Collection | None = None) -> dict[str, Any]:
    """Return arguments for a widget whose value the session keeps under its key. Until somebody enters a value it shows
    `value`. offered: the options of a choice, or of several; a choice that is no longer offered is dropped."""
    held = choices().fields
    now = held.get(key, value)
    if offered is not None:
        if isinstance(now, list):
            now = [one for one in now if one in offered]
        elif now not in offered:
            now = value
    return linked(key, now, lambda new: held.__setitem__(key, new))


def number_field(
    label: str, key: str, least: float = 0.0, most: float = float("inf"), place: Any = st, **look: Any
) -> float | None:
    """Show a field for a number, which the session keeps under `key`, and return the number, or None while it is empty.
    Raises UserError as `read` does. place: the page or a column of it; look: further arguments of the text field.

    A browser's own number field turns "0,05" into 5, so this is a text field.
    """
    return read(place.text_input(label, **kept(key, ""), **look), label, least, most)
