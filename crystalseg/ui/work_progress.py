"""The progress of long work of any kind, with buttons that stop and continue it."""

import pandas as pd
import streamlit as st

from crystalseg.execution import work
from crystalseg.execution.work import Work
from crystalseg.execution.work_state import State, asked
from crystalseg.ui import account, shared
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import refuse


def show(one: Work) -> State:
    """Show the progress of work. It updates itself while the work runs, and redraws the page when it has ended."""
    state = one.state(shared.engine())
    st.fragment(_progress, run_every=1.0 if state.is_active else None)(one, state.is_active)
    return state


def words(one: Work, state: State) -> str:
    """Return the progress in words: status, current step, number of finished parts, and time left."""
    count = f"{state.done} of {state.total} {one.kind.parts}" if state.total else ""
    if count and state.reasons:
        count += f", {len(state.reasons)} failed"
    return " · ".join(filter(None, (state.status, state.stage, count, time_left(state.left))))


def time_left(seconds: float) -> str:
    """Return the time left in words, or "" if it is unknown."""
    if seconds != seconds:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"


def _progress(one: Work, watched: bool) -> None:
    state = one.state(shared.engine())
    if watched and not state.is_active:
        st.rerun()
    st.progress(min(state.share, 1.0), text=plain(words(one, state)))
    if state.error:
        refuse(state.error)
    if state.status != "done":
        _buttons(one, state)
    if state.reasons:
        st.dataframe(pd.DataFrame(state.reasons, columns=["image", "why it failed"]), hide_index=True)


def _buttons(one: Work, state: State) -> None:
    key = one.folder.name
    left, right, _ = st.columns((1, 1, 3))
    if state.is_active:
        waits = bool(asked(one.folder))
        if left.button("Pause", icon=":material/pause:", key=f"pause {key}", disabled=waits):
            _stop(one, "paused")
        if right.button("Cancel", icon=":material/stop_circle:", key=f"cancel {key}", disabled=waits):
            _stop(one, "cancelled")
        if waits:
            st.caption("It stops after the current step. Finished parts are kept.")
        return
    if left.button("Go on", icon=":material/play_arrow:", key=f"go {key}"):
        account.require("operator")
        work.start(one)
        st.rerun()
    help_ = "Removes its folder with the images uploaded for it. What was measured stays on record."
    if right.button("Discard", icon=":material/delete:", key=f"discard {key}", help=help_):
        account.require("operator")
        work.discard(one)
        st.rerun()


def _stop(one: Work, what: str) -> None:
    account.require("operator")
    work.stop(one, what, shared.engine())  # shown at the next update
