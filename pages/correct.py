"""Correct: merge, split, add, redraw, delete and mark crystals by hand, with undo and a log."""

import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution.corrected import Corrected, corrected_elsewhere
from crystalseg.measurement.rounding import significant
from crystalseg.record import checked
from crystalseg.record.store import now
from crystalseg.report.words import corrections_words
from crystalseg.segmentation.corrections.actions import line_between
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.ui import account, clicking, run_controls, session, shared, teaching_controls
from crystalseg.ui.choices import kept
from crystalseg.ui.plain import plain
from crystalseg.ui.viewer import TOOLS, Crystals, Shown, viewer

CHECKED = "#27c46b"  # the line around a checked area


def carry_out(corrected: Corrected, edit: dict, who: str) -> None:
    """Carry out the correction requested in the viewer, or say in a sentence why that is impossible."""
    try:
        if edit["kind"] in ("undo", "redo"):
            clicking.forget()
            corrected.do(edit["kind"], who)
            return
        if edit["kind"] == "check":
            checked.check(corrected.engine, corrected.job, edit["points"], who)
            return
        facts = {"points": edit["points"], "mark": edit["mark"], "who": who, "when": now()}
        if edit["kind"] == "click":
            clicking.click(corrected, edit, who)
            return
        clicking.forget()
        if edit["kind"] == "join":
            ids = line_between(corrected.history.labels, *edit["points"][0])
            corrected.do(Correction("merge", ids, **(facts | {"points": ()})))
        else:
            corrected.do(Correction(edit["kind"], edit["ids"], **facts))
    except UserError as error:
        st.toast(plain(error), icon=":material/block:")


def doubtful(item: session.Item, corrected: Corrected, um_per_px: float | None) -> dict | None:
    """Offer doubtful crystals one after another. Returns where the viewer should go."""
    table = corrected.table(um_per_px)
    limit = st.slider(
        "Doubtful below",
        0.0,
        1.0,
        step=0.05,
        help="Crystals with a lower confidence are offered, the least certain first.",
        **kept("doubtful below", 0.5),
    )
    result = corrected.job, corrected.choice
    skipped: frozenset[int] = item.place("skipped", result) or frozenset()
    waiting = table[(table["confidence"] < limit) & (table["kind"] == "crystal") & ~table["id"].isin(skipped)]
    waiting = waiting.sort_values("confidence")
    if waiting.empty:
        st.success("No doubtful crystal is left.", icon=":material/check:")
        return None
    row = waiting.iloc[0]
    st.markdown(f"**{len(waiting)} doubtful.** Crystal {row.id}, confidence {row.confidence:.2f}")
    later, go = st.columns(2)
    if later.button("Later", help="Skip this one for now.", width="stretch"):
        item.go_to("skipped", result, skipped | {int(row.id)})
        st.rerun()
    if go.button("Go to it", type="primary", width="stretch", help="Then: Enter accept, Del delete, M merge, S split."):
        item.go_to("doubt", result, True)
    if not item.place("doubt", result):
        return None
    box = (
        row.centroid_y_px - row.height_px / 2,
        row.centroid_x_px - row.width_px / 2,
        row.centroid_y_px + row.height_px / 2,
        row.centroid_x_px + row.width_px / 2,
    )
    return {"token": f"{row.id} {corrected.entries} {len(skipped)}", "id": int(row.id), "box": [float(v) for v in box]}


def log_of(corrected: Corrected) -> None:
    log = corrected.history.log
    if not log:
        st.caption("No corrections yet. The labels of the run are kept, whatever you do here.")
        return
    st.caption(f"{corrections_words(log)}. The labels of the run are kept.")
    rows = [(c.when[11:19], c.who, c.words()) for c in reversed(log)]
    st.dataframe(pd.DataFrame(rows, columns=["UTC", "who", "what"]), hide_index=True, height=220)


def result(item: session.Item, job: str) -> None:
    choice = session.instances()
    corrected = shared.corrected(job, choice)
    micrograph = item.measured()
    key = f"correct {job}"
    for words in corrected_elsewhere(shared.engine(), job, choice):
        st.info(
            f"Corrections were made with other thresholds ({words}). To continue with them, set these on the Measure "
            "page."
        )
    left, right = st.columns((5, 2))
    with right:
        who = account.name_box("who", "It is logged with each correction.", "needed to correct")
        figures = st.empty()
        focus = doubtful(item, corrected, micrograph.um_per_px) if who else None
    if who:
        clicking.prepare(corrected)
    with left:
        if not who:
            st.info("Enter your name on the right first. It is logged with each correction.", icon=":material/badge:")
        table = corrected.table(micrograph.um_per_px)
        answer = viewer(
            micrograph.pixels,
            job,
            micrograph.um_per_px,
            [Crystals(corrected.history.labels, table, f"{corrected.version} {micrograph.um_per_px}")],
            Shown(
                tools=[name for name, *_ in TOOLS] if who else (),
                paths=[(CHECKED, np.array([*area, area[0]])) for area in checked.polygons(shared.engine(), job)],
                many=True,
                reports=False,
                focus=focus or item.place("field", job),
            ),
            key=key,
        )
    if answer.edit and who:
        carry_out(corrected, answer.edit, who)
        st.rerun()
    with right:
        summary = corrected.measurement(micrograph.um_per_px, session.measuring()).summary
        with figures.container():
            if summary:
                st.metric("Average crystal size", f"{significant(summary.average.value)} {summary.unit}")
                st.caption(f"{summary.counted} of {summary.found} crystals found are counted.")
                if summary.pores or summary.artefacts:
                    st.caption(f"Left out: {summary.pores} pores, {summary.artefacts} artefacts.")
        log_of(corrected)
        teaching_controls.add_checked(corrected, micrograph, who)


run_controls.result_page(
    "Correct",
    "Choose a tool, or press its key while the image has the focus. Figures update at once, and everything can be "
    "undone.",
    result,
)
