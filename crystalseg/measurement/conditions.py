"""The settings under which a validation holds."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Conditions:
    """What beside method and weights decides which crystals are found and how they count.

    key: canonical JSON of these settings, "" where it was not noted, as before there were keys; text: as version 1 of
    the record wrote them, "" if they were not noted either.
    """

    key: str = ""
    text: str = ""

    def same(self, other: "Conditions") -> bool:
        """Whether they are the same: by key, or by text where one of them has no other."""
        if self.key and other.key:
            return self.key == other.key
        return bool(self.text) and self.text == other.text

    def told_from(self, other: "Conditions") -> str:
        """These in words, with as many digits as tell them from other ones."""
        if self.text != other.text or not self.key:
            return self.text or "not noted"
        facts = {name.replace("_", " "): value for name, value in json.loads(self.key).items()}
        return ", ".join(f"{name} {_words(value)}" for name, value in facts.items() if value != [])


def _words(value: object) -> str:
    return " ".join(map(_words, value)) if isinstance(value, list) else "by size" if value is None else str(value)
