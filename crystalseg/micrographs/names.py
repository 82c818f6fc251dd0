"""Names of images and other texts that users type: how they are shown, and how files are named after them."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

LONGEST_STEM = 100  # bytes; file systems allow 255 for a whole name
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')  # forbidden in file names on some system
_NUMBERS = re.compile(r"(\D*)(\d*)")
_LINE_ENDS = re.compile(r"[\t\r\n\v\f\x85\u2028\u2029]+")
# Control characters, lone surrogates, code points that are not characters, and marks that change the text direction.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]"
)


def visible(text: object) -> str:
    """Return `text` on one line without invisible characters. The rest needs no repair in XML, HTML, PDF or Excel."""
    return _UNSEEN.sub("", _LINE_ENDS.sub(" ", unicodedata.normalize("NFC", str(text))))


def natural(name: object) -> tuple[tuple[str, int, str], ...]:
    """Return a sort key that compares digits as numbers, so that 2 comes before 10. It ignores case."""
    text = str(name)
    pairs = [(words.casefold(), digits.lstrip("0")) for words, digits in _NUMBERS.findall(text)]
    parts = [(words, len(digits), digits) for words, digits in pairs]
    return (*parts, ("", -1, text))  # a fixed order for names that differ only in case or leading zeros


def file_stem(name: str) -> str:
    """Return the stem for files of the image `name`: the name without its ending and without characters that some file
    system forbids."""
    stem = _FORBIDDEN.sub("_", visible(name.rpartition(".")[0] or name)).strip("._ ")
    return stem.encode()[:LONGEST_STEM].decode(errors="ignore") or "image"


def file_stems(names: Iterable[str]) -> list[str]:
    """Return `file_stem` of each name, with a number added where a stem is taken, so that no file overwrites
    another."""
    return _apart((file_stem(name), "") for name in names)


def file_names(names: Iterable[str]) -> list[str]:
    """Do as `file_stems`, but keep the endings, which tell equal stems apart."""
    return _apart((file_stem(name), PurePath(visible(name)).suffix.lower()) for name in names)


def _apart(wanted: Iterable[tuple[str, str]]) -> list[str]:
    taken: dict[str, int] = {}  # key: the name as systems that ignore case see it; value: the number to try next
    found = []
    for stem, ending in wanted:
        first = name = f"{stem}{ending}"
        while name.casefold() in taken:
            taken[first.casefold()] += 1
            name = f"{stem}_{taken[first.casefold()]}{ending}"
        taken[name.casefold()] = 1
        found.append(name)
    return found
