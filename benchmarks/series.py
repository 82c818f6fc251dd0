"""How well crystals are followed through frames, against plain nearest-centroid linking.

    python -m benchmarks.series [--seed 0] [--predicted]

Synthetic series with exact tracks: grains moved by curvature, and particles that ripen. TRA (Matula et al. 2015) and
HOTA (Luiten et al. 2021) by py-ctcmetrics on the true labels, and with --predicted on what SiMA+ finds in pictures of
them. The exponent of the growth law comes from the same labels; the theories give 2 and 3.
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from ctc_metrics.scripts.evaluate import evaluate_sequence
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from crystalseg.measurement.diameter import diameters
from crystalseg.measurement.growth import GrowthError, fit
from crystalseg.measurement.tracks import link
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.models import load_models
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.growth import GrowthSeries, curvature_growth, pictures, ripening


def nearest(labels: list[np.ndarray]) -> pd.DataFrame:
    """Tracks by the middles alone: each crystal goes on as the nearest of the next frame, one to one, within its own
    diameter."""
    rows, tracks, before, count = [], np.zeros(0, int), np.zeros((0, 2)), 0
    reach = np.zeros(0)
    for k, frame in enumerate(labels):
        areas = np.bincount(frame.ravel())
        ids = np.flatnonzero(areas[1:]) + 1
        middles = np.array(ndimage.center_of_mass(frame > 0, frame, ids)).reshape(-1, 2)
        own = np.zeros(len(ids), int)
        if len(before) and len(ids):
            away = np.linalg.norm(before[:, None] - middles[None], axis=2)
            cost = np.where(away < reach[:, None], away, 1e6)
            for i, j in zip(*linear_sum_assignment(cost), strict=True):
                if cost[i, j] < 1e6:
                    own[j] = tracks[i]
        for j in np.flatnonzero(own == 0):
            count += 1
            own[j] = count
        rows += [(k, i, t) for i, t in zip(ids, own, strict=True)]
        tracks, before, reach = own, middles, 2 * np.sqrt(areas[ids] / np.pi)
    return pd.DataFrame(rows, columns=["frame", "id", "track"])


def write(folder: Path, name: str, labels: list[np.ndarray], crystals: pd.DataFrame, truth: bool) -> Path:
    """A series as the Cell Tracking Challenge lays it out: masks numbered by track, and the span of each."""
    place = folder / (f"{name}_GT" if truth else f"{name}_RES")
    masks = place / "TRA" if truth else place
    masks.mkdir(parents=True)
    # a track ends where it is not seen in a frame
    crystals = crystals.sort_values(["track", "frame"])
    breaks = (crystals["track"].diff() != 0) | (crystals["frame"].diff() != 1)
    crystals = crystals.assign(part=breaks.cumsum())
    for k, frame in enumerate(labels):
        rows = crystals[crystals["frame"] == k]
        number = np.zeros(int(frame.max(initial=0)) + 1, np.uint16)
        number[rows["id"]] = rows["part"]
        mask = number[frame]
        mask[0, 0] = 0  # py-ctcmetrics takes the least number in a mask for the ground, also where there is none
        tifffile.imwrite(masks / (f"man_track{k:03d}.tif" if truth else f"mask{k:03d}.tif"), mask)
    spans = crystals.groupby("part").agg(begin=("frame", "min"), end=("frame", "max"), track=("track", "first"))
    lines, last = [], {}
    for part, begin, end, track in spans.itertuples():
        lines.append(f"{part} {begin} {end} {last.get(track, 0)}")
        last[track] = part
    (masks / ("man_track.txt" if truth else "res_track.txt")).write_text("\n".join(lines) + "\n")
    return place


def scored(true: GrowthSeries, labels: list[np.ndarray], crystals: pd.DataFrame) -> dict[str, float]:
    """TRA and HOTA of tracks through labels."""
    rows = [(k, i, i) for k, frame in enumerate(true.labels) for i in np.unique(frame[frame > 0])]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        truth = write(Path(folder), "01", list(true.labels), pd.DataFrame(rows, columns=["frame", "id", "track"]), True)
        found = write(Path(folder), "01", labels, crystals, False)
        figures = evaluate_sequence(str(found), str(truth), ["Valid", "TRA", "HOTA"], threads=1)
    return {name: float(figures[name]) for name in ("TRA", "HOTA")}


def exponent(seconds: np.ndarray, labels: list[np.ndarray]) -> str:
    """n of the growth law of the mean sizes, with its interval."""
    try:
        law = fit(seconds, [diameters(frame).mean() for frame in labels], unit="px")
    except GrowthError as error:
        return str(error)
    return f"{law.exponent:.2f} ({law.exponent_low:.2f} to {law.exponent_high:.2f})"


def table(seed: int, predicted: bool) -> pd.DataFrame:
    """A row for each series, labels and way of linking."""
    made = {
        "grains, curvature": curvature_growth(seed, 512, 1500, 12, steps=2, sigma=6, before=6),
        "particles, ripening": ripening(seed, 700, 400, 10, radius=8),
    }
    models, rows = load_models(device="cpu") if predicted else None, []
    for name, series in made.items():
        given = {"true": list(series.labels)}
        if predicted:
            given["predicted"] = [
                segment(Micrograph(pixels, name, ""), Settings(), models).labels for pixels in pictures(series, seed)
            ]
        for which, labels in given.items():
            for way in ("nearest centroid", "overlap and centroid"):
                began = time.perf_counter()
                crystals = nearest(labels) if way.startswith("nearest") else link(labels).crystals
                seconds = time.perf_counter() - began
                rows.append(
                    {"series": name, "labels": which, "linked by": way}
                    | scored(series, labels, crystals)
                    | {"n": exponent(series.seconds, labels), "s a frame": seconds / len(labels)}
                )
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predicted", action="store_true")
    given = parser.parse_args()
    print(table(given.seed, given.predicted).to_string(index=False, float_format="%.3f"))


if __name__ == "__main__":
    main()
