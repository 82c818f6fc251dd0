"""A series: the frames of one experiment, measured as a batch and then followed from frame to frame.

A series is a batch whose folder also holds `moments.csv`. The frames of a TIFF file are unpacked into the folder.
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.execution.kinds import batch
from crystalseg.execution.kinds.batch import Batch, BatchKind
from crystalseg.execution.work import Work
from crystalseg.execution.work_state import State, WorkError, state_of
from crystalseg.measurement.distribution import Interval
from crystalseg.measurement.series import Series, series
from crystalseg.measurement.track_corrections import TrackCorrection, corrected
from crystalseg.measurement.tracks import Tracks, link
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.drift import find_drift
from crystalseg.micrographs.frames import Moment, check_interval, check_times, is_stack, unpack
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen
from crystalseg.record.reports import issue
from crystalseg.record.runs import Run, find
from crystalseg.report.exports import csv
from crystalseg.report.handouts import SERIES, SERIES_HANDOUTS, Handout
from crystalseg.report.series import Followed
from crystalseg.report.words import settings_rows

FRAMES, MOMENTS, DRIFT = "frames", "moments.csv", "drift.csv"


def prepare(
    folder: Path,
    source: Path,
    profile: Profile,
    calibration: Calibration | None = None,
    operator: str = "",
    interval: float | None = None,
    channel: int | None = None,
) -> Batch:
    """Return the series in `folder`, or make a new one.

    The source is a folder or ZIP file of images, in the order of their names, or a TIFF file of several pages, whose
    own pixel size is used unless another is given. `interval` is the time between frames in s, for files that do not
    say when frames were taken. `channel` (1, 2, …) chooses a channel of a file with several. Raises WorkError or
    MicrographError, which says why the series cannot be made.
    """
    given: list[Moment] = []
    notes: tuple[str, ...] = ()
    if source.is_file() and is_stack(source):
        frames = folder / FRAMES
        if not (folder / "batch.json").exists():
            unpacked = unpack(source, frames, channel)
            given, calibration = unpacked.moments, calibration or unpacked.calibration
            notes = unpacked.notes
        elif calibration is None:
            calibration = batch.load(folder).calibration
        source = frames
    elif source.is_file() and not zipfile.is_zipfile(source):
        raise WorkError(f"{source} is not a TIFF file with several pages. Give one, or a folder or ZIP file of images.")
    made = batch.prepare(folder, source, profile, calibration, operator, notes=notes)
    if len(made.names) < 2:
        raise WorkError("A series needs at least two frames.")
    if not (folder / MOMENTS).exists():
        given = given or [Moment()] * len(made.names)
        if interval is not None:
            check_interval(made.names)
            given = [Moment(k * interval, moment.celsius) for k, moment in enumerate(given)]
        set_moments(folder, given)
    return made


def set_moments(folder: Path, moments: Sequence[Moment]) -> None:
    """Save when the frames of the series were taken, in the order of their names. Raises MicrographError if the times
    do not increase."""
    names = batch.load(folder).names
    check_times(moments, names)
    table = pd.DataFrame(
        {"image": names, "seconds": [m.seconds for m in moments], "celsius": [m.celsius for m in moments]}
    )
    store.write_safely(folder / MOMENTS, table.to_csv(index=False).encode())


def moments(folder: Path) -> pd.DataFrame:
    """Return when the frames were taken: one row per frame with image, seconds and celsius."""
    return pd.read_csv(folder / MOMENTS, dtype={"image": str, "seconds": float, "celsius": float})


def run(
    folder: Path,
    engine: Engine,
    workers: int = 1,
    scheduler: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> State:
    """Measure the frames that are left, and follow the crystals once all frames are measured."""
    from crystalseg.execution import batch_run  # loads torch, which pages that only show results do not need

    def last(engine: Engine) -> None:
        if not is_linked(folder):
            follow(folder, engine, say)

    return batch_run.run(folder, engine, workers, scheduler, say, last)


def progress_of(folder: Path, engine: Engine) -> State:
    """Return the state of the series. It is the state of its batch, but done only once the crystals were followed."""
    state = batch.progress_of(folder, engine)
    if state.status != "done" or is_linked(folder):
        return state
    error = state_of(folder).error  # the error of following the crystals
    return replace(state, status="failed" if error else "paused", error=error)


def is_linked(folder: Path) -> bool:
    """Return whether the crystals of the series were followed."""
    return (folder / "tracks.csv").exists()


def follow(folder: Path, engine: Engine, say: Callable[[str], None] = lambda _: None) -> Tracks:
    """Find the drift with its standard uncertainty, and the tracks of the measured frames. Write them to the folder and
    put them on record."""
    made = batch.load(folder)
    runs = batch.runs_of(engine, made)
    labels, shifts, spread = [], [np.zeros(2)], [np.zeros(2)]
    before = None
    for k, one in enumerate(runs):
        pixels, own, _ = _opened(one)
        labels.append(own)
        if before is not None and before.shape == pixels.shape:
            found = find_drift(before, pixels)
            shifts.append(shifts[-1] + found.shift)
            spread.append(np.hypot(spread[-1], found.uncertainty))
        elif before is not None:
            raise WorkError(
                f"{one.image_name} differs in size from the frame before it. Give all frames the same size."
            )
        before = pixels
        (down, right), (u_down, u_right) = shifts[-1], spread[-1]
        say(
            f"frame {k + 1} of {len(runs)}: drift {right:+.2f}, {down:+.2f} px (standard uncertainty {u_right:.2f}, "
            f"{u_down:.2f} px)"
        )
    away, u = np.array(shifts), np.array(spread)
    tracks = link(labels, away)
    moved = pd.DataFrame(
        {
            "image": [one.image_name for one in runs],
            "dy_px": away[:, 0],
            "dx_px": away[:, 1],
            "u_dy_px": u[:, 0],
            "u_dx_px": u[:, 1],
        }
    )
    files = {DRIFT: csv(moved), "tracks.csv": csv(tracks.crystals), "events.csv": csv(tracks.events)}
    body = {"runs": [one.id for one in runs], "files": {name: store.put(data) for name, data in files.items()}}
    ledger.append(engine, "series", made.id, body, made.operator)
    for name in (DRIFT, "events.csv", "tracks.csv"):  # the last file marks the series as followed
        store.write_safely(folder / name, files[name])
    return tracks


def corrections(folder: Path, engine: Engine) -> list[tuple[ledger.Entry, TrackCorrection]]:
    """Return the corrections of the tracks that were not undone, oldest first, each with its entry on record."""
    standing: list[tuple[ledger.Entry, TrackCorrection]] = []
    for entry in ledger.entries(engine, "track", batch.load(folder).id):
        if entry.body["kind"] == "undo":
            standing.pop()
        else:
            standing.append((entry, TrackCorrection(**entry.body)))
    return standing


def correct(folder: Path, engine: Engine, correction: TrackCorrection, who: str) -> None:
    """Put a correction of the tracks on record. Raises UserError, which says in a sentence why it cannot be made."""
    seen = _last(folder, engine)
    corrected(_tracks(folder, engine), [correction])
    ledger.append(engine, "track", batch.load(folder).id, asdict(correction), who, after=seen)


def undo(folder: Path, engine: Engine, who: str) -> None:
    """Undo the last correction. It stays on record."""
    seen = _last(folder, engine)
    if not corrections(folder, engine):
        raise UserError("There is no correction to undo.")
    ledger.append(engine, "track", batch.load(folder).id, {"kind": "undo"}, who, after=seen)


def _last(folder: Path, engine: Engine) -> int:
    """Return the number of the last correction of the tracks on record, 0 for none. A new correction depends on it."""
    entries = ledger.entries(engine, "track", batch.load(folder).id)
    return entries[-1].number if entries else 0


def _tracks(folder: Path, engine: Engine) -> Tracks:
    """Return the tracks as found, with the manual corrections applied."""
    found = Tracks(*(_table(folder / name) for name in ("tracks.csv", "events.csv")))
    return corrected(found, [correction for _, correction in corrections(folder, engine)])


def load(folder: Path, engine: Engine, exponent: float | None = None) -> Series:
    """Return the series as measured and followed, with the manual corrections. `exponent` is n of the growth law, if
    known. Raises WorkError if the crystals were not followed yet."""
    if not is_linked(folder):
        raise WorkError("The crystals of this series have not been followed yet. Go on with the series first.")
    made, times, rows = batch.load(folder), moments(folder), []
    for frame, one in enumerate(batch.runs_of(engine, made)):
        summary, moment = one.summary, times.iloc[made.index(one.id)]
        average = summary.average if summary else Interval(np.nan, np.nan, np.nan)
        rows.append(
            {
                "frame": frame,
                "image": one.image_name,
                "run": one.id,
                "seconds": moment["seconds"],
                "celsius": moment["celsius"],
                "counted": summary.counted if summary else 0,
                "found": summary.found if summary else 0,
                "mean": average.value,
                "low": average.low,
                "high": average.high,
                "um_per_px": one.um_per_px or np.nan,
            }
        )
    return series(pd.DataFrame(rows), _tracks(folder, engine), exponent)


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(path.read_bytes()), encoding="utf-8-sig")


def frame(engine: Engine, run_id: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return a frame as it was measured, uint8 (H, W, 3), with its labels int32 (H, W) and its crystals table. Raises
    StoreError if its files are missing."""
    return _opened(find(engine, run_id))


