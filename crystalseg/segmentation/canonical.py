"""Canonical JSON: one text for each value. Entries on record are compared and looked up by it."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def canonical(value: Any) -> str:
    """Return the JSON text of a dataclass, a mapping, a list or tuple, or a plain value. Equal values have equal texts.

    Keys are sorted and there is no white space. Whole numbers have no fraction; other numbers have the fewest digits
    that read back as the same float64, in the manner of RFC 8785. Raises ValueError for NaN and infinity, which JSON
    lacks.
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
    """Return a number for people, with all digits that distinguish it from others: 0, 0.25, 0.30000000000000004."""
    return canonical(float(value))
