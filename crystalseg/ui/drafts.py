"""Settings and profiles while somebody chooses them, apart from any widget.

A draft holds what it began with and, by field, what was changed since, as it stands in the field. A field that nobody
changed keeps its value to the last digit, whatever a widget shows of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import pandas as pd

from crystalseg.record.profiles import SECTIONS, Profile
from crystalseg.segmentation.methods import LADDERS, METHODS
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings, SettingsError

T = TypeVar("T")


def text_of(numbers: tuple[float | None, ...]) -> str:
    """Numbers as `numbers_of` reads them, all digits; None is `auto`."""
    return ", ".join("auto" if number is None else repr(number).removesuffix(".0") for number in numbers)


def numbers_of(text: str, name: str) -> tuple[float | None, ...]:
    """The numbers of a text, between commas; between semicolons, a comma is a decimal one. SettingsError, beginning
    with `name`, if a part is no number."""
    parts = text.replace(",", ".").split(";") if ";" in text else text.split(",")
    values: list[float | None] = []
    for word in (part.strip().rstrip("%").strip() for part in parts):
        if word.lower() == "auto":
            values.append(None)
        elif word:
            try:
                values.append(float(word))
            except ValueError:
                raise SettingsError(f"{name}: '{word}' is not a number.") from None
    return tuple(values)


@dataclass
class _Draft(Generic[T]):
    """base: what it began with; changed: by field, what stands there instead of what `base` says."""

    base: T
    changed: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Callable[[T], Any]]:
        """By the name of each field, what it shows of a value."""
        raise NotImplementedError

    def shown(self, name: str) -> Any:
        """What stands in a field."""
        return self.changed[name] if name in self.changed else self.fields()[name](self.base)

    def put(self, name: str, value: Any) -> None:
        """Somebody wrote `value` into a field; what was there at first is no change."""
        if value == self.fields()[name](self.base):
            self.changed.pop(name, None)
        else:
            self.changed[name] = value

    def start(self, base: T) -> None:
        """Begin anew."""
        self.base, self.changed = base, {}


_SETTINGS: dict[str, Callable[[Settings], Any]] = {
    "method": lambda s: s.method.partition(":")[0],
    "own model": lambda s: s.method.partition(":")[2],
    "network": lambda s: s.network,
    "effort": lambda s: s.effort,
    "factors": lambda s: text_of(s.scales.factors),
    "thresholds": lambda s: text_of(s.scales.thresholds),
    "foreground": lambda s: float(s.instances.foreground_threshold),
    "min area": lambda s: s.instances.min_area,
    "min confidence": lambda s: float(s.instances.min_confidence),
    "flow threshold": lambda s: None if s.instances.flow_threshold is None else float(s.instances.flow_threshold),
    "holes": lambda s: s.instances.holes,
    "border rule": lambda s: s.measuring.border_rule,
    "only": lambda s: s.measuring.only,
}
_INSTANCES = {
    "foreground": "foreground_threshold",
    "min area": "min_area",
    "min confidence": "min_confidence",
    "flow threshold": "flow_threshold",
    "holes": "holes",
}


@dataclass
class SettingsDraft(_Draft[Settings]):
    """Fields: method, own model, network, effort, factors, thresholds, foreground, min area, min confidence, flow
    threshold, holes, border rule, only. Its parts can be had while another cannot be read."""

    base: Settings = field(default_factory=Settings)

    def fields(self) -> dict[str, Callable[[Settings], Any]]:
        return _SETTINGS

    @property
    def names_model(self) -> bool:
        """Whether the method or its model is another than at first."""
        return not {"method", "own model"}.isdisjoint(self.changed)

    def method(self) -> str:
        """As `Settings.method` names it; SettingsError while its model is not named."""
        if not self.names_model:
            return self.base.method
        name, model = self.shown("method"), self.shown("own model").strip()
        if not METHODS[name].model:
            return name
        if not model:
            raise SettingsError("Name a model first.")
        return f"{name}:{model}"

    def scales(self) -> Scales:
        """SettingsError says what makes no sense."""
        name = self.shown("method")
        if name not in LADDERS:
            return Scales() if "method" in self.changed else self.base.scales
        if self.changed.keys().isdisjoint(("factors", "thresholds")):
            return self.base.scales
        old = self.base.scales
        factors = numbers_of(self.shown("factors"), "Resize factors") if "factors" in self.changed else old.factors
        thresholds: tuple[float | None, ...] = old.thresholds
        if "thresholds" in self.changed:
            thresholds = numbers_of(self.shown("thresholds"), "Size thresholds")
        if METHODS[name].fusion != "attention" and len(thresholds) != len(factors):
            thresholds = ()  # of no use to the method, and not shown
        if None in thresholds:
            raise SettingsError("Size thresholds must be numbers.")
        return Scales(factors, tuple(t for t in thresholds if t is not None), old.tile_relevance)

    def instances(self) -> Instances:
        """SettingsError says what is out of range."""
        changed = {_INSTANCES[name]: value for name, value in self.changed.items() if name in _INSTANCES}
        return replace(self.base.instances, **changed)

    def measuring(self) -> Measuring:
        """SettingsError if the selection cannot be read."""
        if self.changed.keys().isdisjoint(("border rule", "only")):
            return self.base.measuring
        return Measuring(
            self.changed.get("border rule", self.base.measuring.border_rule),
            self.changed.get("only", self.base.measuring.only),
        )

    def settings(self, method: str = "") -> Settings:
        """All of it, with another name of the same `method` if one is given; SettingsError says what is missing or
        makes no sense."""
        return Settings(
            method or self.method(),
            self.scales(),
            self.instances(),
            self.measuring(),
            self.shown("network"),
            self.shown("effort"),
        )


_PROFILE: dict[str, Callable[[Profile], Any]] = {
    "name": lambda p: p.name,
    "product": lambda p: p.product,
    "kind": lambda p: p.kind,
    "default": lambda p: p.default,
    "limits": lambda p: p.limits,
    "sections": lambda p: [section for section in SECTIONS if section in p.sections],
    "four eyes": lambda p: p.four_eyes,
    "keep images": lambda p: p.keep_images,
}


@dataclass
class ProfileDraft(_Draft[Profile]):
    """Fields: name, product, kind, default, limits, sections, four eyes, keep images; the settings have theirs.
    beginnings: how often it was begun anew; began, table: its limits as the table that edits them was given and shows
    them now, None before that."""

    settings: SettingsDraft = field(init=False)
    beginnings: int = 0
    began: pd.DataFrame | None = None
    table: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        self.settings = SettingsDraft(self.base.settings)

    def fields(self) -> dict[str, Callable[[Profile], Any]]:
        return _PROFILE

    def start(self, base: Profile) -> None:
        super().start(base)
        self.settings.start(base.settings)
        self.beginnings += 1
        self.began = self.table = None

    @property
    def is_changed(self) -> bool:
        """Whether anything is, but its limits."""
        return bool(self.changed or self.settings.changed)

    def profile(self, settings: Settings | None = None) -> Profile:
        """All of it, with these `settings` if they are given; UserError says what is missing or makes no sense."""
        changed = {name.replace(" ", "_"): value for name, value in self.changed.items()}
        if "name" in changed:
            changed["name"] = changed["name"].strip()
        if "sections" in changed:
            changed["sections"] = tuple(section for section in SECTIONS if section in changed["sections"])
        return replace(self.base, settings=settings or self.settings.settings(), **changed)
