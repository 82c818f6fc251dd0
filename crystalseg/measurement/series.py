"""Describe a series of frames over time.

It comprises mean size and number against time, the growth curve of each crystal, and the law that the sizes follow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.measurement.growth import GrowthError, GrowthLaw, fit, with_tracks
from crystalseg.measurement.tracks import Tracks

ISOTHERMAL = 10.0  # K, greatest difference between the hottest and the coldest frame; a law holds at one temperature


@dataclass(frozen=True)
class Series:
    """A series of frames.

    `frames` has one row per frame: frame (0, 1, …), image, run, seconds, celsius, counted, found, mean, low and high
    (the ends of its 95 % interval), all sizes in `unit`, and um_per_px. `tracks` holds the tracks of the crystals.
    `law` is the law of the mean sizes, or None, in which case `why` gives the reason.
    """

    frames: pd.DataFrame
    tracks: Tracks
    unit: str
    law: GrowthLaw | None
    why: str

    @property
    def curves(self) -> pd.DataFrame:
        """Return the growth of each crystal: track, frame, seconds, celsius, diameter in the unit, id."""
        table = self.tracks.crystals.merge(self.frames[["frame", "seconds", "celsius", "um_per_px"]], on="frame")
        scale = table["um_per_px"] if self.unit == "µm" else 1.0
        table[f"diameter_{'um' if self.unit == 'µm' else 'px'}"] = equivalent_diameter(table["area_px2"]) * scale
        return table.drop(columns=["area_px2", "um_per_px"]).sort_values(["track", "frame"], ignore_index=True)

    @property
    def lengths(self) -> pd.Series:
        """Return the number of frames of each track, by track."""
        return self.tracks.crystals.groupby("track").size()


def series(frames: pd.DataFrame, tracks: Tracks, exponent: float | None = None) -> Series:
    """Return the series of `frames`; for the columns see `Series`.

    Sizes are in µm if all frames have a pixel size. `exponent` is n, if it is known.
    """
    scales = frames["um_per_px"]
    unit = "µm" if scales.notna().all() else "px"
    law, why = None, ""
    try:
        times, sizes, spread = _seen(frames)
        law = with_tracks(fit(times, sizes, spread, exponent, unit), times, sizes, _diameters(frames, tracks, unit))
    except GrowthError as error:
        why = str(error)
    return Series(frames, tracks, unit, law, why)


def _seen(frames: pd.DataFrame) -> tuple[Sequence[float], Sequence[float], Sequence[float] | None]:
    """Return the times, the mean sizes, and their standard uncertainties if all have one, of frames at one temperature.

    Raise GrowthError if a time is missing, or if the temperatures differ by more than ISOTHERMAL.
    """
    if frames["seconds"].isna().any():
        raise GrowthError("A growth law needs the time of every frame. Give the times in the table of times.")
    heat = frames["celsius"].dropna()
    if len(heat) and heat.max() - heat.min() > ISOTHERMAL:
        raise GrowthError(
            f"The temperature ranges from {heat.min():g} to {heat.max():g} °C, but a growth law holds at one "
            "temperature. Measure one series at each temperature, and compute the activation energy from them."
        )
    spread = ((frames["high"] - frames["low"]) / (2 * 1.96)).to_numpy()
    known = np.isfinite(spread).all() and (spread > 0).all()
    return frames["seconds"].to_list(), frames["mean"].to_list(), spread.tolist() if known else None


def _diameters(frames: pd.DataFrame, tracks: Tracks, unit: str) -> np.ndarray:
    """Return the diameter of each track in each frame, float (tracks, frames), NaN where it is not seen."""
    rows = tracks.crystals.assign(size=equivalent_diameter(tracks.crystals["area_px2"]))
    table = rows.pivot_table(index="track", columns="frame", values="size").reindex(columns=frames["frame"])
    scales = frames["um_per_px"].to_numpy(float) if unit == "µm" else 1.0
    return table.to_numpy(float) * scales


def events_of(tracks: Tracks, frames: int) -> pd.DataFrame:
    """Count how many crystals began and ended, one row per frame, one column per event."""
    kinds = ("birth", "split", "merge", "disappearance")
    counted = tracks.events.groupby(["frame", "event"]).size().unstack(fill_value=0) if len(tracks.events) else None
    table = pd.DataFrame(0, index=range(frames), columns=list(kinds))
    if counted is not None:
        table.update(counted)
    return table.astype(int).rename_axis("frame").reset_index()


def law_words(law: GrowthLaw) -> str:
    """Describe the law in words."""
    given = math.isclose(law.exponent_low, law.exponent_high)
    interval = "given" if given else f"95 %: {law.exponent_low:.2f} to {law.exponent_high:.2f}"
    told = ""
    if not given and not law.is_told:
        told = (
            f"These frames do not determine a law: any n from {law.exponent_low:.2f} to {law.exponent_high:.2f} fits "
            "(95 %). Measure more crystals, or longer growth. The best fit is "
        )
    return (
        f"{told}dⁿ − d₀ⁿ = K·t with n = {law.exponent:.2f} ({interval}), K = {law.rate:.3g} {law.unit}ⁿ/s (95 % at "
        f"that n: {law.rate_low:.3g} to {law.rate_high:.3g}), d₀ = {law.initial:.4g} {law.unit}; the mean sizes "
        f"scatter by {law.spread:.2g} {law.unit} about it (standard deviation)."
    )
