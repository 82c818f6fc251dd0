"""Putting a segmentation right by hand: merge, split, add, redraw, delete, mark; with undo, and a log that replays.

A correction is a small record of what a person asked for. Replaying the records on the labels of the run gives the
corrected labels again, so the original is kept and nothing else has to be stored. Numbers of crystals stay: a merged
crystal keeps the number of its largest part, a new piece gets a number never used before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from scipy import ndimage
from scipy.special import expit
from skimage.filters import sobel
from skimage.measure import label as connected_label
from skimage.segmentation import watershed

from crystalseg.flows import labels_from_flows
from crystalseg.fusion import ScalePrediction
from crystalseg.segmentation import Segmentation
from crystalseg.selection import SMALLEST, fit_quality, full_size
from crystalseg.tiling import TILE

Kind = Literal["merge", "split", "cut", "delete", "add", "redraw", "mark", "accept"]
Mark = Literal["crystal", "pore", "artefact"]
# px: crystals farther apart are not halves of one; farther from a click, a line between crystals is not meant.
REACH = 12
LEAST = 8  # px², smaller pieces of a cut go to their neighbour
GROWTH = 128  # px from the click, the farthest an added crystal reaches if no scale proposes it


class CorrectionError(ValueError):
    """A correction that cannot be done; the message is one sentence for the user."""


@dataclass(frozen=True)
class Correction:
    """What a person asked for.

    kind: `merge` crystals `ids`; `split` one at two or more `points`, one in each future piece; `cut` one along the
    line through `points`; `delete` crystals `ids`; `add` one about the first of `points`; `redraw` the crystal `ids`
    (none: a new one) as the polygon `points`; `mark` crystals `ids` as `mark`; `accept` doubtful ones as they are.
    points: (y, x), px of the measured image. who, when: for the log; when in ISO 8601.
    """

    kind: Kind
    ids: tuple[int, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    mark: Mark = "crystal"
    who: str = ""
    when: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.mark not in get_args(Mark):
            raise CorrectionError(f"There is no correction '{self.kind}' as '{self.mark}'.")
        object.__setattr__(self, "ids", tuple(dict.fromkeys(int(i) for i in self.ids)))
        object.__setattr__(self, "points", tuple((float(y), float(x)) for y, x in self.points))

    def words(self) -> str:
        """The correction in a few words, for the log on page and report."""
        names = ", ".join(map(str, self.ids))
        where = f" at ({self.points[0][1]:.0f}, {self.points[0][0]:.0f})" if self.points else ""
        return {
            "merge": f"merged {names}",
            "split": f"split {names} at {len(self.points)} points",
            "cut": f"cut {names} along a line",
            "delete": f"deleted {names}",
            "add": f"added one{where}",
            "redraw": f"redrew {names}" if self.ids else f"drew one{where}",
            "mark": f"marked {names} as {self.mark}",
            "accept": f"accepted {names}",
        }[self.kind]

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(entry: dict) -> "Correction | str":
        """From the log: a correction, or `undo` or `redo`."""
        return entry["kind"] if entry["kind"] in ("undo", "redo") else Correction(**entry)


@dataclass(frozen=True)
class Evidence:
    """What a correction may look at: pixels uint8 (H, W, 3), the scales' predictions, the foreground threshold h."""

    pixels: np.ndarray
    scales: Sequence[ScalePrediction]
    threshold: float = 0.0


@dataclass(frozen=True)
class _Step:
    """A correction done, and what it replaced: labels int32 within `box`, and marks and confidence before."""

    correction: Correction
    box: tuple[slice, slice]
    before: np.ndarray
    marks: dict[int, str]
    confidence: np.ndarray


