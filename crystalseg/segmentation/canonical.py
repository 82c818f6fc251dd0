"""Canonical JSON: one text a value, by which what is on record is compared and looked up."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def canonical(value: Any) -> str:
    """The JSON text of a dataclass, a mapping, a list or tuple, or a plain value: equal values have equal texts.

    Keys are sorted, there is no white space, whole numbers have no fraction, and other numbers have the fewest digits
    that read back as the same float64, in the manner of RFC 8785. ValueError for NaN and infinity, which JSON lacks.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def number_words(value: float) -> str:
    """A number for people with all digits that tell it from another: 0, 0.25, 0.30000000000000004."""
    return canonical(float(value))
