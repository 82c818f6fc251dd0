"""Lengths and times as files state them: numbers with a decimal point or comma, and units under any of their names."""

import math
import re
import unicodedata

_METRES = {"km": 1e3, "m": 1.0, "dm": 1e-1, "cm": 1e-2, "mm": 1e-3, "μm": 1e-6, "nm": 1e-9, "pm": 1e-12, "fm": 1e-15}
_PREFIXES = {"kilo": "km", "": "m", "deci": "dm", "centi": "cm", "milli": "mm", "micro": "μm", "nano": "nm"}
_PREFIXES |= {"pico": "pm", "femto": "fm"}
# µm in one unit, by its names in small letters. NFKC makes compatible characters equal: both signs for µ become μ.
_UM = {
    **{sign: 1e6 * metres for sign, metres in _METRES.items()},
    **{
        f"{prefix}{word}{plural}": 1e6 * _METRES[sign]
        for prefix, sign in _PREFIXES.items()
        for word in ("meter", "metre")
        for plural in ("", "s")
    },
    **dict.fromkeys(("um", "mum", "micron", "microns", "mikrometer", "mikron", "u", "μ"), 1.0),
    **dict.fromkeys(("å", "a", "ang", "angstrom", "angstroms", "angström", "ångström", "ångströms"), 1e-4),
    **dict.fromkeys(("inch", "inches", "in", '"', "zoll"), 25400.0),
    **dict.fromkeys(("ft", "foot", "feet"), 304800.0),
    **dict.fromkeys(("thou", "mil"), 25.4),
    "yd": 914400.0,
    "pt": 25400.0 / 72,
}
# What programs write for "not calibrated".
_NO_UNITS = ("", "pixel", "pixels", "px", "reference frame", "unknown", "none", "undefined", "arbitrary")
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sek", "sekunden"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("μs", "us", "usec", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec"), 1e-9),
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuten"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "stunden"), 3600.0),
    **dict.fromkeys(("d", "day", "days", "tage"), 86400.0),
}
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")  # ImageJ's escape for characters outside ASCII
_LENGTH = re.compile(r"\s*([-+]?[\d.,]+(?:[eE][-+]?\d+)?)\s*(\D*?)\s*")


def _plain(unit: str) -> str:
    unit = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), unit)
    return unicodedata.normalize("NFKC", unit).strip().casefold()


def um_in(unit: str) -> float | None:
    """Return the µm in one `unit` of length; None if the unit is not known."""
    return _UM.get(_plain(unit))


def is_no_unit(unit: str) -> bool:
    """Whether the text in place of a unit says that there is no calibration."""
    return _plain(unit) in _NO_UNITS


def seconds_in(unit: str) -> float | None:
    """Return the seconds in one `unit` of time; None if the unit is not known."""
    return _SECONDS.get(_plain(unit))


def number(value: object) -> float:
    """Read a number, or the text of one with a decimal point or comma. Return NaN if it is not a number or not
    finite."""
    if isinstance(value, str):
        text = value.strip()
        if text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        value = text if "_" not in text else "nan"  # Python would read 1_000
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def length_um(text: str) -> float | None:
    """Read a text such as `48,83 nm` or `10um` in µm. Return None if it is not a length above 0."""
    found = _LENGTH.fullmatch(text)
    um = um_in(found[2]) if found else None
    if found is None or um is None or not found[2]:
        return None
    length = number(found[1]) * um
    return length if length > 0 else None
