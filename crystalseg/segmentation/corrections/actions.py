"""The effect of corrections on labels: merge, split, cut, delete, add, redraw."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_label
from skimage.segmentation import watershed

from crystalseg.micrographs.labels import areas, bounding_box, keep_labels, renumbered
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.corrections.evidence import Evidence, ridges
from crystalseg.segmentation.flows import labels_from_flows
from crystalseg.segmentation.proposals import SMALLEST, fit_quality, flow_fit
from crystalseg.segmentation.selection import full_size
from crystalseg.segmentation.tiling import TILE

# px; crystals farther apart are not halves of one crystal, and a click farther from a line does not mean that line.
REACH = 12
LEAST = 8  # px²; smaller pieces of a cut go to their neighbour
GROWTH = 128  # px; largest reach from the click of an added crystal that no scale proposes

Box = tuple[slice, slice]
Changed = tuple[Box, np.ndarray]  # a box, and the new labels (or a mask) in it


def line_between(labels: np.ndarray, y: float, x: float) -> tuple[int, int]:
    """Return the two crystals on both sides of a clicked line: the two nearest, within REACH px of the click."""
    rows, columns = _around(labels.shape, y, x, REACH)
    part = labels[rows, columns]
    dy, dx = np.ogrid[: part.shape[0], : part.shape[1]]
    away = np.hypot(dy + rows.start - y, dx + columns.start - x)
    nearest = sorted((away[part == n].min(), n) for n in numbers_in(part))
    if len(nearest) < 2 or nearest[1][0] > REACH:
        raise CorrectionError("Click on the line between the two halves of a crystal.")
    return int(nearest[0][1]), int(nearest[1][1])


def numbers_in(labels: np.ndarray) -> set[int]:
    return set(np.unique(labels).tolist()) - {0}


def differing(one: np.ndarray, other: np.ndarray) -> set[int]:
    where = one != other
    return numbers_in(one[where]) | numbers_in(other[where])


def present(labels: np.ndarray, ids: Sequence[int]) -> set[int]:
    return {n for n in ids if n > 0 and (labels == n).any()}


def _around(shape: tuple[int, int], y: float, x: float, reach: float) -> Box:
    rows, columns = (
        slice(max(0, int(p - reach)), min(length, int(p + reach) + 2)) for p, length in zip((y, x), shape, strict=True)
    )
    return rows, columns


def _box(labels: np.ndarray, ids: Sequence[int], margin: int = 1) -> Box:
    return bounding_box(np.logical_or.reduce([labels == n for n in ids]), margin)


def _one(c: Correction, verb: str) -> int:
    if len(c.ids) != 1:
        raise CorrectionError(f"Choose one crystal to {verb}.")
    return c.ids[0]


def _largest_first(pieces: np.ndarray, number: int, new: int) -> np.ndarray:
    """Relabel pieces 1..n: the largest gets `number`, the others `new`, `new` + 1, ... by size."""
    area = areas(pieces)[1:]
    names = np.empty(len(area), np.int32)
    names[np.argsort(-area, kind="stable")] = [number, *range(new, new + len(area) - 1)]
    return renumbered(pieces, names)


def _merge(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
    if len(c.ids) < 2:
        raise CorrectionError("Choose two or more crystals to merge.")
    box = _box(labels, c.ids, REACH + 2)
    part = labels[box]
    areas = {n: np.count_nonzero(part == n) for n in c.ids}
    name = max(areas, key=lambda n: areas[n])
    union, waiting = part == name, set(c.ids) - {name}
    while waiting:
        away, to_union = _nearest(union)
        gap, nearest = min((away[part == n].min(), n) for n in waiting)
        if gap > REACH:
            raise CorrectionError(f"Crystal {nearest} does not touch the others. Nothing was merged.")
        other = part == nearest
        beyond, to_other = _nearest(other)
        # The line between the two belongs to the merged crystal. On it the directions to them are opposite.
        opposite = (to_union * to_other).sum(axis=0) < -0.5 * away * beyond
        union |= other | ((part == 0) & (np.maximum(away, beyond) <= gap + 3) & opposite)
        waiting.remove(nearest)
    union |= ndimage.binary_fill_holes(union) & (part == 0)
    # pieces that the bridge left in corners, separate from the crystal
    pieces = connected_label(union, connectivity=1)
    main = pieces == pieces[part == name][0]
    if any((part[~main] == n).any() for n in c.ids):
        raise CorrectionError("Another crystal lies between these. Nothing was merged.")
    return box, np.where(main, name, part)


def _nearest(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distance (h, w) and vector (2, h, w) from each pixel to the mask."""
    away, place = ndimage.distance_transform_edt(~mask, return_indices=True)
    return away, place - np.indices(mask.shape)


