"""Micrographs that come with the program."""

from pathlib import Path

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph

FOLDER = Path(__file__).with_name("example_images")
FIRST = "metal-powder-SEM.png"


def files() -> dict[str, Path]:
    """A title and the file of each."""
    return {path.stem.replace("-", " "): path for path in sorted(FOLDER.glob("*.png"))}


def first() -> Micrograph:
    """The one shown to somebody who has uploaded nothing."""
    return read_micrograph((FOLDER / FIRST).read_bytes(), FIRST)
