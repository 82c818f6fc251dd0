"""The choices of a run, as frozen dataclasses that validate themselves."""

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from crystalseg.measurement.boundaries import CONVENTION
from crystalseg.measurement.conditions import Conditions
from crystalseg.measurement.query import QueryError, parse
from crystalseg.micrographs.names import visible
from crystalseg.segmentation.canonical import canonical, number_words
from crystalseg.segmentation.effort import EFFORTS, divided
from crystalseg.segmentation.methods import (
    FLOW_NETWORKS,
    METHODS,
    architecture_of,
    method_of,
    model_of,
    networks_of,
)
from crystalseg.segmentation.scales import Scales, SettingsError, within
from crystalseg.segmentation.version_1 import conditions_text

BorderRule = Literal["exclude", "include"]
Holes = Literal["filled", "kept"]


def _named(value: object) -> str:
    """Quote a refused value, shortened so that the sentence around it stays readable."""
    text = visible(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


# The pattern for names of models on record. As a flow network, a name stands between its architecture and its version.
MODEL_NAME = r"\w[\w .-]{0,39}"
_NETWORK = re.compile(rf"({'|'.join(FLOW_NETWORKS)})(:{MODEL_NAME}:[1-9]\d{{0,5}})?")


@dataclass(frozen=True)
class Instances:
    """How the combined maps become crystals.

    foreground_threshold: h, on the foreground logit (paper: 0).
    min_area: smallest crystal that is kept, px².
    min_confidence: SiMA+ drops crystals of lower confidence, 0 to 1.
    flow_threshold: the other methods with a flow network drop crystals whose flow differs from the predicted one by
        more than this (flows.flow_errors), 0 to 3, as Cellpose does. 0 keeps all crystals. None stands for runs that
        were recorded without this choice: they drop crystals by min_confidence instead.
    holes: `filled` gives a crystal the whole area inside its outline; `kept` leaves out parts inside it that are not
        foreground, from min_area on.
    """

    foreground_threshold: float = 0.0
    min_area: int = 15
    min_confidence: float = 0.25
    flow_threshold: float | None = 0.4
    holes: Holes = "filled"

    def __post_init__(self) -> None:
        if not within(self.foreground_threshold, -10, 10):
            raise SettingsError("The foreground threshold must lie between -10 and 10.")
        if not within(self.min_area, 1, 10**8, whole=True):
            raise SettingsError("The smallest crystal area must be a whole number of at least 1 px².")
        if not within(self.min_confidence, 0, 1):
            raise SettingsError("The lowest confidence must lie between 0 and 1.")
        limit = self.flow_threshold
        if limit is not None and not within(limit, 0, 3):
            raise SettingsError("The flow threshold must lie between 0 and 3.")
        if not isinstance(self.holes, str) or self.holes not in get_args(Holes):
            raise SettingsError(f"Holes must be one of {', '.join(get_args(Holes))}.")

    @property
    def checks_flow(self) -> bool:
        """Whether the flow threshold is in force. Runs with it also track flows in float32, as Cellpose does."""
        return self.flow_threshold is not None

    @property
    def words(self) -> str:
        """Return the thresholds in words for people, with all digits. Keys are `canonical` JSON."""
        limit = "" if self.flow_threshold is None else f", flow error to {number_words(self.flow_threshold)}"
        confidence = f"confidence from {number_words(self.min_confidence)}"
        holes = "" if self.holes == "filled" else ", holes kept"
        return f"h {number_words(self.foreground_threshold)}, from {self.min_area} px², {confidence}{limit}{holes}"


@dataclass(frozen=True)
class Measuring:
    """How crystals are counted.

    border_rule: `exclude` leaves out crystals that the image border cuts, and corrects for their loss (ISO 13322-1,
        Miles–Lantuéjoul); `include` counts every crystal as it is seen.
    only: which crystals count, in words that `measurement.query.parse` reads. It is kept as the filter that the words
        become; "" counts all.
    convention: how crystals are measured, `boundaries.CONVENTION`. It is no choice: it is that of the version that made
        the run.
    """

    border_rule: BorderRule = "exclude"
    only: str = ""
    convention: int = CONVENTION

    def __post_init__(self) -> None:
        if not isinstance(self.border_rule, str) or self.border_rule not in get_args(BorderRule):
            raise SettingsError(f"The border rule must be one of {', '.join(get_args(BorderRule))}.")
        if not isinstance(self.only, str):
            raise SettingsError("The selection of crystals must be a text, such as “only round ones above 20 µm”.")
        if not within(self.convention, 1, CONVENTION, whole=True):
            raise SettingsError(
                f"The convention of measuring must be from 1 to {CONVENTION}. A later version may know more."
            )
        try:
            object.__setattr__(self, "only", parse(self.only).text)
        except QueryError as error:
            raise SettingsError(str(error)) from error


@dataclass(frozen=True)
class Settings:
    """All choices of a run. `to_json` and `from_json` reproduce them.

    method: a name from methods.METHODS.
    network: the flow network of SiMA+, one of methods.FLOW_NETWORKS. `folded:NAME:VERSION` is such a network with the
        weights of a model on record; every method of that architecture then runs it.
    effort: a name from effort.EFFORTS. It says how much of an image SiMA+ looks at, and how finely.

    >>> from crystalseg import Settings
    >>> settings = Settings("sima-plus", effort="quick")
    >>> Settings.from_json(settings.to_json()) == settings
    True
    """

    method: str = "sima-plus"
    scales: Scales = field(default_factory=Scales)
    instances: Instances = field(default_factory=Instances)
    measuring: Measuring = field(default_factory=Measuring)
    network: str = "folded"
    effort: str = "thorough"

    def __post_init__(self) -> None:
        name, _, model = str(self.method).partition(":")
        if not isinstance(self.method, str) or name not in METHODS or bool(model) != bool(METHODS[name].model):
            known = ", ".join(f"{known}:MODEL" if method.model else known for known, method in METHODS.items())
            raise SettingsError(f"Unknown method '{_named(self.method)}'. Choose from {known}.")
        if not isinstance(self.network, str) or not _NETWORK.fullmatch(self.network):
            known = f"{', '.join(FLOW_NETWORKS)}, each also with :NAME:VERSION of a model on record"
            raise SettingsError(f"Unknown flow network '{_named(self.network)}'. Choose from {known}.")
        if not isinstance(self.effort, str) or self.effort not in EFFORTS:
            raise SettingsError(f"Unknown effort '{_named(self.effort)}'. Choose from {', '.join(EFFORTS)}.")

    @property
    def short_method(self) -> str:
        """Return the name that `called` reads. It includes flow network and effort only where they differ from the
        defaults: `sima-plus@cellpose`, `sima-plus/quick`."""
        return self._named(self._chooses_network and self.network != Settings.network)

    @property
    def full_method(self) -> str:
        """Return the name that validations use: `short_method`, but with every flow network that the user can choose,
        such as `sima-plus@folded`."""
        return self._named(self._chooses_network)

    @property
    def _chooses_network(self) -> bool:
        return method_of(self.method).runs_sima_plus or bool(self.model)

    def _named(self, with_network: bool) -> str:
        name = f"{self.method}@{self.network}" if with_network else self.method
        is_less = method_of(self.method).runs_sima_plus and self.effort != Settings.effort
        return f"{name}/{self.effort}" if is_less else name

    @property
    def drops_by_confidence(self) -> bool:
        """Whether the lowest confidence decides which crystals are kept, as with SiMA+ and in older runs. Otherwise the
        error of the flow decides."""
        return method_of(self.method).runs_sima_plus or not self.instances.checks_flow

    @property
    def conditions(self) -> Conditions:
        """Return everything other than method and weights that decides which crystals are found and how they count. A
        validation holds under these conditions only."""
        limit = "min_confidence" if self.drops_by_confidence else "flow_threshold"
        decides = {name: getattr(self.instances, name) for name in ("foreground_threshold", "min_area", limit)}
        decides |= {"border_rule": self.measuring.border_rule, "factors": self.scales.factors}
        if method_of(self.method).attention:
            decides |= {"size_thresholds": self.scales.levels, "tile_relevance": self.scales.tile_relevance}
        if self.instances.holes == "filled":  # as in all validations that were recorded without this choice
            return Conditions(canonical(decides), conditions_text(self))
        return Conditions(canonical(decides | {"holes": self.instances.holes}), "")

    @property
    def architecture(self) -> str:
        """The architecture of the flow network, whatever its weights."""
        return architecture_of(self.network)

    @property
    def model(self) -> str:
        """The model on record that the method runs, `NAME:VERSION`; "" if there is none."""
        return model_of(self.network) if self.architecture in self.networks else ""

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the weights that the method needs."""
        return networks_of(self.method, self.network)

    def ladder(self, shape: tuple[int, int]) -> tuple[float, ...]:
        """Return the resize factors of one of methods.LADDERS for an (H, W) image."""
        return self.scales.octaves(shape) if method_of(self.method).selects else self.scales.ladder(shape)

    def steps(self, shape: tuple[int, int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return SiMA+'s resize factors for an (H, W) image: those at which the whole image is seen, and those at which
        only some places may be seen. The image is enlarged only if the user chose no factors."""
        return divided(self.scales.octaves(shape), EFFORTS[self.effort], not self.scales.factors)

    @staticmethod
    def called(name: str, **more: Any) -> "Settings":
        """Return the settings of a method by its name: `sima-plus`, `sima-plus@cellpose`, `sima-plus/quick`. The name
        includes flow network and effort, as in `full_method`, where they differ from the defaults. `more`: the other
        settings."""
        known = METHODS.get(name.partition(":")[0])
        if known and known.model:
            return Settings(name, **more)  # a path, which may contain all of these signs
        rest, _, effort = name.rpartition("/")
        if effort in EFFORTS:
            more["effort"] = effort
        method, _, network = (rest if effort in EFFORTS else name).partition("@")
        if network:
            more["network"] = network
        return Settings(method, **more)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "Settings":
        """Read settings from the text of `to_json`. Raises SettingsError, which names what is unknown or out of
        range."""
        return Settings.from_dict(read_json(text, "The settings are"))

    @staticmethod
    def from_dict(given: Any) -> "Settings":
        """Do as `from_json`, from the parsed JSON."""
        return replace(Settings(), **_sections(given))

    @staticmethod
    def on_record(given: dict) -> "Settings":
        """Do as `from_dict`, from settings that an earlier version may have written."""
        return Settings.from_dict(as_then(given))


def as_then(given: dict) -> dict:
    """Return `Settings` on record, completed by the values in force where a choice did not exist when they were
    written: the only network was CPNet, the lowest confidence stood in place of the flow threshold, crystals were
    measured by the first convention, and the form factor was called circularity."""
    if not isinstance(given, dict):
        return given  # the reader of the settings refuses it
    instances, measuring = (given.get(name, {}) for name in ("instances", "measuring"))
    if not isinstance(instances, dict) or not isinstance(measuring, dict):
        return given
    if "convention" not in measuring:
        only = measuring.get("only", "")
        only = only.replace("circularity", "form_factor") if isinstance(only, str) else only
        measuring = measuring | {"only": only, "convention": 1}
    return {
        "network": "cellpose",
        **given,
        "instances": {"flow_threshold": None} | instances,
        "measuring": measuring,
    }


def read_json(text: str, what: str) -> Any:
    """Parse a JSON text. Raises SettingsError, which begins with `what`, if it is not JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{what} not valid JSON ({error.msg}, line {error.lineno}).") from error
    except (RecursionError, ValueError) as error:
        raise SettingsError(f"{what} nested too deeply or hold numbers that are too long.") from error


def _sections(given: Any) -> dict[str, Any]:
    kinds = {"scales": Scales, "instances": Instances, "measuring": Measuring}
    if not isinstance(given, dict):
        raise SettingsError("The settings must be a JSON object.")
    sections = {}
    for name, values in given.items():
        if name in ("method", "network", "effort"):
            sections[name] = values
            continue
        kind = kinds.get(name)
        if kind is None or not isinstance(values, dict):
            raise SettingsError(
                f"Unknown setting '{_named(name)}'. Known settings: method, network, effort, {', '.join(kinds)}."
            )
        unknown = set(values) - {f.name for f in fields(kind)}
        if unknown:
            raise SettingsError(f"Unknown setting '{name}.{_named(min(unknown))}'. Remove it.")
        if any(isinstance(v, float) and not math.isfinite(v) for v in values.values()):
            raise SettingsError(f"A number in '{name}' is not finite.")
        sections[name] = kind(**values)
    return sections
