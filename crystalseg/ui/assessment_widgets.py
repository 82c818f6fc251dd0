"""Widgets that show an assessment: verdict, figures by standard, uncertainty budget, test lines."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.measurement.assessment import Assessment
from crystalseg.measurement.field import Field
from crystalseg.measurement.intercept import Pattern, lines_with_counts
from crystalseg.report.pictures import with_test_lines
from crystalseg.report.words import (
    FIGURE_COLUMNS,
    VERDICT_COLUMNS,
    decision_words,
    figure_rows,
    intercept_words,
    uncertainty,
    verdict_rows,
)
from crystalseg.segmentation.overlay import fit, outlined
from crystalseg.ui.plain import plain

TEST_LINES_PX = 1200  # longest side of the picture of the test lines
OUTCOMES = {"pass": ":material/check_circle:", "fail": ":material/cancel:", "not decidable": ":material/help:"}


def banner(outcome: str, words: str) -> None:
    """Show an outcome with `words` after it, in its colour."""
    show = {"pass": st.success, "fail": st.error}.get(outcome, st.warning)
    show(f"**{outcome.upper()}** {words}", icon=OUTCOMES[outcome])


def verdict(assessment: Assessment) -> None:
    """Show the verdict against the profile's limits, with its reasons."""
    banner(assessment.outcome or "not decidable", "against the profile's limits")
    verdict_table(verdict_rows(assessment.verdicts), decision_words(assessment.verdicts))


def verdict_table(rows: Sequence[Sequence[str]], decision: str) -> None:
    """Show the rows of `words.verdict_rows`, with the decision rule below them."""
    st.table(pd.DataFrame(rows, columns=list(VERDICT_COLUMNS)).set_index("limit"))
    st.caption(decision)


def _test_lines(field: Field, pixels: np.ndarray) -> None:
    """Draw the lines and circles of the intercept methods and list the counts of each."""
    picture = outlined(pixels, field.kept_labels)
    for column, pattern in zip(st.columns(2), get_args(Pattern), strict=True):
        intercepts = field.intercepts(pattern)
        column.image(fit(with_test_lines(picture, intercepts), TEST_LINES_PX), width="stretch")
        column.caption(intercept_words(pattern, intercepts, field.um_per_px))
        factor, unit = (field.um_per_px, "µm") if field.um_per_px else (1.0, "px")
        rows = pd.DataFrame(lines_with_counts(intercepts), columns=["line", "crystals", f"length in crystals, {unit}"])
        rows.iloc[:, 2] *= factor
        column.dataframe(rows, hide_index=True, height=200)


def by_standard(assessment: Assessment, field: Field, pixels: np.ndarray) -> None:
    """Show figures by standard with their uncertainty, and the budget."""
    for note in assessment.notes:
        st.info(plain(note), icon=":material/info:")
    budgets = list(assessment.budgets.values())
    st.dataframe(pd.DataFrame(figure_rows(budgets), columns=list(FIGURE_COLUMNS)), hide_index=True, height=420)
    if not all(b.complete for b in budgets):
        st.caption("≥: part of the uncertainty is unknown, see below.")
    if st.toggle("Show the test lines and circles as they were counted"):
        _test_lines(field, pixels)
    with st.expander("Uncertainty budget", icon=":material/balance:"):
        parts = [
            (b.figure.words, c.source, uncertainty(c.standard), c.kind, c.how) for b in budgets for c in b.components
        ]
        st.dataframe(pd.DataFrame(parts, columns=["figure", "source", "u", "type", "from"]), hide_index=True)
        st.caption("U = k · √Σu². k is 2 if u is well known, and larger if it rests on few fields, images or lines.")
        st.caption(
            "Segmentation: choose a profile that names the kind of material, and validate the method on labelled "
            "images of it (python -m crystalseg validate). Calibration: state the uncertainty of the pixel size."
        )
