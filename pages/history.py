"""History: every run on record, to find, reopen, compare, chart, approve and export."""

from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg.execution.result import hand_out, issue_report
from crystalseg.measurement.control import RULES, control_chart
from crystalseg.measurement.field import Field
from crystalseg.record import index, store
from crystalseg.record.approvals import MEANINGS, approve, signatures
from crystalseg.record.profiles import as_of, profiles
from crystalseg.record.reopening import Reopened, as_issued, reopen, same_figures, stated_otherwise
from crystalseg.record.reports import reports_of
from crystalseg.record.runs import Run, entry_of, find
from crystalseg.record.sample import why_not
from crystalseg.record.validations import lookup
from crystalseg.report import handouts
from crystalseg.report.exports import csv
from crystalseg.report.handouts import HANDOUTS, Handout, Measured
from crystalseg.report.report import Details, Report, make, printed_again, reopened_part
from crystalseg.report.words import FIGURE_COLUMNS, VERDICT_COLUMNS, figure_rows, size_rows, verdict_rows
from crystalseg.ui import account, session, shared
from crystalseg.ui.charts import control_charts
from crystalseg.ui.downloads import offer, offer_each
from crystalseg.ui.months import months
from crystalseg.ui.plain import plain
from crystalseg.ui.run_list import go_on, in_one_unit, list_key, listed, one_page, say_ways, searched, ways
from crystalseg.ui.telling import refuse, telling
from crystalseg.ui.viewer import Crystals, viewer

# Figures that can be charted and compared, by their names in the index.
TRENDS = {
    "average crystal size": "average",
    "D50 by number": "number_d50",
    "D90 by number": "number_d90",
    "D50 by area": "area_d50",
    "D90 by area": "area_d90",
    "largest crystal": "largest",
}
CHARTED = (50, 200, 1000)  # numbers of latest runs to chart
NAMED = 20  # signals of a chart that are listed in words; the chart marks all


@telling()
def show(run: Run) -> None:
    """Show a run reopened from its stored labels."""
    st.subheader(f"Run {run.id}: {plain(run.image_name)}")
    others = [other for other in index.states(shared.engine(), run.id) if other != run.id]
    if others:
        st.caption(f"Other states of this measurement: {', '.join(others)}")
    reopened = reopen(run)
    measurement = reopened.measurement
    if same_figures(run, measurement.summary):
        st.success(
            "Measuring the stored labels again gives the same figures to the last digit.",
            icon=":material/check:",
        )
    else:
        refuse("The stored labels do not reproduce the figures on record.")
    if reopened.micrograph is not None:
        viewer(
            reopened.micrograph.pixels,
            f"history {run.id}",
            run.um_per_px,
            [Crystals(reopened.labels, measurement.crystals, run.id)],
            key=f"history {run.id}",
        )
    if otherwise := stated_otherwise(run, measurement.summary):
        st.info(plain(otherwise), icon=":material/info:")
    if (summary := as_issued(run, measurement.summary)) is not None:
        st.table(pd.DataFrame(size_rows(summary), columns=["figure", "value"]).set_index("figure"))
    if run.judged:
        st.markdown(f"Verdict: **{run.outcome.upper()}**")
        st.table(pd.DataFrame(verdict_rows(run.judged), columns=list(VERDICT_COLUMNS)).set_index("limit"))
    left, right = st.columns(2)
    with left:
        reports(reopened)
        if account.person().may("operator"):
            go_on(run)
    with right:
        sign_box(run)


def reports(reopened: Reopened) -> None:
    """Offer the report printed again, the result for other programs, and the reports that were issued."""
    run, engine = reopened.run, shared.engine()

    def report() -> Report:
        profile = as_of(engine, run.profile, entry_of(engine, run.id).number)  # the profile that the run was judged by
        validation = lookup(profile, run.chosen)
        said: dict[str, Any] = dict(run.details)
        details = Details(**said, authorised="; ".join(s.words() for s in signatures(engine, run.id)))
        return printed_again(reopened, validation, details, profile)

    def made(row: Handout) -> bytes:
        return hand_out(engine, row, measured, report, session.who())

    if account.person().may("operator"):
        field = Field(reopened.labels, reopened.measurement.crystals, run.um_per_px, run.image_name)
        measured = Measured(field, run.chosen, reopened.micrograph.pixels if reopened.micrograph else None)
        offered = [row for row in HANDOUTS.values() if measured.pixels is not None or not row.needs_image]
        offer_each(offered, made, run.id, 2, run.id)
    for entry in reports_of(engine, run.id):
        form, (sha256,) = entry.body["form"], entry.body["files"].values()
        offer(
            st,
            f"{form} as issued {entry.created[:19].replace('T', ' ')} UTC",
            partial(store.get, sha256),
            f"{run.id}_report.{handouts.ending_of(form)}",
            key=f"report {entry.number}",
            type="tertiary",
        )


def sign_box(run: Run) -> None:
    """Show who signed the run, when and in which role, and let people sign who may."""
    given = signatures(shared.engine(), run.id)
    for signature in given:
        st.success(plain(signature.words()), icon=":material/verified:")
    if not account.person().may("approver"):
        return
    who = account.name_box(f"approve {run.id}", placeholder="needed to approve", anew=True)
    left = [m for m in MEANINGS if m != "approval" or all(s.meaning != m for s in given)]
    meaning = st.selectbox("What the signature means", left, key=f"meaning {run.id}")
    if account.can_sign() and st.button("Sign", icon=":material/verified:", disabled=not who, key=f"sign {run.id}"):
        with telling():
            approve(shared.engine(), run.id, account.person() if account.is_configured() else who, meaning)
            st.rerun()