def _split(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
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


def _cut(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
    number = _one(c, "cut")
    if len(c.points) < 2:
        raise CorrectionError("Draw a line across the crystal.")
    box = _box(labels, c.ids)
    mask = labels[box] == number
    line = np.array(c.points) - (box[0].start, box[1].start)
    pieces = _parted(mask, line)
    if pieces.max() < 2:
        # A hand-drawn line that stops just short of the edge is extended to it.
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
    """Return the pieces of at least LEAST px² into which a line (k, 2), (y, x), divides the mask: 1..n."""
    drawn = np.zeros(mask.shape, np.uint8)
    cv2.polylines(drawn, [np.round(line[:, ::-1]).astype(np.int32)], False, 1)
    pieces = connected_label(mask & (drawn == 0), connectivity=1)
    return keep_labels(pieces, areas(pieces)[1:] >= LEAST)


def _delete(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
    if not c.ids:
        raise CorrectionError("Choose a crystal to delete.")
    box = _box(labels, c.ids, 0)
    return box, np.where(np.isin(labels[box], c.ids), 0, labels[box])


def _add(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
    if not c.points:
        raise CorrectionError("Click inside the crystal that is missing.")
    y, x = (min(max(round(v), 0), length - 1) for v, length in zip(c.points[0], labels.shape, strict=True))
    if labels[y, x]:
        raise CorrectionError(f"Crystal {labels[y, x]} is already there. Split or redraw it.")
    proposal = _proposed(labels, y, x, evidence) or _grown(labels, y, x, evidence)
    box, mask = proposal
    # only free pixels, and only the piece that was clicked
    pieces = connected_label(mask & (labels[box] == 0), connectivity=1)
    piece = pieces[y - box[0].start, x - box[1].start]
    if not piece or np.count_nonzero(pieces == piece) < LEAST:
        raise CorrectionError("Nothing there looks like a crystal. Draw its outline.")
    return box, np.where(pieces == piece, new, labels[box])


def _proposed(labels: np.ndarray, y: int, x: int, evidence: Evidence) -> Changed | None:
    """Return the best crystal at a pixel that a scale proposes, if necessary with a lower foreground threshold."""
    best, score = None, 0.0
    for scale in evidence.scales:
        h, w = scale.foreground.shape
        sy, sx = int((y + 0.5) * h / labels.shape[0]), int((x + 0.5) * w / labels.shape[1])
        rows, columns = _around((h, w), sy, sx, TILE)
        part = replace(scale, flow=scale.flow[:, rows, columns], foreground=scale.foreground[rows, columns])
        for threshold in evidence.threshold + np.array((0.0, -2.0, -4.0)):
            traced = labels_from_flows(part.flow, part.foreground, threshold, SMALLEST)
            number = traced[sy - rows.start, sx - columns.start]
            if not number:
                continue
            own = ndimage.find_objects((traced == number).astype(np.int32))[0]
            mask = traced[own] == number
            inside = [slice(o.start + e.start, o.stop + e.start) for o, e in zip(own, (rows, columns), strict=True)]
            if any(
                (b.start == edge.start > 0) or (b.stop == edge.stop < length)
                for b, edge, length in zip(inside, (rows, columns), (h, w), strict=True)
            ):
                continue  # it extends beyond the window, so this scale proposes no crystal
            box = [edge.start for edge in inside] + [edge.stop for edge in inside]
            top, left, grown = full_size(mask, box, (h, w), labels.shape)
            free = np.count_nonzero(grown & (labels[top, left] == 0)) / max(int(np.count_nonzero(grown)), 1)
            shape = (traced == number).astype(np.int32)
            good = float(fit_quality(shape, part, flow_fit(shape, part))[0]) * free
            reaches = top.start <= y < top.stop and left.start <= x < left.stop and grown[y - top.start, x - left.start]
            if reaches and good > score:
                best, score = ((top, left), grown), good
            break
    return best


def _grown(labels: np.ndarray, y: int, x: int, evidence: Evidence) -> Changed:
    """Flood from a pixel until other crystals, or the flood from far away, are met. Returns the flooded region."""
    box = _around(labels.shape, y, x, GROWTH)
    part = labels[box]
    markers = np.where(part > 0, 2, 0)
    markers[[0, -1]] = markers[:, [0, -1]] = 2
    seed = (y - box[0].start, x - box[1].start)
    around = tuple(slice(max(0, p - 2), p + 3) for p in seed)
    markers[around][part[around] == 0] = 1
    return box, watershed(ridges(evidence, box), markers, connectivity=1) == 1


def _redraw(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
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
    # Other crystals keep their pixels.
    pieces = connected_label((drawn > 0) & ((part == 0) | (part == number)), connectivity=1)
    area = areas(pieces)[1:]
    if not len(area) or area.max() < LEAST:
        raise CorrectionError("The outline holds no free ground. Nothing was drawn.")
    return (rows, columns), np.where(pieces == 1 + area.argmax(), number, np.where(part == number, 0, part)).astype(
        np.int32
    )


def _keep(labels: np.ndarray, c: Correction, evidence: Evidence, new: int) -> Changed:
    if not c.ids:
        raise CorrectionError("Choose a crystal first.")
    box = _box(labels, c.ids, 0)
    return box, labels[box].copy()


ACTIONS = {
    "merge": _merge,
    "split": _split,
    "cut": _cut,
    "delete": _delete,
    "add": _add,
    "redraw": _redraw,
    "mark": _keep,
    "accept": _keep,
}
