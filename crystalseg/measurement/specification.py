"""Judge whether a sample keeps the limits on a product's figures, by the decision rule of its specification."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from crystalseg.errors import UserError
from crystalseg.measurement.figures import DEFINITIONS, G_PER_LENGTH, Figure, unit_of
from crystalseg.measurement.rounding import exact, significant
from crystalseg.measurement.uncertainty import Budget, Component

Outcome = Literal["pass", "fail", "not decidable"]
Unit = Literal["µm", "px"]
UNITS: tuple[Unit, ...] = get_args(Unit)
DecisionRule = Literal["guarded", "simple"]
# ISO/IEC 17025:2017, 7.8.6 asks for a rule that is named with every verdict. ILAC-G8:09/2019, 4.2 describes these.
RULES: Mapping[DecisionRule, tuple[str, str]] = {
    "guarded": (
        "Acceptance and rejection guarded by U",
        "A limit is met if the figure lies within it by more than the expanded uncertainty U (about 95 %), and "
        "violated if the figure lies beyond it by more; in between, the verdict is not decidable (ISO 14253-1; "
        "ILAC-G8:09/2019, 4.2.3). While a part of U is unknown, nothing passes.",
    ),
    "simple": (
        "Simple acceptance",
        "A limit is met if the figure lies within it, whatever the uncertainty (ILAC-G8:09/2019, 4.2.1). A sample "
        "exactly at the limit passes or fails by chance, one time in two.",
    ),
}
# How far a source of uncertainty that nobody stated can carry lengths in a rejection: a factor either way.
FACTORS = {"segmentation": 2.0, "calibration": 1.5}


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
    is the reason in one or two sentences, and `rule` is the decision rule.
    """

    limit: Limit
    value: float
    expanded: float
    unit: str
    outcome: Outcome
    why: str
    rule: DecisionRule = "guarded"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON-ready dictionary for the record."""
        return asdict(self)

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> "Verdict":
        """Read a verdict from the record, as `to_dict` gave it."""
        return Verdict(**{**facts, "limit": Limit(**facts["limit"])})


def judge(limit: Limit, budget: Budget | None, unit: str = "µm", rule: DecisionRule = "guarded") -> Verdict:
    """Judge one limit of a sample whose lengths are in `unit`, by a decision rule of RULES.

    The verdict is not decidable if the figure is missing or if its unit is not that of the limit. If a part of its
    uncertainty is unknown, the guarded rule never passes, and fails only what would fail with an error by the factor in
    FACTORS. An upper limit is also judged by the visible part of crystals cut by the border, where that is more.
    """
    if budget is None:
        nan = float("nan")
        grains = DEFINITIONS[limit.figure].power == "G"
        needs = " G needs a pixel size and crystals that fill the area." if grains else ""
        return Verdict(limit, nan, nan, "", "not decidable", f"The sample does not have this figure.{needs}", rule)
    if limit.is_of_length and unit != limit.unit:
        remedy = "Give the image's pixel size" if unit == "px" else "Give the limit in µm"
        why = f"The limit is in {limit.unit}, but the sizes are in {unit}. {remedy}."
        decided: tuple[Outcome, str] = "not decidable", why
    else:
        decided = (_simply if rule == "simple" else _guarded)(limit, budget)
    figure = budget.figure
    return Verdict(limit, figure.value, budget.expanded, figure.unit, *decided, rule)


def _simply(limit: Limit, budget: Budget) -> tuple[Outcome, str]:
    """Judge by simple acceptance. The reason says what is not known of the uncertainty."""
    unknown = "" if budget.complete else f" Its uncertainty from {_unknown(budget)} is not known."
    if _room(limit, budget.figure) >= 0:
        return "pass", f"The figure lies within the limit.{unknown}"
    return "fail", f"The figure lies beyond the limit.{_visible(limit, budget.figure, 0.0)}{unknown}"


def _guarded(limit: Limit, budget: Budget) -> tuple[Outcome, str]:
    """Judge by acceptance and rejection that are both guarded by U."""
    wide = budget.expanded
    room = _room(limit, budget.figure)
    visible = _visible(limit, budget.figure, wide)
    if not budget.complete:
        if _room(limit, budget.figure, budget) < 0:
            factors = " and ".join(
                f"{c.source} were off by a factor of {FACTORS[c.source]:g}" for c in _missing(budget)
            )
            return "fail", f"The limit would be violated even if {factors}.{visible}"
        return "not decidable", f"The uncertainty from {_unknown(budget)} is not known.{visible}"
    if room >= wide:
        return "pass", "The limit is met by more than the uncertainty."
    if room < -wide:
        return "fail", f"The limit is violated by more than the uncertainty.{visible}"
    return "not decidable", f"The limit lies within the uncertainty of the figure.{visible}"


def _missing(budget: Budget) -> list[Component]:
    return [c for c in budget.components if c.standard is None]


def _unknown(budget: Budget) -> str:
    return ", ".join(c.source for c in _missing(budget))


def _shown(figure: Figure) -> float:
    """Return the least that an upper limit has to allow."""
    return float(np.fmax(figure.value, figure.at_least))


def _room(limit: Limit, figure: Figure, bounded_by: Budget | None = None) -> float:
    """Return the distance of a figure from the nearer limit, negative beyond it.

    `bounded_by` is a budget with unknown parts: the distance is that of the value most favourable to the sample within
    the known uncertainty and the factors for the unknown parts, infinite if there is no factor for one of them.
    """
    low, high = figure.value, _shown(figure)
    if bounded_by is not None:
        sources = [c.source for c in _missing(bounded_by)]
        power = figure.definition.power
        if power == 0 or not set(sources) <= set(FACTORS):
            return float("inf")
        factor = float(np.prod([FACTORS[source] for source in sources]))
        low, high = low + bounded_by.expanded, high - bounded_by.expanded
        if isinstance(power, str):
            low, high = low + G_PER_LENGTH * np.log(factor), high - G_PER_LENGTH * np.log(factor)
        else:
            low, high = low * factor ** abs(power), high / factor ** abs(power)
    return min(
        low - limit.lower if limit.lower is not None else np.inf,
        limit.upper - high if limit.upper is not None else np.inf,
    )


def _visible(limit: Limit, figure: Figure, wide: float) -> str:
    """Say what a crystal cut by the border adds, where an upper limit is judged by it."""
    shown = _shown(figure)
    if limit.upper is None or shown <= figure.value or limit.upper - shown >= wide:
        return ""
    least = f"{significant(shown)} {figure.unit.removeprefix('1')}".strip()
    return f" With the visible parts of crystals cut by the border, it is at least {least}."


def judge_all(
    limits: Sequence[Limit], budgets: Mapping[str, Budget], unit: str = "µm", rule: DecisionRule = "guarded"
) -> list[Verdict]:
    """Judge every limit of a sample whose lengths are in `unit`; `budgets` holds the budgets by figure."""
    return [judge(limit, budgets.get(limit.figure), unit, rule) for limit in limits]


def overall(verdicts: Sequence[Verdict]) -> Outcome | None:
    """Return `fail` if one limit is broken, `pass` if all are kept, else `not decidable`; None without limits."""
    outcomes = {v.outcome for v in verdicts}
    return next((outcome for outcome in ("fail", "not decidable", "pass") if outcome in outcomes), None)
