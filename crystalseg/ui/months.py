"""Combine the crystals of many runs into one population per month."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg.record import crystals, index, store
from crystalseg.ui.charts import months_chart
from crystalseg.ui.run_list import in_one_unit, say_ways

NEEDED = ("created", "unit", "counted", "crystals", "method", "weights")  # columns of the index


@st.cache_data(max_entries=600, show_spinner=False)
def _figures(month: str, key: str, _files: Sequence[str]) -> dict[str, float] | None:
    """Return the figures of the crystals of a month's runs, by their immutable files; key: made from the files."""
    return crystals.of_month(month, _files)


def of_months(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per month, oldest first: number of runs, and figures by `crystals.summed_up`. rows: of
    `index.runs`."""
    table = []
    for month, of_month in rows.groupby(rows["created"].str[:7]):
        files = of_month["crystals"].to_list()
        figures = _figures(month, store.digest(*files), files)
        if figures is not None:
            table.append({"month": month, "runs": len(of_month), **figures})
    return pd.DataFrame(table)


def months(engine: Engine, query: index.Query) -> None:
    """Show percentiles of all crystals of the runs found, by month."""
    if not st.toggle("Crystals by month", help="All crystals of the runs found, as one population per month."):
        return
    rows = index.runs(engine, query, only=NEEDED)
    rows = rows[rows["counted"].fillna(0) > 0]
    alike, unit = in_one_unit(rows)
    kept = alike[alike["crystals"] != ""]
    if len(kept) < len(rows):
        words = (
            f"{len(rows) - len(kept):,} of {len(rows):,} runs are left out, because they are not in {unit} or come "
            "from an earlier release."
        )
        st.caption(words)
    if not len(kept):
        st.info("None of these runs has crystals on record.", icon=":material/search:")
        return
    say_ways(kept)
    with st.spinner("Reading crystals…", show_time=True):
        table = of_months(kept)
    by = st.segmented_control("Weighted by", ["number", "area"], default="number", key="months by") or "number"
    st.plotly_chart(months_chart(table, by, unit), width="stretch")
    names = {f"{weight}_d{k}": f"D{k} by {weight}" for weight in ("number", "area") for k in (10, 50, 90)}
    st.dataframe(table.rename(columns=names), hide_index=True)
