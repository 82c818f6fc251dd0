"""The sources of labelled images: what their labels mean, their licences, and how often training draws each one.

A source is a folder of labelled images, or one of its parts `train`, `val` and `test`. The folder's name identifies it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from skimage.measure import regionprops

from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.pairs import label_files, read_labels, read_pairs

PARTS = ("train", "val", "test")
# A label with open lines and a lower solidity is probably several crystals: a tenth of the polarised set's labels.
COMPACT = 0.6
Labels = Literal["complete", "visible", "open"]


@dataclass(frozen=True)
class NegativeFolder(PathLike):
    """A folder of labelled images in which label numbers below 0 are background."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)


Folder = Path | NegativeFolder


@dataclass(frozen=True)
class Source:
    """What is known about a source.

    labels: what the labels mean.
        `complete`: every crystal has a label, and everything else is background.
        `visible`: the same, but crystals lie on top of each other and each label covers the visible part only, so that
        its size is a lower bound.
        `open`: the labels are the regions between hand-traced lines. The lines may have gaps, so that a boundary inside
        a label is not an error.
        In any source, an image's labels may be valid in one area only: where its `<id>_checked.png` is not 0.
    licence: of the images and labels. redistributable: whether they may be passed on. origin: where they come from.
    often: factor on how often training draws the source (`proportions`).
    """

    labels: Labels = "complete"
    licence: str = "not known"
    redistributable: bool = False
    origin: str = ""
    often: float = 1.0


SOURCES = {
    "powder": Source("visible", "MIT", True, "rccohn/AMPIS; DOE-EERE, ORNL-MDF, Ames Laboratory"),
    "spheroidite": Source("complete", "MIT", True, "rccohn/AMPIS, from UHCSDB"),
    "pebbles": Source("visible", "BSD-3-Clause", True, "dmair1989/ImageGrains"),
    "polarised-polycrystal": Source("open", "MIT", True, "Scientific-Computing-Lab/MLOgraphyPlusPlus"),
    "em-particles": Source("visible", "MIT (labels); the figures belong to journals", False, "by256/emps"),
    "powder-mixed": Source("visible", "CC BY 4.0", True, "sprice134/DualSight"),
    "precipitates": Source("complete", "MIT", True, "xiazeyu/DT_SegNet"),
    "superalloy": Source("complete", "MIT", True, "amptere/prompt-guided-superalloy-segmentation"),
    "fibres": Source("visible", "MIT (code); none stated for the images", False, "benjamin3344/Microplastics_Unet"),
    "steel-etched": Source(
        "complete", "MIT (images)", True, "repositoryfiles/EvaluationGrainSizeUsingDeepLearning; labels made by us"
    ),
    "ebsd": Source("complete", "Apache-2.0", True, "MechMicroMan/DefDAP"),
}


def name_of(folder: Folder) -> str:
    """The name of a folder's source: the folder's own name, or its parent's if the folder is a part."""
    folder = Path(folder).absolute()
    return folder.parent.name if folder.name in PARTS else folder.name


def source_of(folder: Folder) -> Source:
    """The source of a folder. An unknown folder counts as completely labelled, of unknown licence."""
    return SOURCES.get(name_of(folder), Source())


@cache
def count(folder: Folder) -> tuple[int, int]:
    """The number of images and of labelled crystals in a folder."""
    paths, negative = label_files(Path(folder)), isinstance(folder, NegativeFolder)
    return len(paths), sum(int(np.count_nonzero(np.bincount(read_labels(p, negative).ravel())[1:])) for p in paths)


def proportions(crystals: Sequence[int], often: Sequence[float]) -> np.ndarray:
    """How often training draws each source: float64 (n,), with a sum of 1.

    The share is proportional to the square root of the source's number of crystals, times `often`. It does not depend
    on how many images the crystals are spread over, and a source with a hundred times the crystals is drawn ten times
    as often.
    """
    weights = np.asarray(often, float) * np.sqrt(np.maximum(crystals, 1))
    return weights / weights.sum()


def shares(folders: Sequence[Folder]) -> np.ndarray:
    """How often training draws each folder (`proportions`), float64 (n,)."""
    return proportions([count(f)[1] for f in folders], [source_of(f).often for f in folders])


def described(folders: Sequence[Folder], synthetic: float) -> str:
    """The folders in words for a weights card: images, share of the training images, licence. A share `synthetic` comes
    from the generator."""
    words = []
    for folder, share in zip(folders, (1 - synthetic) * shares(folders), strict=True):
        facts = f"{count(folder)[0]} images, {share:.1%}, licence: {source_of(folder).licence}"
        words.append(f"{Path(folder).parent.name}/{Path(folder).name} ({facts})")
    return ", ".join([*words, f"synthetic ({synthetic if folders else 1:.0%})"])


def read_source(folder: Folder) -> list[tuple[Micrograph, np.ndarray, np.ndarray | None]]:
    """Each image of a folder with its labels int32 (H, W) and where they are valid, bool (H, W), or None if everywhere.

    Raises MicrographError if an image and its labels or its checked area differ in size, or if there is no image.
    """
    found = []
    for micrograph, labels in read_pairs(Path(folder), isinstance(folder, NegativeFolder)):
        checked = Path(folder) / f"{micrograph.name}_checked.png"
        valid = read_labels(checked) > 0 if checked.is_file() else None
        if valid is not None and valid.shape != labels.shape:
            raise MicrographError(f"{checked}: the checked area differs in size from its image. Export it again.")
        if source_of(folder).labels == "open":
            valid = compact(labels) if valid is None else valid & compact(labels)
        found.append((micrograph, labels, valid))
    return found


def compact(labels: np.ndarray) -> np.ndarray:
    """Where labels int32 (H, W) probably are single crystals: bool (H, W), False on each label with a solidity (area ÷
    area of the convex hull) below COMPACT, where a line between crystals is probably missing."""
    doubtful = [r.label for r in regionprops(labels) if r.solidity < COMPACT]
    return ~np.isin(labels, doubtful)
