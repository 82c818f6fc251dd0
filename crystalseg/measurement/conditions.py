"""Describe the settings under which a validation holds."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Conditions:
    """The settings, besides the method and its weights, that decide which crystals are found and how they count.

    `key` is the canonical JSON of these settings; it is "" for records without a key, such as those written before keys
    existed. `text` is the same settings as version 1 of the record wrote them, "" if it did not note them.
    """

    key: str = ""
    text: str = ""

    def same(self, other: "Conditions") -> bool:
        """Return whether both conditions are the same, by key, or by text if one of them has no key."""
        if self.key and other.key:
            return self.key == other.key
        return bool(self.text) and self.text == other.text

    def told_from(self, other: "Conditions") -> str:
        """Describe these conditions in words, with enough digits to distinguish them from `other`."""
        if self.text != other.text or not self.key:
            return self.text or "not noted"
        facts = {name.replace("_", " "): value for name, value in json.loads(self.key).items()}
        return ", ".join(f"{name} {_words(value)}" for name, value in facts.items() if value != [])


def _words(value: object) -> str:
    return " ".join(map(_words, value)) if isinstance(value, list) else "by size" if value is None else str(value)
