"""Count the clicks that a segmentation needs: a simulated user corrects it, the largest error first.

The measure is the number of clicks (NoC) of interactive segmentation until a wanted quality is reached (Xu et al. 2016,
Sofiiuk et al. 2022). Here it counts the corrections of the Correct page. A merge costs one click per line between two
parts, a split one per piece, a deletion or an addition one, and an outline one per corner. With ClickNet, one click can
also draw or redraw a crystal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from crystalseg.evaluation.metrics import Overlap, overlap, panoptic_quality
from crystalseg.micrographs.labels import areas, crystal_lengths
from crystalseg.segmentation.corrections.clicks import Clicks, Network, Point, Seen, clicked
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.corrections.evidence import Evidence
from crystalseg.segmentation.corrections.history import History
from crystalseg.segmentation.segmentation import Segmentation

GOALS = (0.85, 0.90)  # PQ to reach
GOOD = 0.85  # IoU to reach for one crystal
MOST = 20  # clicks after which the user gives up on a crystal, as usual (Sofiiuk et al. 2022)
# The smallest number of corners whose polygon has this IoU with the crystal makes its outline.
OUTLINE = 0.9


@dataclass(frozen=True)
class Attempt:
    """A correction and its cost in clicks."""

    correction: Correction
    clicks: int


OneClick = Callable[[np.ndarray, int, Point], Correction]  # (labels, number of the crystal or 0 for a new one, place)


def correct_by_truth(
    history: History, truth: np.ndarray, most: int, draw: OneClick | None = None
) -> list[tuple[int, float]]:
    """Correct `history` until it matches `truth`, integer (H, W), or `most` clicks are spent. `draw` draws a crystal.

    Returns (clicks so far, PQ), starting with (0, PQ of the initial labels), one pair per accepted correction. A
    correction that does not help is undone, but its clicks count.
    """
    clicks = 0
    curve = [(0, panoptic_quality(truth, history.labels))]
    hopeless: set[tuple[str, int]] = set()
    while clicks < most:
        error = _largest_error(overlap(truth, history.labels), np.unique(truth), np.unique(history.labels), hopeless)
        if error is None:
            break
        for attempt in _attempts(history.labels, truth, *error, draw):
            clicks += attempt.clicks
            quality = _tried(history, attempt.correction, truth, curve[-1][1])
            if quality is not None:
                curve.append((clicks, quality))
                break
        else:
            hopeless.add(error)
    return curve


def clicks_to(curve: list[tuple[int, float]], goal: float) -> int | None:
    """Return the clicks until PQ reached `goal`, or None."""
    return next((clicks for clicks, quality in curve if quality >= goal), None)


def clicks_for_one(shape: tuple[int, int], evidence: Evidence, mask: np.ndarray) -> int:
    """Return the clicks to one crystal, bool (H, W), with IoU ≥ GOOD in an image (H, W) without segmentation: one if a
    click inside is enough, else that click and the corners of an outline."""
    history = History(np.zeros(shape, np.int32), np.zeros(0, np.float32), evidence)
    try:
        history.do(Correction("add", points=(_inside(mask),)))
        added = history.labels > 0
        if np.count_nonzero(added & mask) >= GOOD * np.count_nonzero(added | mask):
            return 1
    except CorrectionError:
        pass
    return 1 + len(_corners(mask))


def iou_by_clicks(seen: Seen, network: Network, mask: np.ndarray, most: int = MOST, enough: float = 1.0) -> list[float]:
    """Return the IoU with one crystal, bool (H, W), after each click. The first click is in its middle, each further
    one in the middle of the largest wrong piece (Xu et al. 2016). Stops after `most` clicks or at the IoU `enough`."""
    inside: list[Point] = [_inside(mask)]
    outside: list[Point] = []
    found = None
    curve: list[float] = []
    while True:
        with suppress(CorrectionError):  # the previous mask stays
            box, part = clicked(seen, network, inside, outside, found)
            found = np.zeros(mask.shape, bool)
            found[box] = part
        now = np.zeros(mask.shape, bool) if found is None else found
        curve.append(float(np.count_nonzero(now & mask) / np.count_nonzero(now | mask)))
        if len(curve) == most or curve[-1] >= enough:
            return curve
        missed, extra = (wrong & ~_near(inside + outside, mask.shape) for wrong in (mask & ~now, now & ~mask))
        if not (missed.any() or extra.any()):
            return curve
        (within, most_missed), (beyond, most_extra) = _deepest(missed), _deepest(extra)
        if most_missed >= most_extra:
            inside.append(within)
        else:
            outside.append(beyond)


def _near(points: Sequence[Point], shape: tuple[int, ...]) -> np.ndarray:
    """Return where somebody has already clicked, within about a pixel; bool (H, W)."""
    near = np.zeros(shape, bool)
    for y, x in points:
        near[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2] = True
    return near


def noc(curve: list[float], goal: float) -> int:
    """Return the number of clicks until the IoU reached `goal`, or MOST if it never did."""
    return next((k for k, iou in enumerate(curve, start=1) if iou >= goal), MOST)


def figures(
    segmentation: Segmentation,
    pixels: np.ndarray,
    truth: np.ndarray,
    network: Network | None = None,
    crystals: int = 30,
    seed: int = 0,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Return the NoC of one image and of single crystals.

    For the image: the initial PQ, and the clicks to each of GOALS, in total and per 100 crystals; NaN if even an
    outline of every crystal does not reach it. `network`, if given, draws crystals from clicks. For each of `crystals`
    true crystals, drawn by `seed`: its length, px, the clicks to GOOD without the network, and the NoC with it at each
    of GOALS.
    """
    evidence = Evidence(pixels, segmentation.scales, segmentation.settings.instances.foreground_threshold)
    history = History(segmentation.labels, segmentation.confidence, evidence)
    names = np.setdiff1d(np.unique(truth), 0)
    seen = Seen.of(pixels, segmentation.scales)
    draw: OneClick | None = None
    if network is not None:
        clicker = network

        def draw(labels: np.ndarray, number: int, point: Point) -> Correction:
            return Clicks(number, (point,)).correction(labels, seen, clicker)

    curve = correct_by_truth(history, truth, 20 * len(names), draw)
    result: dict[str, float] = {"crystals": len(names), "pq": curve[0][1]}
    for goal in GOALS:
        clicks = clicks_to(curve, goal)
        result[f"clicks_{100 * goal:.0f}"] = np.nan if clicks is None else clicks
        result[f"clicks_{100 * goal:.0f}_in_100"] = np.nan if clicks is None else 100 * clicks / len(names)
    chosen = np.random.default_rng(seed).permutation(names)[:crystals]
    lengths = crystal_lengths(truth)
    single = []
    for n in chosen.tolist():
        mask = truth == n
        row = {"length": float(lengths[n]), "clicks_without": clicks_for_one(truth.shape, evidence, mask)}
        if network is not None:
            by_clicks = iou_by_clicks(seen, network, mask, enough=max(GOALS))
            row |= {f"noc_{100 * goal:.0f}": noc(by_clicks, goal) for goal in GOALS} | {"iou_1": by_clicks[0]}
        single.append(row)
    return result, single


