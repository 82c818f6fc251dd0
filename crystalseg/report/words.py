"""Express figures and statements in words, the same on pages, in reports and on the command line."""

from collections.abc import Sequence

import numpy as np

from crystalseg.measurement.boundaries import CONVENTION, RELATIVE, WIDEST
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.intercept import Intercepts
from crystalseg.measurement.rounding import U_DIGITS, decimal, place, significant, together
from crystalseg.measurement.specification import RULES, Verdict
from crystalseg.measurement.uncertainty import Budget
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.methods import method_of, runs_flow, words_of
from crystalseg.segmentation.settings import Settings

# measured by `python -m benchmarks.determinism`; see docs/reliability.md
DETERMINISM = (
    "The same image, settings and weights give bit-identical labels on the same device. On 11 real micrographs, "
    "bfloat16 instead of float32 changed the average size by 0.3 % on average and by at most 1.7 % (SiMA+)."
)

SAMPLING = (
    "Crystals of a field are not independent, so the sampling uncertainty is estimated from 3 × 3 blocks of the field "
    "(jackknife). For several fields it is estimated from the spread between them if that is larger."
)
EXPANDED = "U (95 %)"  # the header of columns of expanded uncertainties


def size_rows(summary: Summary, average: Budget | None = None) -> list[tuple[str, str]]:
    """Return the summary table, name and value with unit, for both page and report. average: the budget of the average,
    whose U is stated; without it, the summary's interval of sampling alone is stated."""
    u = summary.unit
    own = summary.average
    marked = summary.pores + summary.artefacts
    size = significant(own.value)
    if average is not None:
        size, wide = rounded(average)
        spread = f" ({stated(wide)})"
    elif np.isfinite(own.low):
        size, low, high = with_limits(own.value, own.low, own.high)
        spread = f" (95 % CI of sampling alone {low} to {high})"
    else:
        spread = " (too few crystals: no CI)"
    return [
        ("Average crystal size (ACS)", f"{size} {u}{spread}"),
        ("D10 / D50 / D90 by number", " / ".join(map(significant, summary.number)) + f" {u}"),
        ("D10 / D50 / D90 by area", " / ".join(map(significant, summary.area)) + f" {u}"),
        ("Span by number, by area", f"{significant(summary.number_span, 3)}, {significant(summary.area_span, 3)}"),
        ("Smallest, largest crystal", f"{significant(summary.smallest)}, {significant(summary.largest)} {u}"),
        ("Crystals found, counted, at the border", f"{summary.found}, {summary.counted}, {summary.border}"),
        ("Area covered by crystals", f"{100 * summary.area_share:.1f} %"),
        *([("Marked and left out", f"{summary.pores} pores, {summary.artefacts} artefacts")] if marked else []),
    ]


def with_limits(value: float, low: float, high: float) -> tuple[str, str, str]:
    """Return a value and the limits of its interval, rounded as a value with half the interval as uncertainty."""
    decimals = place((high - low) / 2, U_DIGITS)
    return decimal(value, decimals), decimal(low, decimals), decimal(high, decimals)


def decision_words(verdicts: Sequence[Verdict]) -> str:
    """Name and explain the decision rule of a sample's verdicts, which is one for all of them."""
    return f"Decision rule: {'. '.join(RULES[verdicts[0].rule])}"


def corrections_words(log: Sequence[Correction]) -> str:
    """Return, for example, '3 corrections by hand, by A. Smith and B. Jones'."""
    names = list(dict.fromkeys(c.who or "an unnamed person" for c in log))
    return f"{len(log)} correction{'s' * (len(log) != 1)} by hand, by {' and '.join(names)}"


def number(key: str, value: float) -> str:
    """Return a figure's value as text: grain-size numbers to 0.1 (E112-13 clause 19), others to four digits."""
    return decimal(value, 1) if DEFINITIONS[key].power == "G" else significant(value)


def uncertainty(value: float | None) -> str:
    """Return a component of an uncertainty with two digits."""
    return "not known" if value is None else significant(value, U_DIGITS)


def rounded(b: Budget) -> tuple[str, str]:
    """Return a figure's value and its expanded uncertainty, rounded together.

    The uncertainty is marked as a lower bound if part of it is unknown. Grain-size numbers are given to 0.1.
    """
    value, wide = _together(b.figure.key, b.figure.value, b.expanded)
    return value, _marked(b, b.expanded, wide)


def stated(wide: str) -> str:
    """Return an expanded uncertainty with its name: `U (95 %) = 1.2`, `U (95 %) ≥ 1.2`, `U (95 %) not known`."""
    return f"{EXPANDED} {wide if wide[:1] in '≥n' else f'= {wide}'}"


def bounded(b: Budget, value: float) -> str:
    """Return a combined uncertainty with two digits, marked as a lower bound if part of it is unknown."""
    return _marked(b, value, uncertainty(value))


def _marked(b: Budget, value: float, text: str) -> str:
    if b.complete:
        return text
    return f"≥ {text}" if value else "not known"