class History:
    """Labels with the corrections made to them.

    labels int32 (H, W), not necessarily consecutive; confidence float32 (highest number ever,), 1 where a person
    decided; marks: {number: pore or artefact}.
    """

    def __init__(self, labels: np.ndarray, confidence: np.ndarray, evidence: Evidence):
        self.labels = labels.astype(np.int32, copy=True)
        self.confidence = confidence.astype(np.float32, copy=True)
        self.marks: dict[int, str] = {}
        self.evidence = evidence
        self._done: list[_Step] = []
        self._undone: list[Correction] = []

    @property
    def log(self) -> tuple[Correction, ...]:
        """The corrections in force, oldest first."""
        return tuple(step.correction for step in self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def do(self, correction: Correction) -> set[int]:
        """Carry it out; returns the numbers whose crystals changed, came or went. CorrectionError leaves all as it
        was."""
        changed = self._carry_out(correction)
        self._undone.clear()
        return changed

    def undo(self) -> set[int]:
        """Take the last correction back; returns the numbers concerned."""
        if not self._done:
            raise CorrectionError("There is nothing to undo.")
        step = self._done.pop()
        now = self.labels[step.box]
        changed = _differing(now, step.before) | set(step.correction.ids)
        now[...] = step.before
        self.marks, self.confidence = step.marks, step.confidence
        self._undone.append(step.correction)
        return changed

    def redo(self) -> set[int]:
        """Do again what was undone last; returns the numbers concerned."""
        if not self._undone:
            raise CorrectionError("There is nothing to redo.")
        changed = self._carry_out(self._undone[-1])
        self._undone.pop()
        return changed

    def _carry_out(self, c: Correction) -> set[int]:
        # What goes on elsewhere (another page, the mouse just moved on) must not act on what is no longer there.
        there = _present(self.labels, c.ids)
        if set(c.ids) - there:
            gone = ", ".join(map(str, sorted(set(c.ids) - there)))
            raise CorrectionError(f"There is no crystal {gone}: nothing was changed.")
        height, width = self.labels.shape
        # An outline or a line may well run beyond the image, a click may not.
        beyond = any(not (-0.5 <= y < height and -0.5 <= x < width) for y, x in c.points)
        if beyond and c.kind not in ("redraw", "cut"):
            raise CorrectionError("A point lies outside the image: nothing was changed.")
        box, new = _ACTIONS[c.kind](self.labels, c, self.evidence, len(self.confidence) + 1)
        step = _Step(c, box, self.labels[box].copy(), dict(self.marks), self.confidence)
        changed = _differing(step.before, new) | set(c.ids)
        names = _names(new)
        highest = max(names | {len(self.confidence)})
        grown = np.append(self.confidence, np.ones(highest - len(self.confidence), np.float32))
        decided = sorted((changed & names) if c.kind != "mark" else ())
        grown[[n - 1 for n in decided]] = 1
        self.labels[box] = new
        self.confidence = grown
        if c.kind == "mark":
            self.marks = {**self.marks, **dict.fromkeys(c.ids, c.mark)}
        self.marks = {n: m for n, m in self.marks.items() if m != "crystal" and not (n in changed and n not in names)}
        self._done.append(step)
        return changed


def replay(history: History, entries: Iterable[Correction | Literal["undo", "redo"]]) -> History:
    """Carry out a log from its beginning, undo and redo included; returns `history`."""
    for entry in entries:
        if isinstance(entry, Correction):
            history.do(entry)
        else:
            getattr(history, entry)()
    return history


def history_of(found: Segmentation, pixels: np.ndarray, log: Iterable[dict]) -> History:
    """A segmentation of `pixels` with the corrections of a log, as it is on record."""
    evidence = Evidence(pixels, found.scales, found.settings.instances.foreground_threshold)
    return replay(History(found.labels, found.confidence, evidence), map(Correction.from_dict, log))


def line_between(labels: np.ndarray, y: float, x: float) -> tuple[int, int]:
    """The two crystals on both sides of a line that was clicked: the two nearest, within REACH px of the click."""
    rows, columns = _around(labels.shape, y, x, REACH)
    part = labels[rows, columns]
    dy, dx = np.ogrid[: part.shape[0], : part.shape[1]]
    away = np.hypot(dy + rows.start - y, dx + columns.start - x)
    nearest = sorted((away[part == n].min(), n) for n in _names(part))
    if len(nearest) < 2 or nearest[1][0] > REACH:
        raise CorrectionError("Click on the line between the two halves of a crystal.")
    return int(nearest[0][1]), int(nearest[1][1])


# --- helpers ---------------------------------------------------------------------------------------------------------


def _names(labels: np.ndarray) -> set[int]:
    return set(np.unique(labels).tolist()) - {0}


def _differing(one: np.ndarray, other: np.ndarray) -> set[int]:
    where = one != other
    return _names(one[where]) | _names(other[where])


def _present(labels: np.ndarray, ids: Sequence[int]) -> set[int]:
    return {n for n in ids if n > 0 and (labels == n).any()}


def _around(shape: tuple[int, int], y: float, x: float, reach: float) -> tuple[slice, slice]:
    return tuple(
        slice(max(0, int(p - reach)), min(length, int(p + reach) + 2)) for p, length in zip((y, x), shape, strict=True)
    )


def _box(labels: np.ndarray, ids: Sequence[int], margin: int = 1) -> tuple[slice, slice]:
    mask = np.logical_or.reduce([labels == n for n in ids])
    slices = []
    for axis, length in zip((1, 0), labels.shape, strict=True):
        there = np.flatnonzero(mask.any(axis=axis))
        slices.append(slice(max(0, there[0] - margin), min(length, there[-1] + 1 + margin)))
    return slices[0], slices[1]


def _one(c: Correction, verb: str) -> int:
    if len(c.ids) != 1:
        raise CorrectionError(f"Choose one crystal to {verb}.")
    return c.ids[0]


def _largest_first(pieces: np.ndarray, number: int, new: int) -> np.ndarray:
    """Pieces 1..n renamed: the largest gets `number`, the others `new`, `new` + 1, ... by size."""
    area = np.bincount(pieces.ravel())[1:]
    names = np.zeros(len(area) + 1, np.int32)
    names[1 + np.argsort(-area, kind="stable")] = [number, *range(new, new + len(area) - 1)]
    return names[pieces]


def evidence_in(evidence: Evidence, box: tuple[slice, slice]) -> list[np.ndarray]:
    """Each scale's flow and foreground, float32 (3, h, w), brought to the image's resolution within `box`."""
    height, width = evidence.pixels.shape[:2]
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    maps = []
    for scale in evidence.scales:
        sy, sx = (part / full for part, full in zip(scale.foreground.shape, (height, width), strict=True))
        # the scale's coordinate of a pixel of the box, both counted from pixel centres
        matrix = np.array(
            [[sx, 0, (box[1].start + 0.5) * sx - 0.5], [0, sy, (box[0].start + 0.5) * sy - 0.5]], np.float64
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        maps.append(
            np.stack(
                [
                    cv2.warpAffine(channel, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
                    for channel in (*scale.flow, scale.foreground)
                ]
            )
        )
    return maps


def ridges(evidence: Evidence, box: tuple[slice, slice]) -> np.ndarray:
    """Where boundaries probably run, float32 (h, w), 0 to about 3.

    The sum of the flow's divergence and 1 − foreground probability, means over scales, and the image's gradient.
    """
    gray = cv2.GaussianBlur(evidence.pixels[box].mean(axis=2).astype(np.float32), (0, 0), 1)
    edges = sobel(gray)
    total = edges / max(float(np.quantile(edges, 0.98)), 1.0)
    maps = evidence_in(evidence, box)
    for dy, dx, foreground in maps:
        if min(dy.shape) > 1:
            parting = np.gradient(dy, axis=0) + np.gradient(dx, axis=1)
            total = total + np.clip(parting, 0, 1) / len(maps)
        total = total + expit(-foreground) / len(maps)
    return total.astype(np.float32)


# --- actions: (labels, correction, evidence, next number) -> box and its new labels ----------------------------------


def _merge(labels, c, evidence, new):
    if len(c.ids) < 2:
        raise CorrectionError("Choose two or more crystals to merge.")
    box = _box(labels, c.ids, REACH + 2)
    part = labels[box]
    areas = {n: np.count_nonzero(part == n) for n in c.ids}
    name = max(areas, key=areas.get)
    union, waiting = part == name, set(c.ids) - {name}
    while waiting:
        away, to_union = _nearest(union)
        gap, nearest = min((away[part == n].min(), n) for n in waiting)
        if gap > REACH:
            raise CorrectionError(f"Crystal {nearest} does not lie against the others: nothing was merged.")
        other = part == nearest
        beyond, to_other = _nearest(other)
        # The line between the two belongs to the merged crystal: there they lie in opposite directions.
        opposite = (to_union * to_other).sum(axis=0) < -0.5 * away * beyond
        union |= other | ((part == 0) & (np.maximum(away, beyond) <= gap + 3) & opposite)
        waiting.remove(nearest)
    union |= ndimage.binary_fill_holes(union) & (part == 0)
    # what the bridge left in corners, apart from the crystal
    pieces = connected_label(union, connectivity=1)
    main = pieces == pieces[part == name][0]
    if any((part[~main] == n).any() for n in c.ids):
        raise CorrectionError("Another crystal lies between these: nothing was merged.")
    return box, np.where(main, name, part)


def _nearest(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (h, w) and way (2, h, w) from each pixel to the mask."""
    away, place = ndimage.distance_transform_edt(~mask, return_indices=True)
    return away, place - np.indices(mask.shape)


def _split(labels, c, evidence, new):
    number = _one(c, "split")
    if len(c.points) < 2:
        raise CorrectionError("Click once in each of the pieces.")
    box = _box(labels, c.ids)
    mask = labels[box] == number
    ys, xs = np.nonzero(mask)
    markers = np.zeros(mask.shape, np.int32)
    for k, (y, x) in enumerate(c.points, start=1):
        away = np.hypot(ys + box[0].start - y, xs + box[1].start - x)
        nearest = away.argmin()
        if away[nearest] > REACH or markers[ys[nearest], xs[nearest]]:
            raise CorrectionError(f"Click at different places inside crystal {number}.")
        markers[ys[nearest], xs[nearest]] = k
    pieces = watershed(ridges(evidence, box), markers, connectivity=1, mask=mask)
    return box, np.where(mask, _largest_first(pieces, number, new), labels[box])


def _cut(labels, c, evidence, new):
    number = _one(c, "cut")
    if len(c.points) < 2:
        raise CorrectionError("Draw a line across the crystal.")
    box = _box(labels, c.ids)
    mask = labels[box] == number
    line = np.array(c.points) - (box[0].start, box[1].start)
    pieces = _parted(mask, line)
    if pieces.max() < 2:
        # A hand that stops short of the edge means the edge.
        reach = 0.2 * np.hypot(*mask.shape)
        first, last = _direction(line[0] - line[1]), _direction(line[-1] - line[-2])
        pieces = _parted(mask, np.vstack((line[0] + reach * first, line, line[-1] + reach * last)))
    if pieces.max() < 2:
        raise CorrectionError(f"The line does not cross crystal {number} from side to side.")
    pieces = watershed(np.zeros(mask.shape, np.uint8), pieces, connectivity=1, mask=mask)
    return box, np.where(mask, _largest_first(pieces, number, new), labels[box])


def _direction(step: np.ndarray) -> np.ndarray:
    return step / max(float(np.hypot(*step)), 1e-9)


def _parted(mask: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The pieces of at least LEAST px² that a line (k, 2), (y, x), leaves of the mask: 1..n."""
    drawn = np.zeros(mask.shape, np.uint8)
    cv2.polylines(drawn, [np.round(line[:, ::-1]).astype(np.int32)], False, 1)
    pieces = connected_label(mask & (drawn == 0), connectivity=1)
    area = np.bincount(pieces.ravel())
    kept = area >= LEAST
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[pieces]


def _delete(labels, c, evidence, new):
    if not c.ids:
        raise CorrectionError("Choose a crystal to delete.")
    box = _box(labels, c.ids, 0)
    return box, np.where(np.isin(labels[box], c.ids), 0, labels[box])


def _add(labels, c, evidence, new):
    if not c.points:
        raise CorrectionError("Click inside the crystal that is missing.")
    y, x = (min(max(round(v), 0), length - 1) for v, length in zip(c.points[0], labels.shape, strict=True))
    if labels[y, x]:
        raise CorrectionError(f"Crystal {labels[y, x]} lies there already: split or redraw it.")
    found = _proposed(labels, y, x, evidence) or _grown(labels, y, x, evidence)
    box, mask = found
    # only what is free, and of that the piece that was clicked
    pieces = connected_label(mask & (labels[box] == 0), connectivity=1)
    piece = pieces[y - box[0].start, x - box[1].start]
    if not piece or np.count_nonzero(pieces == piece) < LEAST:
        raise CorrectionError("Nothing that looks like a crystal lies there: draw its outline.")
    return box, np.where(pieces == piece, new, labels[box])


def _proposed(labels, y, x, evidence):
    """The best crystal at a pixel that a scale proposes, if need be with a lower foreground threshold."""
    best, score = None, 0.0
    for scale in evidence.scales:
        h, w = scale.foreground.shape
        sy, sx = int((y + 0.5) * h / labels.shape[0]), int((x + 0.5) * w / labels.shape[1])
        rows, columns = _around((h, w), sy, sx, TILE)
        part = replace(scale, flow=scale.flow[:, rows, columns], foreground=scale.foreground[rows, columns])
        for threshold in evidence.threshold + np.array((0.0, -2.0, -4.0)):
            found = labels_from_flows(part.flow, part.foreground, threshold, SMALLEST)
            number = found[sy - rows.start, sx - columns.start]
            if not number:
                continue
            mask = np.zeros((h, w), np.int32)
            mask[rows, columns] = found == number
            inside = ndimage.find_objects(mask)[0]
            if any(
                (b.start == edge.start > 0) or (b.stop == edge.stop < length)
                for b, edge, length in zip(inside, (rows, columns), (h, w), strict=True)
            ):
                continue  # it goes on beyond the window: no crystal for this scale
            top, left, grown = full_size(mask, 1, inside, labels.shape)
            free = np.count_nonzero(grown & (labels[top, left] == 0)) / max(np.count_nonzero(grown), 1)
            good = float(fit_quality((found == number).astype(np.int32), part)[0]) * free
            reaches = top.start <= y < top.stop and left.start <= x < left.stop and grown[y - top.start, x - left.start]
            if reaches and good > score:
                best, score = ((top, left), grown), good
            break
    return best


def _grown(labels, y, x, evidence):
    """What floods from a pixel before it meets other crystals or what floods from far away."""
    box = _around(labels.shape, y, x, GROWTH)
    part = labels[box]
    markers = np.where(part > 0, 2, 0)
    markers[[0, -1]] = markers[:, [0, -1]] = 2
    seed = (y - box[0].start, x - box[1].start)
    around = tuple(slice(max(0, p - 2), p + 3) for p in seed)
    markers[around][part[around] == 0] = 1
    return box, watershed(ridges(evidence, box), markers, connectivity=1) == 1


def _redraw(labels, c, evidence, new):
    if len(c.ids) > 1 or len(c.points) < 3:
        raise CorrectionError("Draw the outline of one crystal.")
    number = c.ids[0] if c.ids else new
    height, width = labels.shape
    ys, xs = np.clip(np.array(c.points).T, 0, [[height - 1], [width - 1]])
    rows, columns = slice(int(ys.min()), int(ys.max()) + 2), slice(int(xs.min()), int(xs.max()) + 2)
    if c.ids:
        own = _box(labels, c.ids, 0)
        rows, columns = (
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip((rows, columns), own, strict=True)
        )
    part = labels[rows, columns]
    drawn = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(drawn, [np.round(np.stack((xs - columns.start, ys - rows.start), axis=1)).astype(np.int32)], 1)
    # Other crystals keep what is theirs.
    pieces = connected_label((drawn > 0) & ((part == 0) | (part == number)), connectivity=1)
    area = np.bincount(pieces.ravel())[1:]
    if not len(area) or area.max() < LEAST:
        raise CorrectionError("The outline holds no free ground: nothing was drawn.")
    return (rows, columns), np.where(pieces == 1 + area.argmax(), number, np.where(part == number, 0, part)).astype(
        np.int32
    )


def _keep(labels, c, evidence, new):
    if not c.ids:
        raise CorrectionError("Choose a crystal first.")
    box = _box(labels, c.ids, 0)
    return box, labels[box].copy()


_ACTIONS = {
    "merge": _merge, "split": _split, "cut": _cut, "delete": _delete, "add": _add, "redraw": _redraw,
    "mark": _keep, "accept": _keep,
}  # fmt: skip
