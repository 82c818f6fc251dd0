"""Select crystals in words, English or German: "only round ones above 20 µm", "ohne kleine und unsichere".

Whatever the words, they become a filter over the crystals table. The filter is shown, logged and printed on the report.
Its own text can be parsed again and means the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from lark import Lark, Transformer, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from crystalseg.errors import UserError
from crystalseg.measurement.crystals import LENGTHS
from crystalseg.measurement.rounding import at_most

LONGEST = 1000  # characters of a query, and of the filter that it becomes
DEEPEST = 20  # parentheses within each other
SMALLEST, LARGEST = 1e-12, 1e18  # numbers in a filter, in px, µm, px² or µm²
DIGITS = 10  # significant digits of a number in a filter
LEFT_OUT = "left out"  # kind, in the crystals table, of the crystals that were not selected
WORDS = (
    "sizes with their unit (above 20 µm, zwischen 5 und 10 µm, feret_max < 30 px), round, elongated, equiaxed, ragged, "
    "large, small, bright, dark, sure, doubtful, cut by the border, pores, artefacts; and, or, not, only, leave out"
)
# The condition that each word stands for. Large, small, bright and dark refer to thirds of the crystals of the image.
ADJECTIVES = {
    "ROUND": "circularity >= 0.92",
    "ELONGATED": "aspect_ratio < 0.5",
    "EQUIAXED": "aspect_ratio >= 0.7",
    "RAGGED": "solidity < 0.9",
    "LARGE": "equivalent_diameter > p67",
    "SMALL": "equivalent_diameter < p33",
    "BRIGHT": "brightness > p67",
    "DARK": "brightness < p33",
    "SURE": "confidence >= 0.8",
    "DOUBTFUL": "confidence < 0.5",
}
_NAMES = {
    "diameter": "equivalent_diameter",
    "size": "equivalent_diameter",
    "ecd": "equivalent_diameter",
    "equivalent diameter": "equivalent_diameter",
    "durchmesser": "equivalent_diameter",
    "größe": "equivalent_diameter",
    "length": "feret_max",
    "länge": "feret_max",
    "width": "feret_min",
    "breite": "feret_min",
    "fläche": "area",
    "umfang": "perimeter",
    "aspect ratio": "aspect_ratio",
    "seitenverhältnis": "aspect_ratio",
    "form factor": "form_factor",
    "formfaktor": "form_factor",
    "rundheit": "circularity",
    "winkel": "orientation",
    "konfidenz": "confidence",
    "helligkeit": "brightness",
}
_AT_LEAST, _AT_MOST = ("at least", "mindestens", "≥"), ("at most", "höchstens", "≤")
_MORE = ("above", "over", "über", "larger", "bigger", "greater", "more", "longer", "größer", "mehr", "länger", ">")
_IN_UM = {"nm": 1e-3, "µm": 1.0, "mm": 1e3}
_COMPARE: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    ">": np.greater,
    ">=": np.greater_equal,
    "<": np.less,
    "<=": np.less_equal,
}


_TOO_LONG = f"The selection is longer than {LONGEST} characters or nested too deeply. Use a shorter one."


class QueryError(UserError):
    """A query cannot be read, or not answered for this image; the message is a sentence that says what failed."""


@dataclass(frozen=True)
class Filter:
    """The filter that a query became.

    `text` is the canonical text, "" if it selects all. `tree` is the filter as nested tuples, None if it selects all.
    """

    text: str = ""
    tree: tuple[Any, ...] | None = None

    @property
    def needs_pixels(self) -> bool:
        """Return whether the filter needs the brightness, which the crystals table does not contain."""
        return "brightness" in self.text

    @property
    def needs_pixel_size(self) -> bool:
        """Return whether the filter needs µm."""
        return "µm" in self.text

    def select(self, crystals: pd.DataFrame, brightness: np.ndarray | None = None) -> np.ndarray:
        """Return which rows of the `measure_crystals` table are selected, bool (n,).

        `brightness` is the mean grey value of each crystal, 0..255, (n,). Raise QueryError if the table lacks what the
        filter needs, such as a pixel size or a confidence.
        """
        if self.tree is None:
            return np.ones(len(crystals), bool)
        return _selected(self.tree, crystals, brightness)


@lru_cache(maxsize=256)  # bounded, because the keys are what users type
def parse(query: str) -> Filter:
    """Return the filter that a query means, or that the text of a filter describes.

    Raise QueryError if it contains an unknown word, or is too long.
    """
    text = " ".join(query.lower().split())
    if not text:
        return Filter()
    if len(text) > LONGEST or max(accumulate((c == "(") - (c == ")") for c in text)) > DEEPEST:
        raise QueryError(_TOO_LONG)
    try:
        tree = _Tree().transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise QueryError(_not_read(text, error)) from error
    except VisitError as error:
        raise error.orig_exc from error
    filter_text = _text(tree)
    if len(filter_text) > LONGEST:
        raise QueryError(_TOO_LONG)
    return Filter(filter_text, tree)


def leave_out(crystals: pd.DataFrame, query: str, labels: np.ndarray, pixels: np.ndarray | None) -> pd.DataFrame:
    """Return the `measure_crystals` table with the kind LEFT_OUT for crystals that `query` does not select.

    `labels` is the integer array (H, W) of the table. `pixels` is the image, uint8 (H, W, 3); queries for brightness
    need it. Raise QueryError as `Filter.select` does.
    """
    chosen = parse(query)
    if chosen.tree is None:
        return crystals
    brightness = None
    if chosen.needs_pixels and pixels is not None:
        count = np.bincount(labels.ravel())
        total = np.bincount(labels.ravel(), weights=pixels.mean(axis=2).ravel())
        brightness = (total / np.maximum(count, 1))[crystals["id"]]
    out = (crystals["kind"] == "crystal") & ~chosen.select(crystals, brightness)
    return crystals.assign(kind=crystals["kind"].mask(out, LEFT_OUT))


@cache
def _parser() -> Lark:
    return Lark.open("query.lark", rel_to=__file__, parser="earley", lexer="basic", ambiguity="resolve")


def _not_read(text: str, error: UnexpectedInput) -> str:
    at = error.pos_in_stream if error.pos_in_stream is not None and error.pos_in_stream >= 0 else len(text)
    ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    word = text[at:].split()[0] if text[at:].split() and not ended else ""
    what = f"cannot be understood from “{word}” on" if word else "is not complete: its end is missing"
    return f"The selection “{text}” {what}. Known words: {WORDS}."


class _Tree(Transformer):
    """Turn Lark's tree into tuples.

    The tuples are ("all", ...), ("any", ...), ("not", x), ("compare", column, operator, value, unit), ("kind", name)
    and ("border",).
    """

    def start(self, parts: list) -> tuple:
        return _joined("all", parts)

    def keep(self, parts: list) -> tuple:
        return _plain(parts[0])

    def leave(self, parts: list) -> tuple:
        """Negate each part that is named: `leave out pores and small ones` leaves out both."""
        each = parts[0][1:] if parts[0][0] in ("all", "any") else (parts[0],)
        return _joined("all", [("not", _plain(part)) for part in each])

    def together(self, parts: list) -> tuple:
        """Join words that stand side by side.

        They are kept apart from words joined by `and` until it is known whether the query keeps them or leaves them
        out.
        """
        return _joined("together", parts)

    def all_of(self, parts: list) -> tuple:
        return _joined("all", parts)

    def any_of(self, parts: list) -> tuple:
        return _joined("any", parts)

    def not_(self, parts: list) -> tuple:
        return ("not", parts[0])

    def comparison(self, parts: list) -> tuple:
        column = "equivalent_diameter"
        if len(parts) == 2:
            word = str(parts.pop(0))
            column = _NAMES.get(word, word)
        limits = [(operator, _checked(column, *value)) for operator, value in parts[0]]
        for _, (value, _) in limits:
            if not isinstance(value, str) and value and not SMALLEST <= value <= LARGEST:
                raise QueryError(f"The number for {column} in the selection is too small or too large.")
        return _joined("all", [("compare", column, operator, *value) for operator, value in limits])

    def plain(self, parts: list) -> list:
        return [(_operator(str(parts[0])), parts[1])]

    def between(self, parts: list) -> list:
        (low, unit), (high, same) = parts
        return [(">=", (low, unit or same)), ("<=", (high, same or unit))]

    def value(self, parts: list) -> tuple[float | str, str]:
        number = str(parts[0])
        if number.startswith("p"):
            return number, ""
        return float(number.replace(",", ".")), _unit(str(parts[1])) if len(parts) > 1 else ""

    def flag(self, parts: list) -> tuple:
        return {"BORDER": ("border",), "PORE": ("kind", "pore"), "ARTEFACT": ("kind", "artefact")}[parts[0].type]

    def adjective(self, parts: list) -> tuple:
        column, operator, number = ADJECTIVES[parts[0].type].split()
        return ("compare", column, operator, number if number[0] == "p" else float(number), "")


def _joined(how: str, parts: list) -> tuple:
    """Put parts into one list, and flatten nested lists of the same kind."""
    flat = [inner for part in parts for inner in (part[1:] if part[0] == how else (part,))]
    return flat[0] if len(flat) == 1 else (how, *flat)


def _plain(tree: tuple) -> tuple:
    """Return a tree in which words that stand together must all hold."""
    if tree[0] == "not":
        return ("not", _plain(tree[1]))
    if tree[0] not in ("all", "any", "together"):
        return tree
    return _joined("any" if tree[0] == "any" else "all", [_plain(part) for part in tree[1:]])


def _operator(words: str) -> str:
    if words in _COMPARE:
        return words
    if words in _AT_LEAST:
        return ">="
    if words in _AT_MOST:
        return "<="
    return ">" if words.startswith(_MORE) else "<"


def _unit(words: str) -> str:
    words = words.replace("μ", "µ").replace("^", "").replace("²", "2")
    if words[0] == "p":
        return "px2" if words.endswith("2") else "px"
    if words.startswith("mi") or words.startswith("um"):
        return "µm2" if words.endswith("2") else "µm"
    return "°" if words[0] in "°dg" else words


def _checked(column: str, value: float | str, unit: str) -> tuple[float | str, str]:
    """Return a value in the unit that its column needs: px or µm, px² or µm², or no unit.

    Raise QueryError if another unit was given.
    """
    if isinstance(value, str):
        return value, ""
    power = 2 if column == "area" else 1 if column in LENGTHS else 0
    if not power:
        if unit == "%":
            return value / 100, ""
        if unit and not (unit == "°" and column == "orientation"):
            raise QueryError(f"{column} has no unit. Leave out “{unit}”.")
        return value, ""
    known = ("px2", *(f"{u}2" for u in _IN_UM)) if power == 2 else ("px", *_IN_UM)
    if unit not in known:
        raise QueryError(f"Give a unit with {column} {value:g}: {', '.join(u.replace('2', '²') for u in known)}.")
    if unit.startswith("px"):
        return value, unit
    return value * _IN_UM[unit.removesuffix("2")] ** power, "µm2" if power == 2 else "µm"


def _text(tree: tuple, within: str = "") -> str:
    match tree:
        case ("compare", column, operator, value, unit):
            number = value if isinstance(value, str) else at_most(value, DIGITS)
            return f"{column} {operator} {number}" + (f" {unit.replace('2', '²')}" if unit else "")
        case ("kind", name):
            return name
        case ("border",):
            return "touches_border"
        case ("not", inner):
            return f"not {_text(inner, 'not')}"
    word = " and " if tree[0] == "all" else " or "
    text = word.join(_text(part, tree[0]) for part in tree[1:])
    return f"({text})" if within in ("not", "all") else text


def _selected(tree: tuple, crystals: pd.DataFrame, brightness: np.ndarray | None) -> np.ndarray:
    match tree:
        case ("compare", column, operator, value, unit):
            values = _values(crystals, column, unit, brightness)
            if isinstance(value, str):
                counted = values[(crystals["kind"] == "crystal").to_numpy(bool)]
                value = float(np.nanpercentile(counted, int(value[1:]))) if len(counted) else 0.0
            return _COMPARE[operator](values, value)
        case ("kind", name):
            return (crystals["kind"] == name).to_numpy(bool)
        case ("border",):
            return crystals["touches_border"].to_numpy(bool)
        case ("not", inner):
            return ~_selected(inner, crystals, brightness)
    parts = [_selected(part, crystals, brightness) for part in tree[1:]]
    return np.logical_and.reduce(parts) if tree[0] == "all" else np.logical_or.reduce(parts)


def _values(crystals: pd.DataFrame, column: str, unit: str, brightness: np.ndarray | None) -> np.ndarray:
    if column == "brightness":
        if brightness is None:
            raise QueryError("A selection by brightness needs the image, which was not kept. Leave out brightness.")
        return brightness
    suffix = "" if column not in (*LENGTHS, "area") else f"_{(unit or ('px2' if column == 'area' else 'px'))}"
    name = ("orientation_deg" if column == "orientation" else f"{column}{suffix}").replace("µ", "u")
    if name not in crystals:
        if unit.startswith("µm"):
            raise QueryError(f"A selection by {column} in µm needs a pixel size. Give one, or select in px.")
        raise QueryError(f"The method gives no {column}. Choose another method, or leave out {column}.")
    return crystals[name].to_numpy(float)
