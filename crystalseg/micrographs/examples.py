"""Micrographs that come with the program, some of them labelled."""

from pathlib import Path

from crystalseg.micrographs.annotations import Annotation, read_annotations
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import natural

FOLDER = Path(__file__).with_name("example_images")
LABELLED = Path(__file__).with_name("labelled_images")
FIRST = "metal-powder-SEM.png"


def files() -> dict[str, Path]:
    """A title and the file of each."""
    return {path.stem.replace("-", " "): path for path in sorted(FOLDER.glob("*.png"), key=natural)}


def first() -> Micrograph:
    """The one shown to somebody who has uploaded nothing."""
    return read_micrograph((FOLDER / FIRST).read_bytes(), FIRST, float("inf"))


def rehearsed() -> dict[str, list[Annotation]]:
    """Fields that the shipped weights have learnt, by material: what is learnt with them is not forgotten."""
    return _labelled("rehearsed")


def looked_at() -> dict[str, list[Annotation]]:
    """Other fields of the same materials, which the shipped weights have not learnt: they show what was forgotten."""
    return _labelled("looked_at")


def _labelled(part: str) -> dict[str, list[Annotation]]:
    return {folder.parent.name: read_annotations(folder) for folder in sorted(LABELLED.glob(f"*/{part}"), key=natural)}
