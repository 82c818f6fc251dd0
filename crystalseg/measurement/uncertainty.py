"""Combine calibration, segmentation and sampling into the expanded uncertainty of a figure (GUM, JCGM 100:2008)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from crystalseg.measurement.conditions import Conditions
from crystalseg.measurement.figures import DEFINITIONS, G_PER_LENGTH, Figure
from crystalseg.measurement.sampling import coverage_factor

# A validation holds the error of the area share above x, for the x at which each of these shares was measured.
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 1.0)
LEAST_IMAGES = 3  # a method validated on fewer images may have been lucky


@dataclass(frozen=True)
class Validation:
    """The errors of a method's figures on labelled images of one kind of material.

    `kind` is the name of the kind, `method` is the name of the method, and `images` is the number of images. `errors`
    holds by figure the measured minus the true value for each image, relative to the true value where
    `Definition.is_relative`. For the area share above x it holds the largest error for any x, and under `share_key` the
    errors at some x. `conditions` are the settings under which the validation holds. `weights` holds the hashes of the
    weights used, by name; it is empty if the name of the method identifies them. `doubt` says why the validation does
    not hold for a run, "" if it does.
    """

    kind: str
    method: str
    images: int
    errors: Mapping[str, Sequence[float]]
    conditions: Conditions = field(default_factory=Conditions)
    weights: Mapping[str, str] = field(default_factory=dict)
    doubt: str = ""

    def of(self, conditions: Conditions, weights: Mapping[str, str]) -> "Validation":
        """Return the validation as it holds for a run under these conditions and with these weights.

        For other conditions or weights than its own, the validation says nothing.
        """
        doubt = self.doubt
        if not doubt and not self.conditions.same(conditions):
            theirs = self.conditions.told_from(conditions)
            doubt = f"{self.words} was validated with other thresholds ({theirs}); validate it with these thresholds"
        elif not doubt and any(weights.get(name) != sha256 for name, sha256 in self.weights.items()):
            doubt = f"{self.words} was validated with other weights; validate it with these weights"
        return replace(self, errors={}, doubt=doubt) if doubt else self

    @property
    def words(self) -> str:
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{self.method} on {images} of {self.kind}"


def share_key(share: float) -> str:
    """Return the key in `Validation.errors` for errors of the area share above the x where `share` was measured."""
    return f"area_above where {share:g}"


@dataclass(frozen=True)
class Component:
    """One source of uncertainty.

    `standard` is u in the figure's unit, None if nothing is known of it. `kind` is "A" if it comes from repeated
    observations, else "B" (GUM 4.2, 4.3). `how` says where it comes from. `freedom` is the degrees of freedom of u.
    """

    source: str
    standard: float | None
    kind: str
    how: str
    freedom: float = float("inf")


@dataclass(frozen=True)
class Budget:
    """The uncertainty budget of a figure."""

    figure: Figure
    components: tuple[Component, ...]

    @property
    def complete(self) -> bool:
        """Return whether every component is known."""
        return all(c.standard is not None for c in self.components)

    @property
    def combined(self) -> float:
        """Return u_c = √Σu² of the known components, which include the sensitivities (GUM 5.1.2)."""
        return float(np.sqrt(sum(c.standard**2 for c in self.components if c.standard is not None)))

    @property
    def freedom(self) -> float:
        """Return ν_eff = u_c⁴ / Σ(u⁴/ν), the degrees of freedom of u_c (Welch and Satterthwaite, GUM G.4.1)."""
        spent = sum(c.standard**4 / c.freedom for c in self.components if c.standard is not None)
        return self.combined**4 / spent if spent else float("inf")

    @property
    def coverage(self) -> float:
        """Return k = t_95(ν_eff) of Student's distribution (GUM G.6.4).

        k is 2 for many degrees of freedom and 3.3 for three.
        """
        return coverage_factor(self.freedom)

    @property
    def expanded(self) -> float:
        """Return U = k·u_c (GUM 6.2)."""
        return self.coverage * self.combined


def budget(figure: Figure, calibration: float | None, validation: Validation | None, scaled: bool = True) -> Budget:
    """Return the uncertainty budget of a figure.

    `calibration` is the relative standard uncertainty of the pixel size, None if unknown. `validation` is the
    validation of the method on such material, None if there is none. `scaled` says whether the figure contains a pixel
    size at all; figures in px do not.
    """
    components = [_sampling(figure), _segmentation(figure, validation)]
    power = DEFINITIONS[figure.key].power
    depends = power != 0 or figure.key == "area_above"  # a share above x changes with every size
    if scaled and depends:
        if calibration is None:
            how = "the uncertainty of the pixel size is not stated"
            components.append(Component("calibration", None, "B", how))
        else:
            # a length scales with the pixel size, a number per area with its inverse square, G with its logarithm
            sensitivity = G_PER_LENGTH if isinstance(power, str) else abs(power * figure.value)
            standard = figure.per_pixel if figure.key == "area_above" else sensitivity * calibration
            known = standard if np.isfinite(standard) else None
            components.append(Component("calibration", known, "B", f"pixel size, {100 * calibration:.2g} %"))
    return Budget(figure, tuple(components))


def _sampling(figure: Figure) -> Component:
    stated = np.isfinite(figure.sampling)
    if not stated:
        return Component("sampling", None, "A", "too few crystals or fields")
    return Component("sampling", figure.sampling, "A", figure.how, figure.freedom)


def _segmentation(figure: Figure, validation: Validation | None) -> Component:
    errors = _errors_of(figure, validation) if validation else []
    if validation is None or not errors:
        doubt = validation.doubt if validation else ""
        return Component("segmentation", None, "A", doubt or "not validated on labelled images of this kind")
    if len(errors) < LEAST_IMAGES:
        how = f"{validation.words} only; {LEAST_IMAGES} images or more are needed"
        return Component("segmentation", None, "A", how)
    off = np.array(errors)
    if figure.definition.is_relative:
        if (off <= -1).any():
            how = f"{validation.words}; on one of them, it found nothing to measure"
            return Component("segmentation", None, "A", how)
        # Errors e are relative to the true value t: m = t·(1 + e). In terms of the measured value m, t − m is
        # −m·e / (1 + e).
        off = off / (1 + off) * abs(figure.value)
    # The bias of the method is not corrected, so the root mean square counts, not the spread (GUM F.2.4.5).
    standard = float(np.sqrt(np.mean(np.square(off))))
    return Component("segmentation", standard, "A", f"root mean square error of {validation.words}", len(errors))


def _errors_of(figure: Figure, validation: Validation) -> list[float]:
    """Return the errors of the images of a validation.

    For the area share above x, these are the errors at the x where the same share was measured.
    """
    by_share = {share: validation.errors.get(share_key(share), ()) for share in SHARES}
    if figure.key == "area_above" and all(len(of) for of in by_share.values()):
        table = np.array(list(by_share.values()), float)
        values = [float(np.interp(figure.value, SHARES, of)) for of in table.T]
    else:
        values = list(validation.errors.get(figure.key, ()))
    return [v for v in values if np.isfinite(v)]


def errors(measured: Mapping[str, Figure], true: Mapping[str, Figure]) -> dict[str, float]:
    """Return by figure the measured minus the true value, relative to the true value where `Definition.is_relative`.

    Return NaN for a figure that was not measured.
    """
    off = {}
    for key, figure in true.items():
        value = measured[key].value if key in measured else float("nan")
        if not figure.definition.is_relative:
            off[key] = value - figure.value
        elif figure.value:
            off[key] = value / figure.value - 1
    return off
