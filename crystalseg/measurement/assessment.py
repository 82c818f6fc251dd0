"""A sample measured: its figures, their uncertainty, and the verdict on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.measurement.field import Field, in_one_unit
from crystalseg.measurement.figures import DEFINITIONS, Figure, counted, figures, needed_crystals
from crystalseg.measurement.grain_size import Outliers, Precision, outliers, precision
from crystalseg.measurement.populations import Populations, duplex
from crystalseg.measurement.specification import Limit, Outcome, Verdict, judge_all, overall
from crystalseg.measurement.uncertainty import Budget, Validation, budget

# Of the crystals of the test grains SiMA+ finds 50 % of those narrower than this, 80 % of those up to twice as wide and
# 88 % of the larger ones (docs/results.md).
NARROW = 16.0  # px, diameter
MANY_NARROW = 0.2  # share of the crystals from which on that has to be said
# A crystal of at least this weight under the border rule, and this share of all weights, is said to carry the mean.
HEAVY, CARRIES = 3.0, 0.1


@dataclass(frozen=True)
class Assessment:
    """fields: names; unit: of lengths; rule: border rule; budgets: by figure, in the order of `figures.DEFINITIONS`;
    verdicts: of the limits; populations: two if the sample is duplex, else None; outliers: E930, or None; precisions:
    by figure, over the fields; needed: crystals needed for the mean within 5 %; counted: crystals counted; narrow: of
    them the share under NARROW, 0..1; filled: whether the grains of each field fill the area; heaviest: of the crystal
    with the largest weight under the border rule, this weight and its share of all, 0..1."""

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

    @property
    def outcome(self) -> Outcome | None:
        """The verdict on all limits together; None if there are none."""
        return overall(self.verdicts)

    @property
    def notes(self) -> list[str]:
        """What must be said beside the figures."""
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
                f"A crystal cut by the border shows {cut.at_least:.4g} {self.unit} of itself and is larger than any "
                f"that was counted ({cut.value:.4g} {self.unit}): it counts as at least so large against upper limits."
            )
        weight, share = self.heaviest
        if weight >= HEAVY and share >= CARRIES:
            said.append(
                f"One crystal counts {weight:.3g} times under the border rule, {100 * share:.0f} % of all weight, as "
                "so large a one is seldom seen whole in such a field: it carries the mean. Larger fields settle it."
            )
        if any(key.startswith("g_") for key in self.budgets) and not all(self.filled):
            said.append(
                "The crystals do not fill the area. A grain-size number G is meant for grains that do; of particles in "
                "a matrix the mean diameter and the number per area tell."
            )
        if self.counted < self.needed:
            said.append(
                f"For a mean within 5 % (95 %) about {self.needed} crystals are needed; {self.counted} were counted."
            )
        if self.narrow >= MANY_NARROW:
            said.append(
                f"{100 * self.narrow:.0f} % of the crystals are narrower than {NARROW:.0f} px. Of so few pixels they "
                "are easily missed or merged: images at a higher magnification show them."
            )
        if len(self.fields) == 2:
            said.append("How far two fields of a sample differ tells little of the others: measure three or more.")
        return said


def assess(
    fields: Sequence[Field],
    rule: str,
    calibration: float | None = None,
    validation: Validation | None = None,
    limits: Sequence[Limit] = (),
) -> Assessment | None:
    """Figures of one sample's fields with their budgets and verdicts; None if no crystal counts.

    calibration: relative standard uncertainty of the pixel size, None if unknown; validation: of the method on such
    material, or None.
    """
    above = next((limit.above for limit in limits if limit.above is not None), None)
    by_key = figures(fields, rule, above, calibration)
    if not by_key:
        return None
    unit = by_key["mean"].unit
    budgets = {key: budget(figure, calibration, validation, unit == "µm") for key, figure in by_key.items()}
    parts, (sizes, weights, _) = counted(fields, rule)
    px = [part[0] / (field.um_per_px or 1.0) for part, field in zip(parts, in_one_unit(fields), strict=True)]
    return Assessment(
        tuple(field.name for field in fields),
        unit,
        rule,
        budgets,
        tuple(judge_all(limits, budgets, unit)),
        duplex(sizes),
        _outliers(fields),
        _precisions(by_key),
        needed_crystals(sizes, weights),
        len(sizes),
        float(np.mean(np.concatenate(px) < NARROW)),
        tuple(field.is_filled for field in fields),
        (float(weights.max()), float(weights.max() / weights.sum())),
    )


def _outliers(fields: Sequence[Field]) -> Outliers | None:
    """Coarse grains among all that are seen, also cut by the border, in the unit of the sample; a part is a lower
    bound."""
    _, (_, _, areas) = counted(fields, "include")
    same = in_one_unit(fields)
    return outliers(areas, sum(field.area * (1e6 if field.um_per_px else 1.0) for field in same))


def _precisions(by_key: Mapping[str, Figure]) -> dict[str, Precision]:
    """Of lengths and of N_A, over the fields that have them; %RA of G or of a share means nothing."""
    precisions = {}
    for key, figure in by_key.items():
        values = [v for v in figure.fields if np.isfinite(v)]
        if DEFINITIONS[key].power in (1, -2) and (over_fields := precision(values)) is not None:
            precisions[key] = over_fields
    return precisions
