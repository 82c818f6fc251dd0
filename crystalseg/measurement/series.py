"""A series of frames: mean size and number against time, each crystal's growth curve, and the law they follow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.measurement.growth import GrowthError, GrowthLaw, fit, with_tracks
from crystalseg.measurement.tracks import Tracks

ISOTHERMAL = 10.0  # K between the hottest and the coldest frame, at most: a law holds at one temperature


@dataclass(frozen=True)
class Series:
    """frames: a row a frame: frame (0, 1, …), image, run, seconds, celsius, counted, found, mean, low and high (its
    95 % interval), in `unit`, um_per_px; tracks: of the crystals; law: of the mean sizes, or None for the reason
    `why`."""

    frames: pd.DataFrame
    tracks: Tracks
    unit: str
    law: GrowthLaw | None
    why: str

    @property
    def curves(self) -> pd.DataFrame:
        """Each crystal's growth: track, frame, seconds, celsius, diameter in the unit, id."""
        table = self.tracks.crystals.merge(self.frames[["frame", "seconds", "celsius", "um_per_px"]], on="frame")
        scale = table["um_per_px"] if self.unit == "µm" else 1.0
        table[f"diameter_{'um' if self.unit == 'µm' else 'px'}"] = equivalent_diameter(table["area_px2"]) * scale
        return table.drop(columns=["area_px2", "um_per_px"]).sort_values(["track", "frame"], ignore_index=True)

    @property
    def lengths(self) -> pd.Series:
        """How many frames each track has, by track."""
        return self.tracks.crystals.groupby("track").size()


def series(frames: pd.DataFrame, tracks: Tracks, exponent: float | None = None) -> Series:
    """The series of `frames`, see there; sizes are in µm if all have a pixel size. exponent: n, if it is known."""
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
    """Times, mean sizes, and their standard uncertainties if all have one, of frames at one temperature."""
    if frames["seconds"].isna().any():
        raise GrowthError("A growth law needs the time of every frame: give them in the table of times.")
    heat = frames["celsius"].dropna()
    if len(heat) and heat.max() - heat.min() > ISOTHERMAL:
        raise GrowthError(
            f"The temperature runs from {heat.min():g} to {heat.max():g} °C: a growth law holds at one temperature. "
            "Measure a series at each, and take the activation energy from them."
        )
    spread = ((frames["high"] - frames["low"]) / (2 * 1.96)).to_numpy()
    known = np.isfinite(spread).all() and (spread > 0).all()
    return frames["seconds"].to_list(), frames["mean"].to_list(), spread.tolist() if known else None


def _diameters(frames: pd.DataFrame, tracks: Tracks, unit: str) -> np.ndarray:
    """Of each track in each frame, float (tracks, frames), NaN where it is not seen."""
    rows = tracks.crystals.assign(size=equivalent_diameter(tracks.crystals["area_px2"]))
    table = rows.pivot_table(index="track", columns="frame", values="size").reindex(columns=frames["frame"])
    scales = frames["um_per_px"].to_numpy(float) if unit == "µm" else 1.0
    return table.to_numpy(float) * scales


def events_of(tracks: Tracks, frames: int) -> pd.DataFrame:
    """How many crystals began and ended, a row a frame, by what happened."""
    kinds = ("birth", "split", "merge", "disappearance")
    counted = tracks.events.groupby(["frame", "event"]).size().unstack(fill_value=0) if len(tracks.events) else None
    table = pd.DataFrame(0, index=range(frames), columns=list(kinds))
    if counted is not None:
        table.update(counted)
    return table.astype(int).rename_axis("frame").reset_index()


def law_words(law: GrowthLaw) -> str:
    """The law in a sentence."""
    given = math.isclose(law.exponent_low, law.exponent_high)
    interval = "given" if given else f"95 %: {law.exponent_low:.2f} to {law.exponent_high:.2f}"
    told = ""
    if not given and not law.is_told:
        told = (
            f"No law can be told from these frames: n from {law.exponent_low:.2f} to {law.exponent_high:.2f} fits them "
            "(95 %). More crystals, or longer growth, tell more. The best is "
        )
    return (
        f"{told}dⁿ − d₀ⁿ = K·t with n = {law.exponent:.2f} ({interval}), K = {law.rate:.3g} {law.unit}ⁿ/s (95 % at "
        f"that n: {law.rate_low:.3g} to {law.rate_high:.3g}), d₀ = {law.initial:.4g} {law.unit}; the mean sizes lie "
        f"{law.spread:.2g} {law.unit} about it (standard deviation)."
    )