def _largest_error(
    counts: Overlap, true_names: np.ndarray, names: np.ndarray, hopeless: set[tuple[str, int]]
) -> tuple[str, int] | None:
    """Return the error with the most pixels, as its kind and a number: `missed`, a true crystal without a partner (IoU
    >
    0.5); `extra`, a found one without a partner; `rough`, a true crystal whose partner has an IoU below OUTLINE."""
    matched = counts.iou > 0.5
    row, col = counts.shared.row[matched], counts.shared.col[matched]
    true_names, names = true_names[true_names != 0], names[names != 0]
    partner = np.zeros(len(counts.truth))
    partner[row] = counts.iou[matched]
    lonely = np.ones(len(counts.predicted), bool)
    lonely[col] = False
    mistakes = [
        (area * (1 - iou), "rough" if iou else "missed", int(name))
        for area, iou, name in zip(counts.truth, partner, true_names, strict=True)
        if iou < OUTLINE
    ]
    mistakes += [(area, "extra", int(name)) for area, name in zip(counts.predicted[lonely], names[lonely], strict=True)]
    mistakes = [error for error in mistakes if error[1:] not in hopeless]
    return max(mistakes)[1:] if mistakes else None


def _attempts(
    labels: np.ndarray, truth: np.ndarray, kind: str, number: int, draw: OneClick | None
) -> Iterator[Attempt]:
    """Yield what a user would try on an error, the cheapest first."""
    if kind == "extra":
        mask = labels == number
        inside = np.bincount(truth[mask])
        here = [int(n) for n in np.flatnonzero(inside) if n and inside[n] > 0.5 * np.count_nonzero(truth == n)]
        if len(here) > 1:
            yield _split(truth, mask, number, here)
        inside[0] = 0
        holder = int(inside.argmax())
        if inside[holder] > 0.5 * np.count_nonzero(mask):
            yield from _merge(_parts(labels, truth == holder))
        yield Attempt(Correction("delete", (number,)), 1)
        return
    mask = truth == number
    corners = _corners(mask)
    if kind == "rough":
        yield from _merge(_parts(labels, mask))
        shares = np.bincount(labels[mask])
        shares[0] = 0
        yield from _drawn(draw, labels, int(shares.argmax()), mask)
        yield Attempt(Correction("redraw", (int(shares.argmax()),), corners), len(corners))
        return
    parts = _parts(labels, mask)
    yield from _merge(parts)
    shares = np.bincount(labels[mask])
    around = [int(n) for n in np.flatnonzero(shares) if n and shares[n] > 0.5 * np.count_nonzero(mask)]
    if around:
        other = np.bincount(truth[labels == around[0]])
        here = [int(n) for n in np.flatnonzero(other) if n and other[n] > 0.25 * np.count_nonzero(truth == n)]
        if len(here) > 1:
            yield _split(truth, labels == around[0], around[0], here)
    point = _inside(mask)
    yield from _drawn(draw, labels, parts[0] if parts else 0, mask)
    if not labels[tuple(int(v) for v in point)]:
        yield Attempt(Correction("add", points=(point,)), 1)
    # Other crystals that cover this one must go first, because an outline only gets free pixels.
    for n in parts[1:]:
        yield Attempt(Correction("delete", (n,)), 1)
    yield Attempt(Correction("redraw", tuple(parts[:1]), corners), len(corners))


