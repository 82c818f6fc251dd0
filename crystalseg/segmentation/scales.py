"""The ladder of resolutions at which an image is seen, and the error for a refused setting."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

from crystalseg.errors import UserError
from crystalseg.segmentation.tiling import TILE

# Size thresholds of SiMA's levels, % of the longer image side (paper section III-B1).
SIZE_THRESHOLDS = (100.0, 50.0, 25.0, 12.5)
# Resize factors and size thresholds of the paper (section IV-B, table I); None stands for the paper's rule for r_1.
FACTORS = (None, 0.5, 0.75, 1.0)
_SIZE_THRESHOLDS = {1: (100.0,), 2: (100.0, 25.0), 3: (100.0, 50.0, 25.0), 4: SIZE_THRESHOLDS}
# At the coarsest rung of SiMA+, the longer side of the image has at least this many px.
COARSEST_SIDE = 128


class SettingsError(UserError):
    """A setting out of its range. The message is one sentence for the user."""


def within(value: Any, low: float, high: float, whole: bool = False) -> bool:
    """Return whether a value is a number (not a bool) from `low` to `high`, and whole if `whole` is set."""
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool) and low <= value <= high


def _numbers(name: str, values: Any) -> tuple:
    try:
        return tuple(None if v is None else float(v) for v in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{name} must be a list of numbers.") from error


@dataclass(frozen=True)
class Scales:
    """The ladder of resolutions (paper sections III-B and IV-B).

    factors: resize factors r_1 < ... < r_N, or () for those of the method; None in first place stands for the paper's
    rule (see `ladder`). thresholds: one size threshold per factor, % of the longer image side, descending from 100, or
    () for the paper's. tile_relevance: with SiMA, a tile is computed where its scale has at least this share of the
    weight, 0 to 0.2.
    """

    factors: tuple[float | None, ...] = ()
    thresholds: tuple[float, ...] = ()
    tile_relevance: float = 0.02

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", _numbers("Resize factors", self.factors))
        object.__setattr__(self, "thresholds", _numbers("Size thresholds", self.thresholds))
        given = [f for f in self.factors if f is not None]
        if len(self.factors) > 8:
            raise SettingsError("Choose between one and eight resize factors.")
        if None in self.factors[1:]:
            raise SettingsError("Only the first resize factor can be automatic.")
        if any(not 0.01 <= f <= 4 for f in given):
            raise SettingsError("Resize factors must lie between 0.01 and 4.")
        if any(a >= b for a, b in itertools.pairwise(given)):
            raise SettingsError("Resize factors must ascend, each larger than the one before.")
        number = len(self.factors or FACTORS)
        if self.thresholds and len(self.thresholds) != number:
            raise SettingsError(f"{number} resize factors need as many size thresholds, not {len(self.thresholds)}.")
        t = self.thresholds
        if t and (None in t or t[0] != 100 or t[-1] <= 0 or any(a <= b for a, b in itertools.pairwise(t))):
            raise SettingsError("Size thresholds must descend from 100 % and stay above 0 %.")
        if not within(self.tile_relevance, 0, 0.2):
            raise SettingsError("The tile relevance must lie between 0 and 0.2.")

    @property
    def levels(self) -> tuple[float, ...]:
        """The size thresholds in use: the paper's for up to four factors, then one per octave."""
        number = len(self.factors or FACTORS)
        return self.thresholds or _SIZE_THRESHOLDS.get(number) or tuple(100 * 0.5**i for i in range(number))

    def ladder(self, shape: tuple[int, int]) -> tuple[float, ...]:
        """Return the factors for an (H, W) image. An automatic r_1 fits the longer side into 224 px (paper section
        IV-B).

        If that would not be below r_2 (small images), r_1 is half of r_2, which keeps the order of sizes. For the
        paper's r_2 = 0.5, this gives its 0.25 for images no larger than 224.
        """
        factors = self.factors or FACTORS
        given = tuple(factor for factor in factors if factor is not None)
        if factors[0] is not None:
            return given
        fit = TILE / max(shape)
        if not given:
            return (min(fit, 1.0),)
        return (fit if fit < given[0] else given[0] / 2, *given)

    def octaves(self, shape: tuple[int, int]) -> tuple[float, ...]:
        """Return SiMA+'s factors, unless the user gave some: 1, halved while the longer side keeps COARSEST_SIDE px.

        `effort.ENLARGED` is added where small crystals are.
        """
        if self.factors:
            return self.ladder(shape)
        rungs = max(1, math.floor(math.log2(max(shape) / COARSEST_SIDE)) + 1)
        return tuple(2.0**-k for k in reversed(range(rungs)))
