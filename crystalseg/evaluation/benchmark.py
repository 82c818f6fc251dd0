"""A reproducible benchmark: synthetic grains with the statistics of the paper's data set (section IV-A).

It has 313 cut-outs of one grain each, with sides of 150 to 1800 px and crystals from 8 px, split 60/20/20 and
stratified by class. The paper does not print the number of images per class, but its tables II and III imply it,
because the overall figures are means over the classes: 21 test images per class give PQ 72.1 and 77.1 and MAE 56.6 and
24.3 exactly.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crystalseg.evaluation.metrics import average_crystal_size
from crystalseg.micrographs.labels import homogeneity
from crystalseg.micrographs.pairs import write_pair
from crystalseg.synthetic.sets import draw_grain, draw_random

IMAGES, CLASSES = 313, (1, 2, 3)
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
SEED = 2026
# The validation images; 24 grains proved too few.
GRAINS, MIXED, VALIDATION_SEED = 120, 40, 2027


def stratified_split(classes: Sequence[int], shares: dict[str, float] = SHARES, seed: int = 0) -> list[str]:
    """Return the part of each image, drawn so that every part has its share of every class, rounded to whole images.

    `shares` sums to 1; the first part gets what rounding leaves over.
    """
    rng = np.random.default_rng(seed)
    parts = np.empty(len(classes), object)
    names = list(shares)
    for c in sorted(set(classes)):
        members = rng.permutation(np.flatnonzero(np.asarray(classes) == c))
        counts = [round(shares[name] * len(members)) for name in names[1:]]
        parts[members] = np.repeat(names, [len(members) - sum(counts), *counts])
    return parts.tolist()


def folds(classes: Sequence[int], count: int = 10, seed: int = 0) -> np.ndarray:
    """Return the fold 0..count - 1 of each image, int (n,), stratified by class. Fold sizes differ by at most the
    number of classes."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(classes), int)
    for c in sorted(set(classes)):
        members = rng.permutation(np.flatnonzero(np.asarray(classes) == c))
        fold[members] = np.arange(len(members)) % count
    return fold


def write_benchmark(
    folder: Path, count: int = IMAGES, seed: int = SEED, report: Callable[[int], None] = lambda _: None
) -> None:
    """Write `<part>/<id>.png`, `<part>/<id>_label.png` and benchmark.csv, which lists part, class, size, number of
    crystals, homogeneity and ACS of every image. The same arguments give the same pixels."""
    classes = [CLASSES[i % len(CLASSES)] for i in range(count)]
    parts = stratified_split(classes)
    for part in SHARES:
        (folder / part).mkdir(parents=True, exist_ok=True)
    with (folder / "benchmark.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "part", "class", "height_px", "width_px", "crystals", "homogeneity", "acs_px"))
        for i, (c, part) in enumerate(zip(classes, parts, strict=True)):
            drawn = draw_grain(seed, i, c)
            name = f"{seed}_{i:04d}"
            write_pair(folder / part, name, drawn.image, drawn.labels)
            figures = (int(drawn.labels.max()), homogeneity(drawn.labels), average_crystal_size(drawn.labels))
            writer.writerow((name, part, c, *drawn.labels.shape, figures[0], f"{figures[1]:.3f}", f"{figures[2]:.1f}"))
            report(i + 1)


def write_validation(folder: Path, grains: int = GRAINS, mixed: int = MIXED, seed: int = VALIDATION_SEED) -> None:
    """Write `<id>.png` and `<id>_label.png` of the validation images: grains of the three classes in turn, and mixed
    images of any kind. The benchmark contains none of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(grains):
        drawn = draw_grain(seed, i, CLASSES[i % len(CLASSES)])
        write_pair(folder, f"grain_{i:04d}", drawn.image, drawn.labels)
    for i in range(mixed):
        drawn = draw_random(seed, i)
        write_pair(folder, f"mixed_{i:04d}", drawn.image, drawn.labels)
