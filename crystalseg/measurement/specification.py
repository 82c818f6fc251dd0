"""Limits on a product's figures, and whether a sample keeps them beyond its uncertainty (ISO 14253-1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.uncertainty import Budget

Outcome = Literal["pass", "fail", "not decidable"]
RULE = (
    "Decision rule (ISO 14253-1): a limit is kept if the figure keeps it by more than its expanded uncertainty "
    "(about 95 %), broken if it breaks it by more; in between nothing is decided."
)


@dataclass(frozen=True)
class Limit:
    """figure: a key of `figures.DEFINITIONS`; lower, upper: the limits, in the figure's unit, at least one of them.
    above: x for the area share above it, in the sample's unit of length. ValueError says what is wrong."""

    figure: str
    lower: float | None = None
    upper: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        if self.figure not in DEFINITIONS:
            raise ValueError(f"There is no figure '{str(self.figure)[:60]}'; known are {', '.join(DEFINITIONS)}.")
        given = [v for v in (self.lower, self.upper) if v is not None]
        if not given or not all(np.isfinite(given)):
            raise ValueError(f"{DEFINITIONS[self.figure].words}: give a lower or an upper limit.")
        if len(given) == 2 and given[0] > given[1]:
            raise ValueError(f"{DEFINITIONS[self.figure].words}: the lower limit is above the upper one.")
        if (self.figure == "area_above") != (self.above is not None):
            raise ValueError("The area share above x, and no other figure, needs its x.")

    def words(self) -> str:
        low = f"{self.lower:g} ≤ " if self.lower is not None else ""
        high = f" ≤ {self.upper:g}" if self.upper is not None else ""
        name = DEFINITIONS[self.figure].words
        if self.above is not None:
            name = name.replace("above x", f"above {self.above:g}")
        return f"{low}{name}{high}"


@dataclass(frozen=True)
class Verdict:
    """value, expanded: the figure and its expanded uncertainty, in `unit`, NaN if there is no such figure; why: in one
    sentence."""

    limit: Limit
    value: float
    expanded: float
    unit: str
    outcome: Outcome
    why: str

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> "Verdict":
        """From the record; what `dataclasses.asdict` gave."""
        return Verdict(**{**facts, "limit": Limit(**facts["limit"])})


def judge(limit: Limit, budget: Budget | None) -> Verdict:
    """One limit. Without the figure, or with a part of its uncertainty unknown, nothing is decided."""
    if budget is None:
        nan = float("nan")
        return Verdict(limit, nan, nan, "", "not decidable", "The sample has no such figure.")
    value, wide, unit = budget.figure.value, budget.expanded, budget.figure.unit
    room = min(
        value - limit.lower if limit.lower is not None else np.inf,
        limit.upper - value if limit.upper is not None else np.inf,
    )
    if not budget.complete:
        missing = ", ".join(c.source for c in budget.components if c.standard is None)
        return Verdict(limit, value, wide, unit, "not decidable", f"Uncertainty of {missing} is not known.")
    if room >= wide:
        return Verdict(limit, value, wide, unit, "pass", "The limit is kept by more than the uncertainty.")
    if room < -wide:
        return Verdict(limit, value, wide, unit, "fail", "The limit is broken by more than the uncertainty.")
    return Verdict(limit, value, wide, unit, "not decidable", "The limit lies within the uncertainty of the figure.")


def judge_all(limits: Sequence[Limit], budgets: Mapping[str, Budget]) -> list[Verdict]:
    """Every limit; `budgets` by figure."""
    return [judge(limit, budgets.get(limit.figure)) for limit in limits]


def overall(verdicts: Sequence[Verdict]) -> Outcome | None:
    """`fail` if one limit is broken, `pass` if all are kept; None without limits."""
    outcomes = {v.outcome for v in verdicts}
    return next((outcome for outcome in ("fail", "not decidable", "pass") if outcome in outcomes), None)
