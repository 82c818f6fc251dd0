"""Runs on record as a list that is searched and turned over."""

import math

import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg.record import index, store
from crystalseg.ui.plain import plain

A_PAGE = 100  # runs listed at once
WAYS_NAMED = 4
SHOWN = (
    *("run", "created", "image", "sample", "average", "unit", "verdict", "counted", "profile", "method"),
    *("corrections", "operator", "approved"),
)


def listed(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs of the index as they are shown."""
    when = rows["created"].str[:19].str.replace("T", " ")
    return rows[list(SHOWN)].assign(created=when).rename(columns={"created": "when, UTC"})


def in_one_unit(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Those of the runs whose sizes are in the unit of most, and the unit: µm and px are not shown together."""
    unit = next(iter(rows["unit"].mode()), "")
    return rows[rows["unit"] == unit], unit


def ways(rows: pd.DataFrame) -> pd.Series:
    """With what each run was measured: its method, network, model and weights, in words."""
    return rows["method"] + (" (" + rows["weights"] + ")").where(rows["weights"] != "", "")


def say_ways(rows: pd.DataFrame) -> None:
    """A caption, if not all of the runs were measured in the same way: figures may differ by that alone."""
    counts = ways(rows).value_counts(sort=False)
    if len(counts) > 1:
        listed = "; ".join(f"{way}, {count:,} run{'s' * (count != 1)}" for way, count in counts[:WAYS_NAMED].items())
        more = f"; and {len(counts) - WAYS_NAMED} more" if len(counts) > WAYS_NAMED else ""
        st.caption(
            f":material/difference: Measured in {len(counts)} ways: {plain(listed)}{more}. A step between them may "
            "come from the method and not from the material."
        )


def list_key(rows: pd.DataFrame) -> str:
    """The widget's name for a list of these runs: what is chosen in it, by row, must not be taken for others when the
    list changes, as it does with every new run."""
    return f"runs {store.digest(*rows['run'])}"


def searched(engine: Engine) -> index.Query:
    """What is searched for."""
    columns = st.columns((3, 2, 2))
    words = columns[0].text_input("Search", placeholder="image, sample, run, operator …").split()
    profiles = columns[1].multiselect("Profile", index.profiles_used(engine))
    verdicts = columns[2].multiselect("Verdict", ["pass", "fail", "not decidable"])
    every = st.toggle(
        "Every state of a measurement",
        help="A run, and its reports with corrections or other thresholds, are one measurement: of its states the one "
        "approved stands for it, else the last. On, all are listed and charted.",
    )
    return index.Query(tuple(words), tuple(profiles), tuple(verdicts), every)


def one_page(engine: Engine, query: index.Query) -> pd.DataFrame:
    """The runs found, a page of them."""
    found = index.count(engine, query)
    pages = max(1, math.ceil(found / A_PAGE))
    page = 1
    if pages > 1:
        left, right = st.columns((1, 5), vertical_alignment="bottom")
        page = int(left.number_input("Page", 1, pages, key=f"page of {query}"))
        right.caption(f"of {pages}: {found:,} runs, the latest first")
    return index.runs(engine, query, A_PAGE, A_PAGE * (page - 1))
