"""Assess a sample: compute its figures and their uncertainties, and judge them against the limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crystalseg.measurement.boundaries import CONVENTION
from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.measurement.field import Field, in_one_unit
from crystalseg.measurement.figures import DEFINITIONS, Figure, counted, figures, needed_crystals
from crystalseg.measurement.grain_size import Outliers, Precision, outliers, precision
from crystalseg.measurement.populations import Populations, duplex
from crystalseg.measurement.specification import DecisionRule, Limit, Outcome, Verdict, judge_all, overall
from crystalseg.measurement.uncertainty import Budget, Validation, budget

# On the test grains, SiMA+ finds 50 % of the crystals narrower than this, 80 % of those up to twice as wide and 88 % of
# the larger ones (docs/results.md).
NARROW = 16.0  # px, diameter
MANY_NARROW = 0.2  # from this share of the crystals on, a note must say so
# A note says that a crystal carries the mean if it has at least this weight under the border rule and this share of all
# weights.
HEAVY, CARRIES = 3.0, 0.1


@dataclass(frozen=True)
class Assessment:
    """The assessment of one sample.

    `fields` holds the names of the fields, `unit` is the unit of lengths, and `rule` is the border rule. `budgets`
    holds the uncertainty budget of each figure, in the order of `figures.DEFINITIONS`, and `verdicts` holds one verdict
    per limit. `populations` holds the two populations if the sample is duplex, else None. `outliers` holds the outliers
    by E930, or None. `precisions` holds the precision of each figure over the fields. `needed` is the number of
    crystals needed for a mean within 5 %, and `counted` is the number of crystals counted. `narrow` is the share of the
    counted crystals that are narrower than NARROW, 0..1. `filled` says for each field whether its grains fill the area.
    `heaviest` describes the crystal with the largest weight under the border rule: that weight, and its share of all
    weights, 0..1. `convention` is the measuring convention of the fields.
    """

    fields: tuple[str, ...]
    unit: str
    rule: str
    budgets: Mapping[str, Budget]
    verdicts: tuple[Verdict, ...]
    populations: Populations | None
    outliers: Outliers | None
    precisions: Mapping[str, Precision]
    needed: int
    counted: int
    narrow: float
    filled: tuple[bool, ...] = ()
    heaviest: tuple[float, float] = (1.0, 0.0)
    convention: int = CONVENTION

    @property
    def outcome(self) -> Outcome | None:
        """Return the verdict on all limits together, or None if there are no limits."""
        return overall(self.verdicts)

    @property
    def notes(self) -> list[str]:
        """Return the remarks that must accompany the figures."""
        said = []
        if self.populations is not None:
            low, high = self.populations.diameters
            share = 100 * self.populations.area[1]
            said.append(
                f"Duplex (ASTM E1181-02): two populations, median diameters {low:.3g} and {high:.3g} {self.unit}, "
                f"{self.populations.apart:.1f} G apart, the larger with {share:.0f} % of the area. No single "
                "grain-size number describes this sample."
            )
        if self.outliers is not None and self.outliers.ala:
            diameter = equivalent_diameter(self.outliers.largest)
            many = self.outliers.count
            said.append(
                f"ALA (ASTM E930-18): {many} outlier coarse crystal{'s' * (many != 1)}, at least "
                f"{self.outliers.coarser:.1f} G coarser than the mean of the rest, together "
                f"{100 * self.outliers.share:.1f} % of the specimen's area; the largest has {diameter:.4g} {self.unit}."
            )
        cut = self.budgets["largest"].figure
        if cut.at_least > cut.value:
            said.append(
                f"The visible part of a crystal cut by the border measures {cut.at_least:.4g} {self.unit}, more than "
                f"any counted crystal ({cut.value:.4g} {self.unit}). Upper limits are judged by at least this size."
            )
        weight, share = self.heaviest
        if weight >= HEAVY and share >= CARRIES:
            said.append(
                f"One crystal counts {weight:.3g} times under the border rule and has {100 * share:.0f} % of all "
                "weight, because so large a crystal is seldom seen whole in such a field. The mean depends on it. "
                "Measure larger fields."
            )
        if self.unit == "µm" and not all(self.filled):
            said.append(
                "No grain-size number G is given, because it is meant for grains that fill the area. These crystals do "
                "not. For particles in a matrix, use the mean diameter and the number per area."
            )
        if self.counted < self.needed:
            said.append(f"A mean within 5 % (95 %) needs about {self.needed} crystals; {self.counted} were counted.")
        if self.narrow >= MANY_NARROW:
            said.append(
                f"{100 * self.narrow:.0f} % of the crystals are narrower than {NARROW:.0f} px. Crystals of so few "
                "pixels are easily missed or merged. Take images at a higher magnification."
            )
        if len(self.fields) == 2:
            said.append("Two fields say little about how much the fields of a sample differ. Measure three or more.")
        return said


def assess(
    fields: Sequence[Field],
    rule: str,
    calibration: float | None = None,
    validation: Validation | None = None,
    limits: Sequence[Limit] = (),
    decision: DecisionRule = "guarded",
) -> Assessment | None:
    """Return the figures of one sample's fields with their budgets and verdicts, or None if no crystal counts.

    `calibration` is the relative standard uncertainty of the pixel size, None if unknown. `validation` is the
    validation of the method on such material, or None. `decision` is the rule by which the limits are judged.
    """
    above = next((limit.above for limit in limits if limit.above is not None), None)
    by_key = figures(fields, rule, above, calibration)
    if not by_key:
        return None
    filled = tuple(field.is_filled for field in fields)
    if not all(filled):
        by_key = {key: figure for key, figure in by_key.items() if DEFINITIONS[key].power != "G"}
    unit = by_key["mean"].unit
    budgets = {key: budget(figure, calibration, validation, unit == "µm") for key, figure in by_key.items()}
    parts, (sizes, weights, _) = counted(fields, rule)
    px = [part[0] / (field.um_per_px or 1.0) for part, field in zip(parts, in_one_unit(fields), strict=True)]
    return Assessment(
        tuple(field.name for field in fields),
        unit,
        rule,
        budgets,
        tuple(judge_all(limits, budgets, unit, decision)),
        duplex(sizes),
        _outliers(fields),
        _precisions(by_key),
        needed_crystals(sizes, weights),
        len(sizes),
        float(np.mean(np.concatenate(px) < NARROW)),
        filled,
        (float(weights.max()), float(weights.max() / weights.sum())),
        fields[0].convention,
    )


def _outliers(fields: Sequence[Field]) -> Outliers | None:
    """Find the coarse outliers among all visible grains, including those cut by the border, in the sample's unit.

    The visible part of a cut grain is a lower bound of its size.
    """
    _, (_, _, areas) = counted(fields, "include")
    same = in_one_unit(fields)
    return outliers(areas, sum(field.area * (1e6 if field.um_per_px else 1.0) for field in same))


def _precisions(by_key: Mapping[str, Figure]) -> dict[str, Precision]:
    """Return the precision of lengths and of N_A over the fields that have them.

    For G and for shares, %RA has no meaning.
    """
    precisions = {}
    for key, figure in by_key.items():
        values = [v for v in figure.fields if np.isfinite(v)]
        if DEFINITIONS[key].power in (1, -2) and (over_fields := precision(values)) is not None:
            precisions[key] = over_fields
    return precisions
