"""Profiles: everything that is chosen once for a product, on record by name and as JSON."""

import datetime
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.measurement.boundaries import CONVENTION
from crystalseg.measurement.specification import RULES, DecisionRule, Limit
from crystalseg.record import ledger
from crystalseg.segmentation.settings import Settings, SettingsError, read_json

FORMAT = 1
# The optional sections of a report, in their order, with their titles.
SECTIONS: dict[str, str] = {
    "verdict": "Verdict against the specification",
    "overlay": "Outlines",
    "figures": "Figures by standard",
    "budget": "Uncertainty budget",
    "fields": "Table per field",
    "distribution": "Size distribution",
    "intercepts": "Test lines as counted",
    "attention": "Scales and attention",
    "largest": "Largest crystals",
    "corrections": "Corrections by hand",
    "method": "Method",
    "signature": "Signatures",
}
MOST_DAYS = datetime.timedelta.max.days  # for which images can be kept


@dataclass(frozen=True)
class Profile:
    """The choices for a product. Raises SettingsError, which says what is wrong.

    product: The product that it is for.
    default: Whether it is the product's default profile.
    kind: The kind of material, which selects the uncertainty of segmentation.
    settings: The settings of the run.
    limits: The specification.
    decision_rule: The rule by which limits are judged, a key of `specification.RULES`. Only a profile without limits
        has none.
    sections: The sections of the report.
    four_eyes: Whether a person who did not make the run must approve it.
    keep_images: For how many days images are kept; None for ever.
    """

    name: str
    product: str = ""
    default: bool = False
    kind: str = ""
    settings: Settings = field(default_factory=Settings)
    limits: tuple[Limit, ...] = ()
    sections: tuple[str, ...] = tuple(SECTIONS)
    four_eyes: bool = False
    keep_images: int | None = None
    decision_rule: DecisionRule | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and 0 < len(self.name.strip()) <= 60):
            raise SettingsError("A profile needs a name of 1 to 60 characters.")
        if not (isinstance(self.product, str) and isinstance(self.kind, str)):
            raise SettingsError("The product and the kind of material of a profile must be text.")
        unknown = {str(section) for section in self.sections} - set(SECTIONS)
        if unknown:
            raise SettingsError(f"There is no report section '{min(unknown)[:60]}'. Choose from {', '.join(SECTIONS)}.")
        if len({limit.above for limit in self.limits if limit.above is not None}) > 1:
            raise SettingsError("A profile can limit the area share above only one size.")
        if not (isinstance(self.four_eyes, bool) and isinstance(self.default, bool)):
            raise SettingsError("“default” and “four_eyes” of a profile must be true or false.")
        if self.decision_rule not in (None, *RULES):
            raise SettingsError(f"The decision rule must be one of {', '.join(RULES)}.")
        if self.limits and self.decision_rule is None:
            raise SettingsError("Choose the decision rule by which the limits are judged.")
        if self.keep_images is not None and not (type(self.keep_images) is int and 1 <= self.keep_images <= MOST_DAYS):
            raise SettingsError(f"Keep images for a whole number of days from 1 to {MOST_DAYS:,}, or without end.")

    @property
    def decision(self) -> DecisionRule:
        """Return the decision rule. Without limits, it does not matter."""
        return self.decision_rule or "guarded"

    def to_json(self) -> str:
        """Return it as text that `from_json` reads, with the version of the format."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "Profile":
        """Read a profile from JSON text. Raises SettingsError, which names what is unknown or out of range."""
        return Profile.from_dict(read_json(text, "The profile is"))

    @staticmethod
    def from_dict(given: Any) -> "Profile":
        """Do what `from_json` does, for parsed JSON."""
        if not isinstance(given, dict):
            raise SettingsError("A profile must be a JSON object.")
        if given.get("format") != FORMAT:
            raise SettingsError(f"This is not a profile of format {FORMAT}. Export it again from this program.")
        facts = {key: value for key, value in given.items() if key != "format"}
        unknown = set(facts) - {f.name for f in fields(Profile)}
        if unknown:
            raise SettingsError(f"A profile has no entry '{min(unknown)}'. Remove it.")
        try:
            settings = Settings.on_record(facts.get("settings", {}))
            # New runs are measured by the current convention, whatever the profile was saved with.
            facts["settings"] = replace(settings, measuring=replace(settings.measuring, convention=CONVENTION))
            facts["limits"] = tuple(Limit(**limit) for limit in facts.get("limits", ()))
            if facts["limits"]:  # profiles written before there was a choice were judged by this rule
                facts.setdefault("decision_rule", "guarded")
            facts["sections"] = tuple(facts.get("sections", SECTIONS))
            return Profile(**facts)
        except TypeError as error:
            raise SettingsError(f"The profile cannot be read: {error}.") from error


def save(engine: Engine, profile: Profile, who: str = "") -> None:
    """Put a profile on record. It replaces the one of the same name, which stays in the record."""
    ledger.append(engine, "profile", profile.name, json.loads(profile.to_json()), who)


def remove(engine: Engine, name: str, who: str = "") -> None:
    """Take a profile out of use. It stays in the record."""
    ledger.append(engine, "profile", name, {"removed": True}, who)


def profiles(engine: Engine) -> dict[str, Profile]:
    """Return the profiles in use by name, each as it was last saved, without those that cannot be read."""
    return in_use(engine)[0]


def in_use(engine: Engine) -> tuple[dict[str, Profile], dict[str, str]]:
    """Return the profiles in use by name, each as it was last saved, and by name the reason why each of the others
    cannot be read."""
    latest = {entry.subject: entry.body for entry in ledger.entries(engine, "profile")}
    read, reasons = {}, {}
    for name, body in sorted(latest.items()):
        if body.get("removed"):
            continue
        try:
            read[name] = Profile.from_dict(body)
        except UserError as error:
            reasons[name] = str(error)
    return read, reasons


def as_of(engine: Engine, name: str, before: int) -> Profile | None:
    """Return the profile of that name as it was before the entry with that number, or None if there was none."""
    then = ledger.entries(engine, "profile", name, before=before)
    return Profile.from_dict(then[-1].body) if then and not then[-1].body.get("removed") else None


def default_of(engine: Engine, product: str) -> Profile | None:
    """Return the default profile of a product, or the latest one if several are marked as default."""
    order = [e.subject for e in ledger.entries(engine, "profile")]
    claims = [p for p in profiles(engine).values() if p.product == product and p.default]
    return max(claims, key=lambda p: len(order) - order[::-1].index(p.name), default=None)


def find(engine: Engine, name: str) -> Profile:
    """Return the profile of that name, or the default profile of the product of that name. Raises SettingsError, which
    lists the existing profiles, or says why the profile cannot be read."""
    offered, unreadable = in_use(engine)
    if name not in offered and (default := default_of(engine, name)) is not None:
        return default
    if name in unreadable:
        raise SettingsError(f"The profile '{name}' on record cannot be read: {unreadable[name]} Save it again.")
    if name not in offered:
        there = ", ".join(offered) or "none"
        raise SettingsError(f"There is no profile '{name}'. Profiles on record: {there}.")
    return offered[name]
