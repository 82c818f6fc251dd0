"""Crystals followed from frame to frame, by the overlap of their labels and the distance of their middles.

The assignment is laptrack's (linear assignment after Jaqaman et al. 2008, Nature Methods 5, 695): frame to frame first,
then gaps, splits and merges of what begins or ends. The costs are ours, made for crystals that grow in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from crystalseg.errors import UserError

CUTOFF = 1.5  # cost up to which two crystals may be the same: half a mean diameter apart, if they do not overlap
GAP = 0.7  # cost up to which a crystal that was not seen in one frame is the same afterwards
HELD = 0.8  # least share of a crystal that lies in the one it came from or went into
GROWN = 0.8  # least share of its area by which that one shrinks or grows meanwhile, else one only ate the other
STEADY = 0.7  # least share of its area one frame further away: what dwindles disappears, what swells was born
IMPOSSIBLE = 10.0


@dataclass(frozen=True)
class Tracks:
    """crystals: a row a crystal and frame: frame (0, 1, …), id (its label there), track (1, 2, …), area_px2. events: a
    row for each begin and end of a track that the first and last frame do not explain: frame, event (`birth`, `split`,
    `disappearance`, `merge`), track, and other, the track it split from or merged into, 0 for none."""

    crystals: pd.DataFrame
    events: pd.DataFrame


def link(labels: Sequence[np.ndarray], shifts: np.ndarray | None = None) -> Tracks:
    """Follow the crystals of label images int32 (H, W), one a frame, in order of time. shifts: (n, 2), how far each
    frame's content lies from the first's, px (dy, dx), as `micrographs.drift` finds it.

    UserError for fewer than two frames or frames of different size.
    """
    if len(labels) < 2:
        raise UserError("A series needs at least two frames.")
    if len({frame.shape for frame in labels}) > 1:
        raise UserError("All frames of a series must have the same size.")
    frames = _Frames(labels, np.zeros((len(labels), 2)) if shifts is None else shifts)
    if frames.table.empty:
        empty = np.zeros((0, 2), int)
        return _named(frames.table.assign(track=1)[["frame", "id", "track", "area_px2"]], len(labels), empty, empty)
    from laptrack import LapTrack

    choices: dict[str, Any] = {
        "metric": frames.cost,
        "cutoff": CUTOFF,
        "gap_closing_metric": frames.cost,
        "gap_closing_cutoff": GAP,
        "gap_closing_max_frame_count": 2,  # frames from the last seen to the next, so that one may lie between
        "splitting_metric": frames.parting,
        "splitting_cutoff": 1.0,
        "merging_metric": frames.parting,
        "merging_cutoff": 1.0,
        # what it costs that a crystal begins or ends: the same whatever else is in the frames
        "track_start_cost": CUTOFF,
        "track_end_cost": CUTOFF,
        "segment_start_cost": 1.0,
        "segment_end_cost": 1.0,
        "no_splitting_cost": 1.0,
        "no_merging_cost": 1.0,
    }
    found, splits, merges = LapTrack(**choices).predict_dataframe(
        frames.table, ["frame", "row"], frame_col="frame", only_coordinate_cols=False
    )
    crystals = pd.DataFrame(
        {
            "frame": found["frame"].to_numpy(),
            "id": found["id"].to_numpy(),
            "track": found["track_id"].to_numpy() + 1,
            "area_px2": found["area_px2"].to_numpy(),
        }
    )
    return _named(crystals, len(labels), *(table.to_numpy().reshape(-1, 2) + 1 for table in (splits, merges)))


def _named(crystals: pd.DataFrame, frames: int, splits: np.ndarray, merges: np.ndarray) -> Tracks:
    """Tracks that go on through splits and merges as the largest crystal in them; laptrack's end there. splits, merges:
    (n, 2), parent and child."""
    crystals = crystals.sort_values(["track", "frame"])
    first, last = (crystals.groupby("track")["area_px2"].agg(which) for which in ("first", "last"))
    same: list[tuple[int, int]] = []  # tracks that are one
    ends: dict[str, dict[int, int]] = {"split": {}, "merge": {}}
    for event, pairs, sizes in (("split", splits, first), ("merge", merges[:, ::-1], last)):
        for one in np.unique(pairs[:, 0]).tolist():
            others = pairs[pairs[:, 0] == one, 1].tolist()
            main = max(others, key=lambda track: (sizes[track], -track))
            same.append((one, main))
            ends[event] |= {other: one for other in others if other != main}
    count = int(crystals["track"].max()) + 1 if len(crystals) else 1
    rows, columns = np.array(same, int).reshape(-1, 2).T
    named = connected_components(csr_array((np.ones(len(rows)), (rows, columns)), (count, count)), directed=False)[1]
    by_end = {event: {named[track]: named[other] for track, other in of.items()} for event, of in ends.items()}
    crystals["track"] = named[crystals["track"]]
    crystals = crystals.sort_values(["track", "frame"], ignore_index=True)
    spans = crystals.groupby("track")["frame"].agg(["min", "max"])
    events = []
    for track, begin, end in spans.itertuples():
        if begin > 0:
            parent = by_end["split"].get(track, 0)
            events.append((begin, "split" if parent else "birth", track, parent))
        if end < frames - 1:
            into = by_end["merge"].get(track, 0)
            events.append((end, "merge" if into else "disappearance", track, into))
    table = pd.DataFrame(events, columns=["frame", "event", "track", "other"])
    return Tracks(crystals, table.sort_values(["frame", "track"], ignore_index=True))


class _Frames:
    """Costs between the crystals of frames. table: a row a crystal: frame, row (place in its frame), id, area_px2."""

    def __init__(self, labels: Sequence[np.ndarray], shifts: np.ndarray):
        self._labels = labels
        self._shifts = np.rint(shifts).astype(int)
        self._ids, self._areas, self._middles, tables = [], [], [], []
        for k, frame in enumerate(labels):
            counts = np.bincount(frame.ravel())
            ids = np.flatnonzero(counts[1:]) + 1
            middles = np.array(ndimage.center_of_mass(frame > 0, frame, ids)).reshape(-1, 2)
            self._ids.append(ids)
            self._areas.append(counts[ids].astype(float))
            self._middles.append(middles - shifts[k])
            rows = np.arange(len(ids))
            tables.append(pd.DataFrame({"frame": k, "row": rows, "id": ids, "area_px2": counts[ids]}))
        self.table = pd.concat(tables, ignore_index=True)
        self._shared = lru_cache(maxsize=8)(self._overlaps)
        self._pair, self._known = (-1.0, -1.0), np.zeros((0, 0), np.float32)

    def cost(self, one: np.ndarray, other: np.ndarray) -> float:
        """1 − IoU of two crystals that overlap, else 1 + their distance in mean diameters; (frame, row) each, the
        earlier first."""
        if self._pair != (one[0], other[0]):  # laptrack asks for all of two frames, one by one
            self._pair = one[0], other[0]
            self._known = self._costs(int(one[0]), int(other[0]))
        return self._known[int(one[1]), int(other[1])]

    def parting(self, end: np.ndarray, other: np.ndarray) -> float:
        """1 − the share of a crystal that lies in the other, one frame before it begins or after it ends, if the other
        shrinks or grows by enough of it meanwhile, and it is not dwindling or swelling itself."""
        (at, row), (there, place) = end.astype(int), other.astype(int)
        shared = self._towards(at, there)[row]
        area, size = self._areas[at][row], self._areas[there][place]
        if shared[place] < HELD * area:
            return IMPOSSIBLE
        # what the other one is in the frame of this one: what overlaps it most, this one left out
        across = self._towards(there, at)[place].copy()
        across[row] = 0
        before = self._areas[at][across.argmax()] if across.any() else 0.0
        if size - before < GROWN * area:
            return IMPOSSIBLE
        further = 2 * at - there
        if 0 <= further < len(self._areas):
            own = self._towards(at, further)[row]
            if own.any() and area < STEADY * self._areas[further][own.argmax()]:
                return IMPOSSIBLE
        return float(1 - shared[place] / area)

    def _towards(self, at: int, there: int) -> np.ndarray:
        """Pixels that the crystals of a frame share with those of a neighbouring one, (n, m)."""
        return self._shared(at, there) if at < there else self._shared(there, at).T

    def _overlaps(self, first: int, second: int) -> np.ndarray:
        """Shared pixels of the crystals of two frames, (n, m), the second moved back to where the first is."""
        one, other = _aligned(self._labels[first], self._labels[second], self._shifts[second] - self._shifts[first])
        both = (one > 0) & (other > 0)
        rows = np.searchsorted(self._ids[first], one[both])
        columns = np.searchsorted(self._ids[second], other[both])
        shape = len(self._ids[first]), len(self._ids[second])
        counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
        return counts.reshape(shape).astype(np.float32)

    def _costs(self, first: int, second: int) -> np.ndarray:
        shared = self._shared(first, second)
        one, other = self._areas[first][:, None], self._areas[second][None]
        away = np.linalg.norm(self._middles[first][:, None] - self._middles[second][None], axis=2)
        diameter = (np.sqrt(one) + np.sqrt(other)) / np.sqrt(np.pi)
        return np.where(shared > 0, 1 - shared / (one + other - shared), 1 + away / diameter)


def _aligned(one: np.ndarray, other: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two frames that show the same, the second's content lying `shift` (dy, dx) px from the first's."""
    cuts = []
    for length, by in zip(one.shape, shift.tolist(), strict=True):
        cuts.append((slice(max(0, -by), min(length, length - by)), slice(max(0, by), min(length, length + by))))
    (rows, moved_rows), (columns, moved_columns) = cuts
    return one[rows, columns], other[moved_rows, moved_columns]
