"""What images are called, and what else users type: as it is shown, and as files are named."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

LONGEST_STEM = 100  # bytes; file systems allow 255 for a whole name
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')  # in file names, by some system
_NUMBERS = re.compile(r"(\D*)(\d*)")
_LINE_ENDS = re.compile(r"[\t\r\n\v\f\x85\u2028\u2029]+")
# Controls, lone surrogates, what is no character, and marks that turn the direction of what follows.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]"
)


def visible(text: object) -> str:
    """`text` on one line, without what no one sees: what is left stands for itself in XML, HTML, PDF and Excel."""
    return _UNSEEN.sub("", _LINE_ENDS.sub(" ", unicodedata.normalize("NFC", str(text))))


def natural(name: object) -> tuple[tuple[str, int, str], ...]:
    """A key to sort names by in which numbers count as numbers: 2 before 10. Letters of both cases come together."""
    text = str(name)
    pairs = [(words.casefold(), digits.lstrip("0")) for words, digits in _NUMBERS.findall(text)]
    parts = [(words, len(digits), digits) for words, digits in pairs]
    return (*parts, ("", -1, text))  # what differs in case or leading zeros only keeps an order


def file_stem(name: str) -> str:
    """What files of an image called `name` begin with: its own without ending and without what some file system
    forbids."""
    stem = _FORBIDDEN.sub("_", visible(name.rpartition(".")[0] or name)).strip("._ ")
    return stem.encode()[:LONGEST_STEM].decode(errors="ignore") or "image"


def file_stems(names: Iterable[str]) -> list[str]:
    """`file_stem` of each name, with a number where that was taken, so that no file overwrites another."""
    return _apart((file_stem(name), "") for name in names)


def file_names(names: Iterable[str]) -> list[str]:
    """As `file_stems`, with the endings, which keep alike stems apart."""
    return _apart((file_stem(name), PurePath(visible(name)).suffix.lower()) for name in names)


def _apart(wanted: Iterable[tuple[str, str]]) -> list[str]:
    taken: dict[str, int] = {}  # by what systems that ignore case take it for; and the number to try next
    found = []
    for stem, ending in wanted:
        first = name = f"{stem}{ending}"
        while name.casefold() in taken:
            taken[first.casefold()] += 1
            name = f"{stem}_{taken[first.casefold()]}{ending}"
        taken[name.casefold()] = 1
        found.append(name)
    return found
