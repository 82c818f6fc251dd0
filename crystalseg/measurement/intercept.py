"""Mean linear intercept along test lines and circles (ASTM E112-13 clauses 12 to 14, EN ISO 13383-1:2016 method A)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Pattern = Literal["lines", "circles"]
LINES = 8  # test lines in each of the two directions
STEP = 0.5  # px between samples of a test line
# A shorter chord, px, between two of one crystal is the stairs of an edge that the line runs along.
GRAZED = 1.5


@dataclass(frozen=True, eq=False)
class Intercepts:
    """Crystals cut by a test pattern.

    lines: each float64 (k, 2), (y, x) px, closed for circles; crossings float64 (m, 2): where a crystal was left or
    entered; count: crystals intercepted, ends of a line in a crystal ½; length: of the lines inside crystals, px;
    by_line: (count, length) of each line; ids int (n,), by_crystal float (n, 2): (count, length) of each crystal cut.
    """

    pattern: Pattern
    lines: tuple[np.ndarray, ...]
    crossings: np.ndarray
    count: float
    length: float
    by_line: tuple[tuple[float, float], ...]
    ids: np.ndarray
    by_crystal: np.ndarray

    @property
    def mean(self) -> float:
        """Mean linear intercept, px; NaN if no crystal was cut."""
        return self.length / self.count if self.count else float("nan")


def lines_across(shape: tuple[int, int], count: int = LINES) -> tuple[np.ndarray, ...]:
    """`count` horizontal and as many vertical lines across an (H, W) image, evenly spaced: (2, 2) each, (y, x)."""
    height, width = shape
    rows = (np.arange(count) + 0.5) * height / count - 0.5
    columns = (np.arange(count) + 0.5) * width / count - 0.5
    across = [np.array([(y, -0.5), (y, width - 0.5)]) for y in rows]
    down = [np.array([(-0.5, x), (height - 0.5, x)]) for x in columns]
    return (*across, *down)


def circles_about_the_middle(shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Three concentric circles, radii as 1 : 2 : 3, the largest 0.96 of the shorter side (E112 clause 14, figure 5)."""
    middle = (np.array(shape) - 1) / 2
    largest = 0.48 * min(shape)
    circles = []
    for part in (1, 2, 3):
        angle = np.linspace(0, 2 * np.pi, max(16, int(np.ceil(2 * np.pi * largest * part / 3))) + 1)
        circles.append(middle + largest * part / 3 * np.column_stack((np.sin(angle), np.cos(angle))))
    return tuple(circles)


def intercepts(labels: np.ndarray, pattern: Pattern) -> Intercepts:
    """Count the crystals of `labels`, integer (H, W), 0 = none, that a test pattern cuts. Grains that fill the area
    come with their boundaries, see `boundaries.with_boundaries`.

    Of a straight line, an end inside a crystal counts ½ (E112-13 clause 13); a circle wholly inside one counts 0, as it
    meets no boundary. Every chord that is seen counts 1. E112 counts 1½ for a triple point by eye, where nobody tells
    one intersection from two; here the pixels tell them apart, and ½ for a short chord would make l 2 to 3 % long.
    """
    lines = lines_across(labels.shape) if pattern == "lines" else circles_about_the_middle(labels.shape)
    chords, crossings = zip(*(_along(labels, line, pattern == "circles") for line in lines), strict=True)
    by_line = tuple((float(of[:, 1].sum()), float(of[:, 2].sum())) for of in chords)
    every = np.concatenate(chords)
    ids, which = np.unique(every[:, 0].astype(int), return_inverse=True)
    by_crystal = np.column_stack([np.bincount(which, every[:, k], len(ids)) for k in (1, 2)])
    return Intercepts(
        pattern,
        lines,
        np.concatenate(crossings),
        sum(count for count, _ in by_line),
        sum(length for _, length in by_line),
        by_line,
        ids,
        by_crystal,
    )


def _along(labels: np.ndarray, line: np.ndarray, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The chords of one line (k, 2) through crystals: their ids, counts and lengths (px), float (n, 3); and crossings
    (m, 2)."""
    sides = np.diff(line, axis=0)
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*sides.T))))
    total = float(along[-1])
    middles = (np.arange(round(total / STEP)) + 0.5) * total / round(total / STEP)
    points = np.column_stack([np.interp(middles, along, line[:, axis]) for axis in (0, 1)])
    pixels = np.clip(np.rint(points).astype(int), 0, np.array(labels.shape) - 1)
    names = labels[pixels[:, 0], pixels[:, 1]]
    if closed and len(np.unique(names)) > 1:
        # begin where one run begins, so that none is cut in two
        start = int(np.flatnonzero(np.diff(names))[0]) + 1
        names, points = np.roll(names, -start), np.roll(points, -start, axis=0)
    step = total / len(names)
    runs = _runs(names, closed, GRAZED / step)
    chords = []
    crossings: set[int] = set()
    for first, last, name in runs:
        if name == 0:
            continue
        ends = (first == 0) + (last == len(names))
        count = 1 - 0.5 * ends if not closed else float(ends < 2)
        chords.append((name, count, (last - first) * step))
        crossings |= {k for k in (first, last) if 0 < k < len(names)} | ({0} if closed and first == 0 < last else set())
    return np.array(chords, float).reshape(-1, 3), points[sorted(crossings)]


def _runs(names: np.ndarray, closed: bool, grazed: float) -> list[tuple[int, int, int]]:
    """(first, last + 1, label) along a line, in samples. A chord under `grazed` between two of one crystal is the
    rounding of its edge to pixels, and is that crystal's."""
    edges = np.concatenate(([0], np.flatnonzero(np.diff(names)) + 1, [len(names)]))
    runs = [(int(a), int(b), int(names[a])) for a, b in itertools.pairwise(edges)]
    joined: list[list[int]] = []
    for k, (first, last, name) in enumerate(runs):
        after = runs[(k + 1) % len(runs)] if closed or k + 1 < len(runs) else None
        before = joined[-1] if joined else None
        stairs = before and after and before[2] == after[2] and last - first < grazed
        if before and (before[2] == name or stairs):
            before[1] = last
        else:
            joined.append([first, last, name])
    return [(first, last, name) for first, last, name in joined]


def lines_with_counts(intercepts: Intercepts) -> Sequence[tuple[str, float, float]]:
    """What was counted, a row a line: its name, crystals, and length inside crystals, px."""
    names = [f"circle {k}" for k in (1, 2, 3)]
    if intercepts.pattern == "lines":
        half = len(intercepts.lines) // 2
        names = [f"row {k + 1}" for k in range(half)] + [f"column {k + 1}" for k in range(half)]
    return [(name, *both) for name, both in zip(names, intercepts.by_line, strict=True)]
