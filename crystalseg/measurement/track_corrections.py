"""Correct tracks by hand.

A track is cut where two crystals were taken for one, and two tracks are joined where one crystal was taken for two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from crystalseg.errors import UserError
from crystalseg.measurement.tracks import Tracks


@dataclass(frozen=True)
class TrackCorrection:
    """A correction of a track.

    `kind` is `cut` or `join`. With `cut`, the track is another crystal from crystal `id` of `frame` (0, 1, …) on. With
    `join`, that crystal is the same one as crystal `before_id` of the earlier frame `before`.
    """

    kind: str
    frame: int
    id: int
    before: int = 0
    before_id: int = 0

    @property
    def words(self) -> str:
        """Describe the correction in words, with frames counted from 1."""
        what = f"crystal {self.id} of frame {self.frame + 1}"
        if self.kind == "cut":
            return f"from {what} on, another crystal"
        return f"{what} is crystal {self.before_id} of frame {self.before + 1}"


def corrected(tracks: Tracks, corrections: Sequence[TrackCorrection]) -> Tracks:
    """Return the tracks after the corrections are made in their order.

    A new track gets a new number; of two joined tracks, the number of the earlier one is kept. Raise UserError, with a
    sentence for the user, for a correction that cannot be made.
    """
    for correction in corrections:
        tracks = _made(tracks, correction)
    return tracks


def _made(tracks: Tracks, correction: TrackCorrection) -> Tracks:
    crystals, events = tracks.crystals.copy(), tracks.events.copy()
    later = _track(tracks, correction.frame, correction.id)
    spans = crystals.groupby("track")["frame"].agg(["min", "max"])
    if correction.kind == "cut":
        if spans.loc[later, "min"] >= correction.frame:
            raise UserError(
                f"The track of crystal {correction.id} begins in frame {correction.frame + 1}. Cut it in a later frame."
            )
        new = int(crystals["track"].max()) + 1
        moved = (crystals["track"] == later) & (crystals["frame"] >= correction.frame)
        crystals.loc[moved, "track"] = new
        events.loc[(events["track"] == later) & (events["frame"] >= correction.frame), "track"] = new
        events.loc[(events["other"] == later) & (events["frame"] >= correction.frame), "other"] = new
        last = int(crystals.loc[crystals["track"] == later, "frame"].max())
        rows = [(last, "disappearance", later, 0), (correction.frame, "birth", new, 0)]
        events = pd.concat([events, pd.DataFrame(rows, columns=events.columns)])
    else:
        earlier = _track(tracks, correction.before, correction.before_id)
        if earlier == later or spans.loc[earlier, "max"] >= spans.loc[later, "min"]:
            raise UserError("Tracks can be joined only if one ends before the other begins. Cut one of them first.")
        ended = (events["track"] == earlier) & events["event"].isin(["disappearance", "merge"])
        begun = (events["track"] == later) & events["event"].isin(["birth", "split"])
        events = events[~(ended | begun)].replace({"track": later, "other": later}, earlier)
        crystals.loc[crystals["track"] == later, "track"] = earlier
    return Tracks(
        crystals.sort_values(["track", "frame"], ignore_index=True),
        events.sort_values(["frame", "track"], ignore_index=True),
    )


def _track(tracks: Tracks, frame: int, number: int) -> int:
    """Return the track of a crystal. Raise UserError if the frame has no such crystal."""
    rows = tracks.crystals
    found = rows.loc[(rows["frame"] == frame) & (rows["id"] == number), "track"]
    if found.empty:
        raise UserError(f"There is no crystal {number} in frame {frame + 1}.")
    return int(found.iloc[0])
