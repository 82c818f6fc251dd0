"""Micrographs that come with the program. Some of them are labelled."""

from pathlib import Path

from crystalseg.micrographs.annotations import Annotation, read_annotations
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import natural

FOLDER = Path(__file__).with_name("example_images")
LABELLED = Path(__file__).with_name("labelled_images")
FIRST = "metal-powder-SEM.png"


def files() -> dict[str, Path]:
    """Return the file of each example by its title."""
    return {path.stem.replace("-", " "): path for path in sorted(FOLDER.glob("*.png"), key=natural)}


def first() -> Micrograph:
    """Return the example that is shown to a user who has uploaded nothing."""
    return read_micrograph((FOLDER / FIRST).read_bytes(), FIRST, float("inf"))


def rehearsed() -> dict[str, list[Annotation]]:
    """Return labelled fields that the shipped weights have learnt, by material. Teaching rehearses them, so that they
    are not forgotten."""
    return _labelled("rehearsed")


def looked_at() -> dict[str, list[Annotation]]:
    """Return other fields of the same materials, which the shipped weights have not learnt. They show what was
    forgotten."""
    return _labelled("looked_at")


def _labelled(part: str) -> dict[str, list[Annotation]]:
    return {folder.parent.name: read_annotations(folder) for folder in sorted(LABELLED.glob(f"*/{part}"), key=natural)}
