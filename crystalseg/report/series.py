"""A series as a report, a workbook and moving pictures."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from crystalseg.measurement.rounding import significant
from crystalseg.measurement.series import Series, events_of, law_words
from crystalseg.report.blocks import CHART_POINTS, Block, Chart, Facts, Heading, Pictures, Rows, Text
from crystalseg.report.charts import growth_chart
from crystalseg.report.fonts import FONT
from crystalseg.report.pdf import typeset
from crystalseg.report.workbook import workbook
from crystalseg.segmentation.colormap import colours_apart
from crystalseg.segmentation.overlay import boundaries, fit

SHOWN = 700  # px, longest side of a frame of the animation
EACH = 500  # ms; how long the animation shows a frame
STATEMENT = (
    "Each frame was measured alone. The drift between two frames is found by least squares on the slopes of the gray "
    "level, together with the growth of all crystals (after Lucas and Kanade 1981). Crystals of two frames are the "
    "same if their labels overlap most, or else if they lie near each other (linear assignment after Jaqaman et al. "
    "2008, by laptrack). A crystal merged into or split from another if most of it lies in that other one, which grew "
    "or shrank by as much. Otherwise it was born or it disappeared. Sizes are equivalent circular diameters of "
    "sections. The law is fitted to the mean sizes by least squares, weighted by their intervals. The interval of n "
    "comes from the profile likelihood (F limit, 95 %)."
)


def law_curve(series: Series) -> tuple[np.ndarray, np.ndarray] | None:
    """Return points (seconds, size) of the growth law over the time of the series, or None if there is no law."""
    if series.law is None:
        return None
    seconds = series.frames["seconds"].to_numpy()
    times = np.linspace(seconds.min(), seconds.max(), 100)
    return times, series.law.size(times - seconds.min())


@dataclass(frozen=True)
class Followed:
    """A series and the other contents of its files. method: the settings of all frames and the corrections by hand, in
    words; frame: function from a frame number, from 0, to pixels uint8 (H, W, 3) and labels int32 (H, W); line: the
    position of the kymograph's line, % from the top."""

    series: Series
    title: str
    method: Sequence[tuple[str, str]]
    frame: Callable[[int], tuple[np.ndarray, np.ndarray]]
    line: int = 50

    def shown(self, frame: int) -> np.ndarray:
        """Return a frame with its tracks, uint8 (H, W, 3)."""
        return tracked(*self.frame(frame), self.series, frame)


def build_series_pdf(followed: Followed) -> bytes:
    """Return the report of a series as PDF bytes."""
    series = followed.series
    frames = series.frames
    blocks: list[Block] = [Heading("Growth")]
    blocks.append(Text(law_words(series.law) if series.law else f"No growth law: {series.why}"))
    if frames["seconds"].notna().all() and frames["mean"].notna().any():
        sizes = frames[["mean", "low", "high"]].to_numpy().T
        size, times = (CHART_POINTS, 200.0), frames["seconds"].to_numpy()
        blocks.append(Chart(growth_chart(times, sizes, law_curve(series), series.unit, size, FONT)))
    events = events_of(series.tracks, len(frames)).drop(columns="frame")
    header = ["frame", "time, s", "°C", "counted", f"mean, {series.unit}", "95 % interval", *events.columns]
    rows = []
    for frame, of in zip(frames.itertuples(), events.itertuples(index=False), strict=True):
        interval = f"{significant(frame.low)} – {significant(frame.high)}" if np.isfinite(frame.low) else "–"
        numbers = (f"{value:g}" if np.isfinite(value) else "–" for value in (frame.seconds, frame.celsius))
        rows.append([frame.image, *numbers, str(frame.counted), significant(frame.mean), interval, *map(str, of)])
    shares = (0.15, 0.1, 0.06, 0.09, 0.11, 0.16, 0.06, 0.06, 0.07, 0.14)
    blocks += [Heading("Frames"), Rows(header, rows, shares)]
    names = (frames["image"].iloc[0], frames["image"].iloc[-1])
    ends = [followed.shown(k) for k in (0, len(frames) - 1)]
    blocks.append(Pictures(list(zip(ends, names, strict=True)), across=2, height=80))
    whole = int((series.lengths == len(frames)).sum())
    facts = [("Tracks", f"{len(series.lengths)}, of which {whole} from the first frame to the last"), *followed.method]
    blocks += [Heading("Method"), Text(STATEMENT), Facts([*facts, ("Runs", ", ".join(frames["run"]))])]
    return typeset(
        followed.title, blocks, f"series of {len(frames)} frames, runs {frames['run'].iloc[0]} and following"
    )


def build_series_workbook(series: Series) -> bytes:
    """Return a workbook with the sheets Frames, Law, Growth (each crystal in each frame) and Events."""
    facts = vars(series.law) if series.law else {"why": series.why}
    law = pd.DataFrame({"name": list(facts), "value": list(map(str, facts.values()))})
    sheets = {"Frames": series.frames, "Law": law, "Growth": series.curves}
    return workbook(sheets | {"Events": series.tracks.events})


def tracked(pixels: np.ndarray, labels: np.ndarray, series: Series, frame: int, only: int = 0) -> np.ndarray:
    """Return a frame, uint8 (H, W, 3), with each crystal lightly filled in the colour of its track. With `only`, all
    crystals but that one are merely outlined."""
    rows = series.tracks.crystals
    rows = rows[rows["frame"] == frame]
    track = np.zeros(int(labels.max(initial=0)) + 1, int)
    track[rows["id"]] = rows["track"]
    if only:
        track[track != only] = 0
    colours = colours_apart(1 + int(series.tracks.crystals["track"].max()) if len(series.tracks.crystals) else 0)
    shown, filled = pixels.copy(), track[labels] > 0
    shown[filled] = (0.55 * pixels[filled] + 0.45 * colours[track[labels[filled]]]).astype(np.uint8)
    shown[boundaries(labels)] = 255 if only else 0
    return shown


def animation(pictures: Iterable[np.ndarray]) -> bytes:
    """Return frames, uint8 (H, W, 3), as an animated WebP that repeats."""
    shown = [Image.fromarray(fit(picture, SHOWN)) for picture in pictures]
    buffer = io.BytesIO()
    shown[0].save(buffer, "WEBP", save_all=True, append_images=shown[1:], duration=EACH, loop=0, quality=80)
    return buffer.getvalue()


def kymograph(rows: Iterable[np.ndarray], height: int = 12) -> np.ndarray:
    """Stack one line of each frame, uint8 (W, 3), `height` px per line, to show how the crystals on the line move."""
    return np.repeat(np.stack(list(rows)), height, axis=0)


def kymographs(followed: Followed) -> bytes:
    """Return the kymograph of one line through all frames."""
    pictures = (followed.frame(k)[0] for k in range(len(followed.series.frames)))
    return animation([kymograph(pixels[followed.line * len(pixels) // 100] for pixels in pictures)])