def _together(key: str, value: float, expanded: float) -> tuple[str, str]:
    if DEFINITIONS[key].power != "G":
        return together(value, expanded)
    # An uncertainty that would vanish in the last digit is rounded up to it.
    return decimal(value, 1), decimal(max(expanded, 0.1) if expanded > 0 else expanded, 1)


def with_unit(value: str, unit: str) -> str:
    """Return a number with its unit; a number per area reads `190 700 /mm²`."""
    return f"{value} {unit.removeprefix('1')}".strip()


def intercept_words(pattern: str, intercepts: Intercepts, um_per_px: float | None) -> str:
    """Return the counts on test lines or circles, as the caption of their picture, in µm if the pixel size is known."""
    factor, unit = (um_per_px, "µm") if um_per_px else (1.0, "px")
    mean = f", mean {significant(factor * intercepts.mean)} {unit}" if intercepts.count else ""
    return f"{pattern}: {intercepts.count:g} crystals on {significant(factor * intercepts.length)} {unit}{mean}"


VERDICT_COLUMNS = ("limit", "figure", EXPANDED, "verdict", "why")
FIGURE_COLUMNS = ("figure", "value", EXPANDED, "computed with")


def verdict_rows(verdicts: Sequence[Verdict]) -> list[tuple[str, str, str, str, str]]:
    """Return limit, figure with unit, expanded uncertainty, verdict and reason of each verdict."""
    return [
        (
            v.limit.words(),
            with_unit(value, v.unit),
            wide,
            v.outcome.upper(),
            v.why,
        )
        for v in verdicts
        for value, wide in [_together(v.limit.figure, v.value, v.expanded)]
    ]


def figure_rows(budgets: Sequence[Budget]) -> list[tuple[str, str, str, str]]:
    """Return figure, value with unit, expanded uncertainty and standard of each budget."""
    return [
        (
            b.figure.words,
            with_unit(value, b.figure.unit),
            wide,
            b.figure.definition.standard,
        )
        for b in budgets
        for value, wide in [rounded(b)]
    ]


def rule_words(rule: str) -> str:
    """Return the border rule as a sentence."""
    if rule == "exclude":
        return (
            "Crystals cut by the image border are left out. Each of the others counts W·H / ((W − w)(H − h)) to make "
            "up for them (Miles–Lantuéjoul weight, formula of ISO 13322-1)."
        )
    return "Every crystal counts once, including crystals cut by the image border."


HOLES = {
    "filled": "filled: the area is what a crystal's outline encloses",
    "kept": "kept: the area is that of the crystal alone",
}


def boundary_words(filled: Sequence[bool], convention: int = CONVENTION) -> str:
    """To whom boundaries belong, in a sentence; filled: whether the grains of each field fill the area;
    convention: how they were measured."""
    if not any(filled):
        return "Crystals are measured as they are outlined: they do not fill the area, so that no boundary is shared."
    fields = "" if all(filled) else f" in {sum(filled)} of {len(filled)} fields, where grains fill the area"
    part = 200 * RELATIVE[convention]
    return (
        f"Boundaries belong half to each neighbour{fields}: gaps of up to {2 * WIDEST:.0f} px across, and "
        f"{part:.0f} % of the median diameter + 2 px, are given to the nearest grain before area, "
        "diameter, intercept and G are measured."
    )


def _limit_rows(settings: Settings) -> list[tuple[str, str]]:
    """Return the criteria by which crystals were dropped."""
    choice = settings.instances
    if not runs_flow(settings.method):
        return []
    if settings.drops_by_confidence:
        return [("Lowest confidence kept", f"{choice.min_confidence:g}")]
    return [("Flow threshold", f"{choice.flow_threshold:g}" if choice.flow_threshold else "off")]


def settings_rows(settings: Settings, factors: str) -> list[tuple[str, str]]:
    """Return the chosen settings, one per row."""
    method, scales, instances = settings.method, settings.scales, settings.instances
    rows = [("Method", f"{method}: {method_of(method).words}")]
    if method_of(method).runs_sima_plus:
        rows.append(("Flow network", f"{settings.network}: {words_of(settings.network)}"))
        rows.append(("Effort", f"{settings.effort}: {EFFORTS[settings.effort].words}"))
    if factors:
        rows.append(("Resize factors", factors))
    if method_of(method).fusion == "attention":
        thresholds = ", ".join(f"{t:g}" for t in scales.levels)
        rows.append(("Size thresholds, %; tile relevance", f"{thresholds}; {scales.tile_relevance:g}"))
    return [
        *rows,
        ("Foreground threshold h, smallest area", f"{instances.foreground_threshold:g}, {instances.min_area} px²"),
        *_limit_rows(settings),
        ("Holes in crystals", HOLES[instances.holes]),
        ("Border rule", settings.measuring.border_rule),
        *([("Counted only", settings.measuring.only)] if settings.measuring.only else []),
    ]
