"""The benchmark's split is the paper's; its images are of their class and come again from the same seed."""

import csv
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.evaluation.benchmark import (
    CLASSES,
    IMAGES,
    SEED,
    SHARES,
    VALIDATION_SEED,
    folds,
    stratified_split,
    write_benchmark,
    write_validation,
)
from crystalseg.micrographs.labels import size_class
from crystalseg.micrographs.pairs import read_pairs


def test_the_papers_parts():
    """313 images, of which 63 are tested (21 a class), as many validate and 187 train."""
    classes = [CLASSES[i % 3] for i in range(IMAGES)]
    parts = stratified_split(classes)
    assert Counter(parts) == {"train": 187, "val": 63, "test": 63}
    assert Counter((c, p) for c, p in zip(classes, parts, strict=True) if p == "test") == {
        (1, "test"): 21,
        (2, "test"): 21,
        (3, "test"): 21,
    }


def test_the_papers_figures_follow_from_equal_classes():
    """Tables II and III agree with a third of the test images in each class: the figures of table II are the means."""
    tables = [
        (72.1, (80.9, 69.4, 66.0)),
        (77.1, (80.6, 71.7, 78.9)),
        (56.6, (2.2, 70.2, 97.5)),
        (24.3, (3.3, 45.7, 23.9)),
        (11.8, (5.0, 22.3, 8.2)),
        (19.4, (3.4, 32.1, 22.8)),
    ]
    for total, by_class in tables:
        assert abs(np.mean(by_class) - total) < 0.06


@settings(max_examples=50)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=200), st.integers(0, 99))
def test_every_class_is_shared_out(classes, seed):
    parts = stratified_split(classes, seed=seed)
    for c in set(classes):
        own = Counter(p for p, k in zip(parts, classes, strict=True) if k == c)
        total = sum(own.values())
        for part in ("val", "test"):
            assert abs(own[part] - SHARES[part] * total) <= 0.5
    fold = folds(classes, 10, seed)
    for c in set(classes):
        counts = np.bincount(fold[np.array(classes) == c], minlength=10)
        assert counts.max() - counts.min() <= 1


def test_images_are_of_their_class_and_reproducible(tmp_path):
    for name in ("one", "two"):
        write_benchmark(tmp_path / name, count=6, seed=4)
    with (tmp_path / "one" / "benchmark.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["class"]) for r in rows] == [1, 2, 3, 1, 2, 3]
    seen = 0
    for part in SHARES:
        if not any(r["part"] == part for r in rows):
            continue
        pairs = zip(read_pairs(tmp_path / "one" / part), read_pairs(tmp_path / "two" / part), strict=True)
        for (m, labels), (same, same_labels) in pairs:
            row = next(r for r in rows if r["id"] == m.name.removesuffix(".png"))
            assert (m.pixels == same.pixels).all()
            assert (labels == same_labels).all()
            assert size_class(labels) == int(row["class"])
            assert labels.max() == int(row["crystals"])
            seen += 1
    assert seen == 6


def test_the_images_to_choose_by_are_not_those_of_the_benchmark(tmp_path):
    write_validation(tmp_path, grains=3, mixed=2)
    pairs = read_pairs(tmp_path)
    assert [m.name for m, _ in pairs] == ["grain_0000", "grain_0001", "grain_0002", "mixed_0000", "mixed_0001"]
    assert [size_class(labels) for _, labels in pairs[:3]] == [1, 2, 3]
    assert SEED != VALIDATION_SEED
