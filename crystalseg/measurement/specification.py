"""Judge whether a sample keeps the limits on a product's figures by more than its uncertainty (ISO 14253-1)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from crystalseg.errors import UserError
from crystalseg.measurement.figures import DEFINITIONS, unit_of
from crystalseg.measurement.rounding import exact, significant
from crystalseg.measurement.uncertainty import Budget

Outcome = Literal["pass", "fail", "not decidable"]
Unit = Literal["µm", "px"]
UNITS: tuple[Unit, ...] = get_args(Unit)
RULE = (
    "Decision rule (ISO 14253-1): a limit is met if the figure lies within it by more than the expanded uncertainty "
    "(about 95 %), and violated if the figure lies beyond it by more. In between, the verdict is not decidable."
)


@dataclass(frozen=True)
class Limit:
    """A limit on a figure.

    `figure` is a key of `figures.DEFINITIONS`. `lower` and `upper` are the limits in the figure's unit; at least one is
    given. `above` is x for the area share above x. `unit` is the unit of lengths, including x. Raise UserError, with
    the reason, if the limit is not valid.
    """

    figure: str
    lower: float | None = None
    upper: float | None = None
    above: float | None = None
    unit: Unit = "µm"

    def __post_init__(self) -> None:
        if self.figure not in DEFINITIONS:
            raise UserError(f"There is no figure '{str(self.figure)[:60]}'. Choose from {', '.join(DEFINITIONS)}.")
        given = [v for v in (self.lower, self.upper) if v is not None]
        if not given or not all(np.isfinite(given)):
            raise UserError(f"{DEFINITIONS[self.figure].words}: give a lower or an upper limit.")
        if len(given) == 2 and given[0] > given[1]:
            raise UserError(f"{DEFINITIONS[self.figure].words}: the lower limit is above the upper one.")
        if (self.figure == "area_above") != (self.above is not None):
            raise UserError("Give x for the area share above x, and for no other figure.")
        if self.unit not in UNITS:
            raise UserError(f"{DEFINITIONS[self.figure].words}: the unit of a length must be {' or '.join(UNITS)}.")

    @property
    def is_of_length(self) -> bool:
        """Return whether the limit has a meaning only in its unit of length."""
        return DEFINITIONS[self.figure].power == 1 or self.above is not None

    def words(self) -> str:
        unit = unit_of(self.figure, self.unit)
        low, high = (
            f"{exact(v)} {unit.removeprefix('1')}".strip() if v is not None else "" for v in (self.lower, self.upper)
        )
        name = DEFINITIONS[self.figure].words
        if self.above is not None:
            name = name.replace("above x", f"above {exact(self.above)} {self.unit}")
        return f"{low and f'{low} ≤ '}{name}{high and f' ≤ {high}'}"


@dataclass(frozen=True)
class Verdict:
    """The verdict on one limit.

    `value` and `expanded` are the figure and its expanded uncertainty in `unit`, NaN if there is no such figure. `why`
    is the reason in one sentence.
    """

    limit: Limit
    value: float
    expanded: float
    unit: str
    outcome: Outcome
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON-ready dictionary for the record."""
        return asdict(self)

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> "Verdict":
        """Read a verdict from the record, as `to_dict` gave it."""
        return Verdict(**{**facts, "limit": Limit(**facts["limit"])})


def judge(limit: Limit, budget: Budget | None, unit: str = "µm") -> Verdict:
    """Judge one limit of a sample whose lengths are in `unit`.

    The verdict is not decidable if the figure is missing, if its unit is not that of the limit, or if a part of its
    uncertainty is unknown. An upper limit is also judged by the visible part of crystals cut by the border, where that
    is more.
    """
    if budget is None:
        nan = float("nan")
        return Verdict(limit, nan, nan, "", "not decidable", "The sample does not have this figure.")
    value, wide, own = budget.figure.value, budget.expanded, budget.figure.unit
    if limit.is_of_length and unit != limit.unit:
        remedy = "Give the image's pixel size" if unit == "px" else "Give the limit in µm"
        why = f"The limit is in {limit.unit}, but the sizes are in {unit}. {remedy}."
        return Verdict(limit, value, wide, own, "not decidable", why)
    shown = float(np.fmax(value, budget.figure.at_least))
    room = min(
        value - limit.lower if limit.lower is not None else np.inf,
        limit.upper - shown if limit.upper is not None else np.inf,
    )
    visible = ""
    if limit.upper is not None and shown > value and limit.upper - shown < wide:
        least = f"{significant(shown)} {own.removeprefix('1')}".strip()
        visible = f" With the visible parts of crystals cut by the border, it is at least {least}."
    if not budget.complete:
        missing = ", ".join(c.source for c in budget.components if c.standard is None)
        why = f"The uncertainty from {missing} is not known.{visible}"
        return Verdict(limit, value, wide, own, "not decidable", why)
    if room >= wide:
        return Verdict(limit, value, wide, own, "pass", "The limit is met by more than the uncertainty.")
    if room < -wide:
        return Verdict(limit, value, wide, own, "fail", f"The limit is violated by more than the uncertainty.{visible}")
    why = f"The limit lies within the uncertainty of the figure.{visible}"
    return Verdict(limit, value, wide, own, "not decidable", why)


def judge_all(limits: Sequence[Limit], budgets: Mapping[str, Budget], unit: str = "µm") -> list[Verdict]:
    """Judge every limit of a sample whose lengths are in `unit`; `budgets` holds the budgets by figure."""
    return [judge(limit, budgets.get(limit.figure), unit) for limit in limits]


def overall(verdicts: Sequence[Verdict]) -> Outcome | None:
    """Return `fail` if one limit is broken, `pass` if all are kept, else `not decidable`; None without limits."""
    outcomes = {v.outcome for v in verdicts}
    return next((outcome for outcome in ("fail", "not decidable", "pass") if outcome in outcomes), None)
