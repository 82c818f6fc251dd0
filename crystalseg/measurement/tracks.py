"""Track crystals from frame to frame, by the overlap of their labels and the distance between their centroids.

laptrack makes the assignment (linear assignment after Jaqaman et al. 2008, Nature Methods 5, 695): from frame to frame
first, then gaps, splits and merges of the tracks that begin or end. The costs are our own, made for crystals that grow
in place.
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

CUTOFF = 1.5  # highest cost at which two crystals may be the same: half a mean diameter apart if they do not overlap
GAP = 0.7  # highest cost at which a crystal that was not seen in one frame is the same afterwards
HELD = 0.8  # least share of a crystal that lies in the one it split from or merged into
GROWN = 0.8  # least share of its area by which the other shrinks or grows; with less, one merely ate the other
STEADY = 0.7  # least ratio to its area one frame further on; with less, it was dwindling away or newly born
IMPOSSIBLE = 10.0


@dataclass(frozen=True)
class Tracks:
    """The tracks of a series.

    `crystals` has one row per crystal and frame: frame (0, 1, …), id (its label there), track (1, 2, …), area_px2.
    `events` has one row for each beginning and end of a track that the first and last frame do not explain: frame,
    event (`birth`, `split`, `disappearance`, `merge`), track, and other (the track it split from or merged into, 0 for
    none).
    """

    crystals: pd.DataFrame
    events: pd.DataFrame


def link(labels: Sequence[np.ndarray], shifts: np.ndarray | None = None) -> Tracks:
    """Track the crystals of label images int32 (H, W), one per frame, in order of time.

    `shifts` (n, 2) is how far the content of each frame lies from that of the first, px (dy, dx), as
    `micrographs.drift` finds it. Raise UserError for fewer than two frames or for frames of different sizes.
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
        "gap_closing_max_frame_count": 2,  # from the last sighting to the next, so one frame may lie between
        "splitting_metric": frames.parting,
        "splitting_cutoff": 1.0,
        "merging_metric": frames.parting,
        "merging_cutoff": 1.0,
        # cost of a crystal that begins or ends, the same whatever else is in the frames
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
    """Return tracks that continue through splits and merges as the largest crystal involved.

    The tracks of laptrack end there. `splits` and `merges` are (n, 2), parent and child.
    """
    crystals = crystals.sort_values(["track", "frame"])
    first, last = (crystals.groupby("track")["area_px2"].agg(which) for which in ("first", "last"))
    same: list[tuple[int, int]] = []  # pairs of tracks that are one
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
    """The costs between the crystals of frames.

    `table` has one row per crystal: frame, row (its place in the frame), id, area_px2.
    """

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
        """Return 1 − IoU of two crystals that overlap, else 1 + their distance in mean diameters.

        Each crystal is (frame, row), and the earlier one comes first.
        """
        if self._pair != (one[0], other[0]):  # laptrack asks for each pair of crystals of two frames, one by one
            self._pair = one[0], other[0]
            self._known = self._costs(int(one[0]), int(other[0]))
        return self._known[int(one[1]), int(other[1])]

    def parting(self, end: np.ndarray, other: np.ndarray) -> float:
        """Return 1 − the share of crystal `end` that lies in crystal `other`.

        `other` is taken one frame before `end` begins or one frame after it ends. Return IMPOSSIBLE if too small a
        share lies in `other`, if `other` does not shrink or grow by enough of that crystal's area meanwhile, or if the
        crystal itself is dwindling or swelling.
        """
        (at, row), (there, place) = end.astype(int), other.astype(int)
        shared = self._towards(at, there)[row]
        area, size = self._areas[at][row], self._areas[there][place]
        if shared[place] < HELD * area:
            return IMPOSSIBLE
        # find the other crystal in the frame of this one: the one that overlaps it most, except this one
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
        """Return the pixels that the crystals of a frame share with those of a neighbouring frame, (n, m)."""
        return self._shared(at, there) if at < there else self._shared(there, at).T

    def _overlaps(self, first: int, second: int) -> np.ndarray:
        """Return the pixels that crystals of two frames share, (n, m), with the second frame moved onto the first."""
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
    """Return the parts of two frames that show the same content.

    The content of the second lies `shift` (dy, dx) px from that of the first.
    """
    cuts = []
    for length, by in zip(one.shape, shift.tolist(), strict=True):
        cuts.append((slice(max(0, -by), min(length, length - by)), slice(max(0, by), min(length, length + by))))
    (rows, moved_rows), (columns, moved_columns) = cuts
    return one[rows, columns], other[moved_rows, moved_columns]