def _drawn(draw: OneClick | None, labels: np.ndarray, number: int, mask: np.ndarray) -> Iterator[Attempt]:
    if draw is not None:
        with suppress(CorrectionError):  # the network found nothing there
            yield Attempt(draw(labels, number, _inside(mask)), 1)


def _parts(labels: np.ndarray, mask: np.ndarray) -> list[int]:
    """Return the crystals that lie mostly in `mask`."""
    shares = np.bincount(labels[mask])
    whole = areas(labels, len(shares) - 1)
    return [int(n) for n in np.flatnonzero(shares) if n and shares[n] > 0.5 * whole[n]]


def _merge(parts: list[int]) -> Iterator[Attempt]:
    if len(parts) > 1:
        yield Attempt(Correction("merge", tuple(parts)), len(parts) - 1)


def _split(truth: np.ndarray, mask: np.ndarray, number: int, pieces: list[int]) -> Attempt:
    points = tuple(_inside(mask & (truth == n)) for n in pieces)
    return Attempt(Correction("split", (number,), points), len(points))


def _tried(history: History, correction: Correction, truth: np.ndarray, before: float) -> float | None:
    """Return the PQ with the correction. If it is not better than `before`, undo the correction and return None."""
    try:
        history.do(correction)
    except CorrectionError:
        return None
    quality = panoptic_quality(truth, history.labels)
    if quality > before:
        return quality
    history.do("undo")
    return None


def _inside(mask: np.ndarray) -> tuple[float, float]:
    """Return the pixel farthest from the mask's edge, (y, x)."""
    return _deepest(mask)[0]


def _deepest(mask: np.ndarray) -> tuple[Point, float]:
    """Return the pixel farthest from the mask's edge and its distance from the edge, px; 0 for an empty mask."""
    away = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(away.argmax(), mask.shape)
    return (float(y), float(x)), float(away.max())


def _corners(mask: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the fewest corners, of several trials, of a polygon with IoU ≥ OUTLINE, or those of the last trial."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    line = max(lines, key=len)
    length = cv2.arcLength(line, True)
    for tolerance in (0.05, 0.03, 0.02, 0.01, 0.005):
        polygon = cv2.approxPolyDP(line, tolerance * length, True)
        drawn = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(drawn, [polygon], 1)
        if np.count_nonzero(mask & (drawn > 0)) >= OUTLINE * np.count_nonzero(mask | (drawn > 0)):
            break
    if len(polygon) < 3:
        polygon = line
    return tuple((float(y), float(x)) for x, y in polygon[:, 0])
