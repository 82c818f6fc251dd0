"""The sources of labelled images: what their labels mean, their licences, and how often each is drawn.

A source is a folder of labelled images, or one of its parts `train`, `val`, `test`; it is known by the folder's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from skimage.measure import regionprops

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.pairs import read_labels, read_pairs

PARTS = ("train", "val", "test")
COMPACT = 0.6  # solidity below which a label with open lines probably is several crystals
Labels = Literal["complete", "visible", "open"]


@dataclass(frozen=True)
class Source:
    """What is known of a source.

    labels: `complete`, where every crystal is labelled and what has no label is no crystal; `visible`, the same, but
    crystals lie over one another and a label is the part that is seen, so that sizes are lower bounds; `open`, where
    labels are what lies between hand-traced lines, which may be interrupted: a boundary where they have none is no
    error. An image of any source may have its labels right in a part only (`<id>_checked.png`).
    licence: of images and labels; shared: whether they may be handed on; origin: where they come from.
    often: how often it is drawn beside what the number of its crystals gives it (`proportions`).
    """

    labels: Labels = "complete"
    licence: str = "not known"
    shared: bool = False
    origin: str = ""
    often: float = 1.0


SOURCES = {
    "powder": Source("visible", "MIT", True, "rccohn/AMPIS; DOE-EERE, ORNL-MDF, Ames Laboratory"),
    "spheroidite": Source("complete", "MIT", True, "rccohn/AMPIS, from UHCSDB"),
    "pebbles": Source("visible", "BSD-3-Clause", True, "dmair1989/ImageGrains"),
    "polarised-polycrystal": Source("open", "MIT", True, "Scientific-Computing-Lab/MLOgraphyPlusPlus"),
    "em-particles": Source("visible", "MIT (labels); the figures are of journals", False, "by256/emps"),
    "powder-mixed": Source("visible", "CC BY 4.0", True, "sprice134/DualSight"),
    "precipitates": Source("complete", "MIT", True, "xiazeyu/DT_SegNet"),
    "superalloy": Source("complete", "MIT", True, "amptere/prompt-guided-superalloy-segmentation"),
    "fibres": Source("visible", "MIT (code); not seen for the images", False, "benjamin3344/Microplastics_Unet"),
    "steel-etched": Source(
        "complete", "MIT (images)", True, "repositoryfiles/EvaluationGrainSizeUsingDeepLearning; labels of our own"
    ),
    "ebsd": Source("complete", "Apache-2.0", True, "MechMicroMan/DefDAP"),
}


def name_of(folder: Path) -> str:
    """The name of a folder's source: the folder's own, or that of the folder it is a part of."""
    folder = Path(folder).absolute()
    return folder.parent.name if folder.name in PARTS else folder.name


def source_of(folder: Path) -> Source:
    """The source of a folder; of one that is not known, every crystal is taken to be labelled."""
    return SOURCES.get(name_of(folder), Source())


@cache
def count(folder: Path) -> tuple[int, int]:
    """Images and labelled crystals of a folder."""
    paths = sorted(Path(folder).glob("*_label.png"))
    return len(paths), sum(int(np.count_nonzero(np.bincount(read_labels(p).ravel())[1:])) for p in paths)


def proportions(crystals: Sequence[int], often: Sequence[float]) -> np.ndarray:
    """How often each source is drawn, float64 (n,), the sum is 1: in proportion to the square root of its number of
    crystals, times `often`.

    Into how many images the crystals are divided makes no difference, and a source of a hundred times as many is drawn
    ten times as often.
    """
    weights = np.asarray(often, float) * np.sqrt(np.maximum(crystals, 1))
    return weights / weights.sum()


def shares(folders: Sequence[Path]) -> np.ndarray:
    """How often each folder is drawn (`proportions`), float64 (n,)."""
    return proportions([count(Path(f))[1] for f in folders], [source_of(f).often for f in folders])


def described(folders: Sequence[Path], synthetic: float) -> str:
    """The folders, what is drawn of each and their licences in words, for a weights card: a share `synthetic` comes
    from the generator."""
    words = []
    for folder, share in zip(map(Path, folders), (1 - synthetic) * shares(folders), strict=True):
        facts = f"{count(folder)[0]} images, {share:.1%}, licence: {source_of(folder).licence}"
        words.append(f"{folder.parent.name}/{folder.name} ({facts})")
    return ", ".join([*words, f"synthetic ({synthetic if folders else 1:.0%})"])


def read_source(folder: Path) -> list[tuple[Micrograph, np.ndarray, np.ndarray | None]]:
    """Each image of a folder, its labels int32 (H, W), and where they are right, bool (H, W), or None if everywhere."""
    found = []
    for micrograph, labels in read_pairs(folder):
        checked = Path(folder) / f"{micrograph.name}_checked.png"
        right = read_labels(checked) > 0 if checked.is_file() else None
        if source_of(folder).labels == "open":
            right = compact(labels) if right is None else right & compact(labels)
        found.append((micrograph, labels, right))
    return found


def compact(labels: np.ndarray) -> np.ndarray:
    """Where labels int32 (H, W) are not probably several crystals between which a line is missing: bool (H, W), False
    on those of a solidity (area ÷ area of the convex hull) below COMPACT."""
    doubtful = [r.label for r in regionprops(labels) if r.solidity < COMPACT]
    return ~np.isin(labels, doubtful)