def _opened(run: Run) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Do what `frame` does, for a given run."""
    kept = reopen(run)
    if kept.micrograph is None:
        raise store.StoreError(f"The image of run {run.id} was not kept, so its frame cannot be shown.")
    return kept.micrograph.pixels, kept.labels, kept.measurement.crystals


def followed(folder: Path, engine: Engine, found: Series, line: int = 50) -> Followed:
    """Return what the files of a series are made from. `line` is the line of the kymograph, in % from the top."""
    made, runs = batch.load(folder), found.frames["run"].tolist()
    rows = settings_rows(made.profile.settings, "")
    rows += [(f"Corrected by {entry.who or 'hand'}", one.words) for entry, one in corrections(folder, engine)]
    title = f"Growth of crystals, series {made.id}"
    return Followed(found, title, rows, lambda k: frame(engine, runs[k])[:2], line)


def hand_out(engine: Engine, row: Handout, of: Followed, who: str = "") -> bytes:
    """Return a file of a series. A report is put on record."""
    data = row.made(of)
    return issue(engine, of.series.frames["run"].tolist(), row.form, data, who) if row.form else data


def write(folder: Path, engine: Engine) -> Series:
    """Write the results to files in the folder: report, workbook, tables and law."""
    found, made = load(folder, engine), batch.load(folder)
    of = followed(folder, engine, found)
    for row in SERIES_HANDOUTS.values():
        if SERIES in row.default:
            store.write_safely(folder / row.ending, hand_out(engine, row, of, made.operator))
    return found


class SeriesKind(BatchKind):
    """The frames of one experiment."""

    name = "series"
    place = "series"
    parts = "frames"
    takes_a_file = True
    files = (*BatchKind.files, MOMENTS)

    def carry_out(
        self, work: Work, engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        if run(work.folder, engine, workers, scheduler, say).status == "done":
            write(work.folder, engine)

    def state(self, work: Work, engine: Engine) -> State:
        return progress_of(work.folder, engine)


KIND = SeriesKind()
