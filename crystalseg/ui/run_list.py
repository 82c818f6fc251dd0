"""The searchable list of runs on record, in pages."""

import math

import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg.record import index, store
from crystalseg.record.runs import Run
from crystalseg.ui import session
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling

A_PAGE = 100  # runs per page
WAYS_NAMED = 4
SHOWN = (
    *("run", "created", "image", "sample", "average", "unit", "verdict", "counted", "profile", "method"),
    *("corrections", "operator", "approved"),
)


def go_on(run: Run) -> None:
    """Show a button that opens the run on the Measure page."""
    words = "Opens image, settings and corrections on the Measure page."
    if st.button("Continue with this run", icon=":material/edit:", key=f"go on {run.id}", help=words):
        with telling():
            session.take_up(run)
            st.switch_page("pages/measure.py")


def listed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return runs of the index as the table to show."""
    when = rows["created"].str[:19].str.replace("T", " ")
    return rows[list(SHOWN)].assign(created=when).rename(columns={"created": "when, UTC"})


def in_one_unit(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the runs in the unit that most of them use, and that unit. µm and px are never shown together."""
    unit = next(iter(rows["unit"].mode()), "")
    return rows[rows["unit"] == unit], unit


def ways(rows: pd.DataFrame) -> pd.Series:
    """Return how each run was measured, in words: its method, network, model and weights."""
    return rows["method"] + (" (" + rows["weights"] + ")").where(rows["weights"] != "", "")


def say_ways(rows: pd.DataFrame) -> None:
    """Show a caption if the runs were measured in different ways, because that alone may change figures."""
    counts = ways(rows).value_counts(sort=False)
    if len(counts) > 1:
        listed = "; ".join(f"{way}, {count:,} run{'s' * (count != 1)}" for way, count in counts[:WAYS_NAMED].items())
        more = f"; and {len(counts) - WAYS_NAMED} more" if len(counts) > WAYS_NAMED else ""
        st.caption(
            f":material/difference: Measured in {len(counts)} ways: {plain(listed)}{more}. A step between them may "
            "come from the method and not from the material."
        )


def list_key(rows: pd.DataFrame) -> str:
    """Return the widget key for a list of these runs. Rows chosen in it must not select other runs when the list
    changes, as it does with every new run."""
    return f"runs {store.digest(*rows['run'])}"


def searched(engine: Engine) -> index.Query:
    """Show the search fields and return the query."""
    columns = st.columns((3, 2, 2))
    words = columns[0].text_input("Search", placeholder="image, sample, run, operator …").split()
    profiles = columns[1].multiselect("Profile", index.profiles_used(engine))
    verdicts = columns[2].multiselect("Verdict", ["pass", "fail", "not decidable"])
    every = st.toggle(
        "Every state of a measurement",
        help="A run and its reports with corrections or other thresholds are states of one measurement. Normally the "
        "approved state represents it, or else the latest. Switch this on to list and chart all states.",
    )
    return index.Query(tuple(words), tuple(profiles), tuple(verdicts), every)


def one_page(engine: Engine, query: index.Query) -> pd.DataFrame:
    """Return one page of the runs found."""
    found = index.count(engine, query)
    pages = max(1, math.ceil(found / A_PAGE))
    page = 1
    if pages > 1:
        left, right = st.columns((1, 5), vertical_alignment="bottom")
        page = int(left.number_input("Page", 1, pages, key=f"page of {query}"))
        right.caption(f"of {pages}: {found:,} runs, the latest first")
    return index.runs(engine, query, A_PAGE, A_PAGE * (page - 1))