def beside(one: Run, other: Run) -> None:
    """Compare the figures and settings of two runs."""
    st.subheader("Two runs compared")
    rows = []
    for words, figure in TRENDS.items():
        a, b = (index.FIGURES[figure](r.summary) if r.summary else float("nan") for r in (one, other))
        rows.append((words, a, b, 100 * (b / a - 1)))
    columns = ["figure", one.id, other.id, "difference, %"]
    st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True)
    units = {r.summary.unit for r in (one, other) if r.summary}
    if len(units) > 1:
        st.warning("One is in µm, the other in px, so their sizes cannot be compared.", icon=":material/straighten:")
    flat = [
        _flat(asdict(r.chosen)) | {"calibration": r.um_per_px, **{f"weights {k}": v[:12] for k, v in r.hashes.items()}}
        for r in (one, other)
    ]
    differ = [
        (k, str(flat[0].get(k)), str(flat[1].get(k))) for k in flat[0] | flat[1] if flat[0].get(k) != flat[1].get(k)
    ]
    if differ:
        st.dataframe(pd.DataFrame(differ, columns=["setting that differs", one.id, other.id]), hide_index=True)
    else:
        st.caption("Settings, calibration and networks are the same.")


@telling()
def pooled(runs: list[Run]) -> None:
    """Show runs as the fields of one sample: pooled figures, the spread between fields, one report."""
    st.subheader(f"{len(runs)} runs as fields of one sample")
    if problem := why_not(runs):
        st.warning(plain(problem), icon=":material/difference:")
        return
    offered = profiles(shared.engine())
    own = {r.profile for r in runs}
    names = list(offered)
    first = names.index(next(iter(own))) if len(own) == 1 and own <= set(names) else None
    profile = offered.get(st.selectbox("Judged by the profile", names, first, placeholder="none") or "")
    sample = st.text_input("Sample", next((r.details["sample"] for r in runs if r.details.get("sample")), ""))
    parts = [reopened_part(reopen(run)) for run in runs]
    validation = lookup(profile, parts[0].settings)
    report = make(parts, validation, Details(sample=sample, operator=session.who()), profile)
    if report.assessment is None:
        st.warning("No crystal was counted in these fields.", icon=":material/search:")
        return
    if report.assessment.outcome:
        st.markdown(f"Verdict: **{report.assessment.outcome.upper()}**")
    for note in report.assessment.notes:
        st.info(plain(note), icon=":material/info:")
    rows = figure_rows(list(report.assessment.budgets.values()))
    st.dataframe(pd.DataFrame(rows, columns=list(FIGURE_COLUMNS)), hide_index=True)
    if not account.person().may("operator"):
        return
    engine, who = shared.engine(), session.who()
    offer_each(handouts.reports(), lambda row: issue_report(engine, row, report, who), "sample", key="sample")


def _flat(settings: dict, before: str = "") -> dict:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return flat


def trend(engine: Engine, query: index.Query) -> None:
    """Show an individuals and moving-range chart of one figure of the runs found, oldest first."""
    st.subheader("Trend of the runs found")
    left, right = st.columns((3, 1))
    words = left.selectbox("Figure", list(TRENDS))
    most = right.selectbox("Latest runs", CHARTED, 1, help="Largest number of runs in the chart.")
    rows = index.runs(engine, query, most)[::-1]
    measured = rows[rows[TRENDS[words]].notna()]
    kept, unit = in_one_unit(measured)
    if len(kept) < 2:
        st.info("A control chart needs two or more runs.", icon=":material/show_chart:")
        return
    if len(kept) < len(measured):
        st.caption(f"{len(measured) - len(kept)} of these runs are not in {unit} and are left out here.")
    say_ways(kept)
    values = kept[TRENDS[words]].tolist()
    chart = control_chart(values)
    names = [(r.created[:16].replace("T", " "), r.image, r.run, r.method) for r in kept.itertuples()]
    way = ways(kept).tolist()
    changes = [k for k in range(1, len(way)) if way[k] != way[k - 1]]
    signals = {k: "; ".join(RULES[n - 1] for n in rules) for k, rules in enumerate(chart.signals) if rules}
    st.plotly_chart(control_charts(chart, values, names, signals, changes, words, unit), width="stretch")
    for note in chart.notes:
        st.caption(note)
    for k, rules in list(signals.items())[-NAMED:]:
        st.caption(f":material/warning: {plain(', '.join(names[k][:3]))}: {rules}")
    if len(signals) > NAMED:
        st.caption(f"{len(signals) - NAMED} earlier signals are marked in the chart.")


def page() -> None:
    session.enter("viewer")
    st.title("History")
    st.caption("Every run on record. Choose one to reopen it, two to compare, or several to report as one sample.")
    engine = shared.engine()
    with st.spinner("Indexing runs…"):
        index.catch_up(engine)
    if not index.count(engine):
        st.info("Nothing is measured yet. Go to Measure.", icon=":material/straighten:")
        return
    query = searched(engine)
    rows = one_page(engine, query)
    chosen = st.dataframe(
        listed(rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height=320,
        key=list_key(rows),
        column_config={"average": st.column_config.NumberColumn(format="%.4g")},
    )
    offer(st, "Runs as CSV", lambda: csv(listed(index.runs(engine, query))), "runs.csv", "text/csv")
    picked = [find(engine, rows["run"].iloc[k]) for k in chosen.selection.rows if k < len(rows)]
    if len(picked) == 1:
        show(picked[0])
    elif picked:
        if len(picked) == 2:
            beside(*picked)
        pooled(picked)
    trend(engine, query)
    months(engine, query)


page()
