"""Drafts of settings and profiles while somebody edits them, independent of any widget.

A draft holds its base and, by field, the changes to it as they stand in the field. A field that nobody changed keeps
its value to the last digit, whatever a widget shows of it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import pandas as pd

from crystalseg.measurement.rounding import exact
from crystalseg.micrographs.units import number
from crystalseg.record.profiles import SECTIONS, Profile
from crystalseg.segmentation.methods import LADDERS, METHODS
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings, SettingsError
from crystalseg.ui.numbers import read

T = TypeVar("T")


def text_of(numbers: tuple[float | None, ...]) -> str:
    """Return numbers as text with all digits, as `numbers_of` reads it; None is `auto`."""
    return ", ".join("auto" if number is None else repr(number).removesuffix(".0") for number in numbers)


def numbers_of(text: str, name: str) -> tuple[float | None, ...]:
    """Return the numbers in a text, with decimal points or commas.

    Semicolons, spaces, or commas followed by a space separate them. In a text without any of these, a single comma is a
    decimal comma, and several separate numbers. Raises SettingsError, starting with `name`, if a part is not a number.
    """
    text = re.sub(r"\s*%", "", text.strip())
    parts = re.split(r"\s*;\s*|\s*,\s+|\s+", text)
    if len(parts) == 1 and (text.count(",") > 1 or "." in text):
        parts = text.split(",")
    values: list[float | None] = []
    for word in filter(None, parts):
        value = None if word.lower() == "auto" else number(word)
        if value is not None and math.isnan(value):
            raise SettingsError(f"{name}: '{word}' is not a number.")
        values.append(value)
    return tuple(values)


@dataclass
class _Draft(Generic[T]):
    """A draft. base: its initial value; changed: the changed fields, as they stand in the field."""

    base: T
    changed: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Callable[[T], Any]]:
        """Return, for each field by name, the function that extracts what it shows from a value."""
        raise NotImplementedError

    def shown(self, name: str) -> Any:
        """Return what a field shows."""
        return self.changed[name] if name in self.changed else self.fields()[name](self.base)

    def put(self, name: str, value: Any) -> None:
        """Put `value`, which somebody entered, into a field. The initial content is not a change."""
        if value == self.fields()[name](self.base):
            self.changed.pop(name, None)
        else:
            self.changed[name] = value

    def start(self, base: T) -> None:
        """Restart with another base."""
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
    "flow threshold": lambda s: "" if s.instances.flow_threshold is None else exact(s.instances.flow_threshold),
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
    """A draft of settings. Fields: method, own model, network, effort, factors, thresholds, foreground, min area, min
    confidence, flow threshold, holes, border rule, only. Each part is available even while another one is invalid."""

    base: Settings = field(default_factory=Settings)

    def fields(self) -> dict[str, Callable[[Settings], Any]]:
        return _SETTINGS

    @property
    def names_model(self) -> bool:
        """Return whether the method or its model differs from the base."""
        return not {"method", "own model"}.isdisjoint(self.changed)

    def method(self) -> str:
        """The method as `Settings.method` names it. Raises SettingsError while its model is not named."""
        if not self.names_model:
            return self.base.method
        name, model = self.shown("method"), self.shown("own model").strip()
        if not METHODS[name].model:
            return name
        if not model:
            raise SettingsError("Name a model first.")
        return f"{name}:{model}"

    def scales(self) -> Scales:
        """The ladder of resolutions. SettingsError says what is invalid."""
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
            thresholds = ()  # the method does not use them, and they are not shown
        if None in thresholds:
            raise SettingsError("Size thresholds must be numbers.")
        return Scales(factors, tuple(t for t in thresholds if t is not None), old.tile_relevance)

    def instances(self) -> Instances:
        """The thresholds for crystals. SettingsError says what is out of range."""
        changed = {_INSTANCES[name]: value for name, value in self.changed.items() if name in _INSTANCES}
        if "flow_threshold" in changed:
            changed["flow_threshold"] = read(changed["flow_threshold"], "Flow threshold", 0, 3)
        return replace(self.base.instances, **changed)

    def measuring(self) -> Measuring:
        """The border rule and selection. Raises SettingsError if the selection cannot be read."""
        if self.changed.keys().isdisjoint(("border rule", "only")):
            return self.base.measuring
        return Measuring(
            self.changed.get("border rule", self.base.measuring.border_rule),
            self.changed.get("only", self.base.measuring.only),
        )

    def settings(self, method: str = "") -> Settings:
        """Return the complete settings, with `method` as another name of the same method if given. SettingsError says
        what is missing or invalid."""
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
    "decision rule": lambda p: p.decision_rule,
    "sections": lambda p: [section for section in SECTIONS if section in p.sections],
    "four eyes": lambda p: p.four_eyes,
    "keep images": lambda p: p.keep_images,
}


@dataclass
class ProfileDraft(_Draft[Profile]):
    """A draft of a profile. Fields: name, product, kind, default, limits, decision rule, sections, four eyes, keep
    images; settings have a draft of their own. beginnings: number of restarts; began, table: the limits as the editing
    table first got them and as it shows them now, None before."""

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
        """Return whether anything except the limits has changed."""
        return bool(self.changed or self.settings.changed)

    def profile(self, settings: Settings | None = None) -> Profile:
        """Return the complete profile, with `settings` if given. UserError says what is missing or invalid."""
        changed = {name.replace(" ", "_"): value for name, value in self.changed.items()}
        if "name" in changed:
            changed["name"] = changed["name"].strip()
        if "sections" in changed:
            changed["sections"] = tuple(section for section in SECTIONS if section in changed["sections"])
        return replace(self.base, settings=settings or self.settings.settings(), **changed)
