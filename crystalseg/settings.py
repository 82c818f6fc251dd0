"""What a user may choose, as frozen dataclasses that validate themselves."""

import itertools
import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from crystalseg.attention import THRESHOLDS
from crystalseg.tiling import TILE

Fusion = Literal["attention", "average", "maximum"]
BorderRule = Literal["exclude", "include"]


class SettingsError(ValueError):
    """A setting out of its range; the message is one sentence for the user."""


def _numbers(name: str, values: Any) -> tuple:
    try:
        return tuple(None if v is None else float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} must be a list of numbers.") from error


@dataclass(frozen=True)
class Scales:
    """The ladder of resolutions and how its predictions become one (paper sections III-B and IV-B).

    factors: resize factors r_1 < ... < r_N; None in first place takes the paper's rule (see `ladder`).
    thresholds: as many size limits, % of the longer image side, descending from 100.
    fusion: `attention` (the paper's), `average` or `maximum` (for comparison).
    tile_relevance: with attention, a tile is computed where its scale has at least this share of the weight, 0 to 0.2.
    """

    factors: tuple[float | None, ...] = (None, 0.5, 0.75, 1.0)
    thresholds: tuple[float, ...] = THRESHOLDS
    fusion: Fusion = "attention"
    tile_relevance: float = 0.02

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", _numbers("Resize factors", self.factors))
        object.__setattr__(self, "thresholds", _numbers("Size thresholds", self.thresholds))
        given = [f for f in self.factors if f is not None]
        if not 1 <= len(self.factors) <= 8:
            raise SettingsError("Choose between one and eight resize factors.")
        if None in self.factors[1:]:
            raise SettingsError("Only the first resize factor can be automatic.")
        if any(not 0.01 <= f <= 4 for f in given):
            raise SettingsError("Resize factors must lie between 0.01 and 4.")
        if any(a >= b for a, b in itertools.pairwise(given)):
            raise SettingsError("Resize factors must ascend, each larger than the one before.")
        if len(self.thresholds) != len(self.factors):
            raise SettingsError(
                f"{len(self.factors)} resize factors need as many size thresholds, not {len(self.thresholds)}."
            )
        t = self.thresholds
        if None in t or t[0] != 100 or t[-1] <= 0 or any(a <= b for a, b in itertools.pairwise(t)):
            raise SettingsError("Size thresholds must descend from 100 % and stay above 0 %.")
        if self.fusion not in get_args(Fusion):
            raise SettingsError(f"Fusion must be one of {', '.join(get_args(Fusion))}.")
        if not 0 <= self.tile_relevance <= 0.2:
            raise SettingsError("The tile relevance must lie between 0 and 0.2.")

    def ladder(self, shape: tuple[int, int]) -> tuple[float, ...]:
        """The factors for an (H, W) image: an automatic r_1 fits the longer side into 224 px (paper section IV-B).

        Where that would not be below r_2 (small images), r_1 is half of r_2, so that the order of sizes is kept; for
        the paper's r_2 = 0.5 this is its 0.25 for images no larger than 224.
        """
        if self.factors[0] is not None:
            return self.factors
        fit = TILE / max(shape)
        second = self.factors[1] if len(self.factors) > 1 else None
        if second is None:
            return (min(fit, 1.0),)
        return (fit if fit < second else second / 2, *self.factors[1:])


@dataclass(frozen=True)
class Instances:
    """From the fused maps to crystals.

    foreground_threshold: h, on the foreground logit (paper: 0). min_area: smallest crystal kept, px². min_confidence:
    crystals of less confidence (`pipeline.confidences`), 0 to 1, are dropped, as Cellpose drops those whose flow is
    inconsistent; 0 keeps all.
    """

    foreground_threshold: float = 0.0
    min_area: int = 15
    min_confidence: float = 0.25

    def __post_init__(self) -> None:
        if not (isinstance(self.foreground_threshold, int | float) and -10 <= self.foreground_threshold <= 10):
            raise SettingsError("The foreground threshold must lie between -10 and 10.")
        if not (isinstance(self.min_area, int) and 1 <= self.min_area <= 10**8):
            raise SettingsError("The smallest crystal area must be a whole number of at least 1 px².")
        if not (isinstance(self.min_confidence, int | float) and 0 <= self.min_confidence <= 1):
            raise SettingsError("The lowest confidence must lie between 0 and 1.")


@dataclass(frozen=True)
class Measuring:
    """How crystals are counted.

    border_rule: `exclude` leaves out crystals cut by the image border and corrects for their loss (ISO 13322-1,
    Miles–Lantuéjoul); `include` counts every crystal as it is seen.
    """

    border_rule: BorderRule = "exclude"

    def __post_init__(self) -> None:
        if self.border_rule not in get_args(BorderRule):
            raise SettingsError(f"The border rule must be one of {', '.join(get_args(BorderRule))}.")


@dataclass(frozen=True)
class Settings:
    """All choices of a run; `to_json` and `from_json` reproduce it."""

    scales: Scales = field(default_factory=Scales)
    instances: Instances = field(default_factory=Instances)
    measuring: Measuring = field(default_factory=Measuring)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "Settings":
        """Settings from `to_json`'s text; SettingsError names what is unknown or out of range."""
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingsError(f"The settings are not valid JSON ({error.msg}, line {error.lineno}).") from error
        return replace(Settings(), **_sections(given))


def _sections(given: Any) -> dict[str, Any]:
    kinds = {"scales": Scales, "instances": Instances, "measuring": Measuring}
    if not isinstance(given, dict):
        raise SettingsError("The settings must be a JSON object.")
    sections = {}
    for name, values in given.items():
        kind = kinds.get(name)
        if kind is None or not isinstance(values, dict):
            raise SettingsError(f"Unknown setting '{name}'; known are {', '.join(kinds)}.")
        unknown = set(values) - {f.name for f in fields(kind)}
        if unknown:
            raise SettingsError(f"Unknown setting '{name}.{min(unknown)}'.")
        if any(isinstance(v, float) and not math.isfinite(v) for v in values.values()):
            raise SettingsError(f"A number in '{name}' is not finite.")
        sections[name] = kind(**values)
    return sections
