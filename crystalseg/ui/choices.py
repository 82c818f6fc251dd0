"""What a person chose in this session: one object, which outlives the widgets. Streamlit forgets a widget's value when
its page is left, and a widget that is drawn again shows what stands here."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from crystalseg.record.profiles import Profile
from crystalseg.ui.drafts import ProfileDraft, SettingsDraft

NUMBER = "%.15g"  # the format of fields: no digit of a number is hidden
_NOTHING = object()


@dataclass
class Choices:
    """settings: of the next run, and how a finished one is shown; profile: the one being edited; fields: what stands in
    each of the other widgets, by its key."""

    settings: SettingsDraft = field(default_factory=SettingsDraft)
    profile: ProfileDraft = field(default_factory=lambda: ProfileDraft(Profile("my product")))
    fields: dict[str, Any] = field(default_factory=dict)


def choices() -> Choices:
    """Of this session."""
    return st.session_state.setdefault("choices", Choices())


def linked(key: str, value: Any, write: Callable[[Any], None]) -> dict[str, Any]:
    """Arguments for a widget that shows `value`, which is held elsewhere, and gives to `write` what a person enters."""
    if st.session_state.get(key, _NOTHING) != value:
        st.session_state[key] = value
    return {"key": key, "on_change": _entered, "args": (key, write)}


def _entered(key: str, write: Callable[[Any], None]) -> None:
    write(st.session_state[key])


def kept(key: str, value: Any = None, offered: Collection | None = None) -> dict[str, Any]:
    """Arguments for a widget whose value the session keeps under its key; until somebody enters one it shows `value`.
    offered: among what it is a choice, or several; what is offered no more is not chosen any longer."""
    held = choices().fields
    now = held.get(key, value)
    if offered is not None:
        if isinstance(now, list):
            now = [one for one in now if one in offered]
        elif now not in offered:
            now = value
    return linked(key, now, lambda new: held.__setitem__(key, new))
