"""A series: the frames of one experiment measured as a batch, then followed from frame to frame.

A series is a batch whose folder also holds `moments.csv`. The frames of one TIFF file are unpacked into the folder.
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
from crystalseg.execution import batch
from crystalseg.execution.batch import Batch
from crystalseg.execution.batch_source import BatchError
from crystalseg.execution.work_folder import is_locked, locked
from crystalseg.measurement.series import Series, series
from crystalseg.measurement.track_corrections import TrackCorrection, corrected
from crystalseg.measurement.tracks import Tracks, link
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.drift import drift
from crystalseg.micrographs.frames import Moment, is_stack, unpack
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen
from crystalseg.record.reports import issue
from crystalseg.record.runs import Run, find
from crystalseg.report.exports import csv
from crystalseg.report.handouts import SERIES, SERIES_HANDOUTS, Handout
from crystalseg.report.series import Followed
from crystalseg.report.words import settings_rows

FRAMES, MOMENTS, DRIFT, LOCK = "frames", "moments.csv", "drift.csv", "series.lock"


def prepare(
    folder: Path,
    source: Path,
    profile: Profile,
    calibration: Calibration | None = None,
    operator: str = "",
    interval: float | None = None,
) -> Batch:
    """The series in `folder`: the one that is there, or a new one of a folder or ZIP file of images, in the order of
    their names, or of a TIFF file of several pages, whose own pixel size counts unless another is given. interval: s
    between frames, where the file does not say when they were taken. BatchError or MicrographError says why not."""
    given: list[Moment] = []
    if source.is_file() and is_stack(source):
        frames = folder / FRAMES
        if not (folder / "batch.json").exists():
            given, own = unpack(source, frames)
            calibration = calibration or own
        elif calibration is None:
            calibration = batch.load(folder).calibration
        source = frames
    elif source.is_file() and not zipfile.is_zipfile(source):
        raise BatchError(f"{source} is no TIFF file of several pages; give one, or a folder or ZIP file of images.")
    made = batch.prepare(folder, source, profile, calibration, operator)
    if len(made.names) < 2:
        raise BatchError("A series needs at least two frames.")
    if not (folder / MOMENTS).exists():
        given = given or [Moment()] * len(made.names)
        if interval is not None:
            given = [Moment(k * interval, moment.celsius) for k, moment in enumerate(given)]
        set_moments(folder, given)
    return made


def set_moments(folder: Path, moments: Sequence[Moment]) -> None:
    """Keep when the frames of the series were taken, in the order of their names."""
    names = batch.load(folder).names
    table = pd.DataFrame(
        {"image": names, "seconds": [m.seconds for m in moments], "celsius": [m.celsius for m in moments]}
    )
    store.write_safely(folder / MOMENTS, table.to_csv(index=False).encode())


def moments(folder: Path) -> pd.DataFrame:
    """When the frames were taken: image, seconds, celsius, a row a frame."""
    return pd.read_csv(folder / MOMENTS, dtype={"image": str, "seconds": float, "celsius": float})


def run(
    folder: Path,
    engine: Engine,
    workers: int = 1,
    scheduler: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> batch.State:
    """Measure what is left of the frames, and if all are there follow the crystals through them."""
    from crystalseg.execution import batch_run  # loads torch, which pages that only show results do without

    with locked(folder, LOCK):  # from the first frame to the last track: between them its batch is done
        state = batch_run.run(folder, engine, workers, scheduler, report)
        if state.state == "done" and not is_linked(folder):
            follow(folder, engine, report)
    return state


def state_of(folder: Path, engine: Engine) -> batch.State:
    """How far the series is: as of its batch, but done only once the crystals were followed."""
    state = batch.state_of(folder, engine)
    if state.state == "running" or (state.state == "done" and is_linked(folder)):
        return state
    if is_locked(folder, LOCK):
        return replace(state, state="running")
    return replace(state, state="paused") if state.state == "done" else state


def is_linked(folder: Path) -> bool:
    """Whether the crystals of the series were followed."""
    return (folder / "tracks.csv").exists()


def follow(folder: Path, engine: Engine, report: Callable[[str], None] = lambda _: None) -> Tracks:
    """Find the drift and the tracks of the measured frames, write them to the folder and put them on record."""
    made, runs = batch.load(folder), _runs(folder, engine)
    labels, shifts = [], [np.zeros(2)]
    before = None
    for k, one in enumerate(runs):
        pixels, own, _ = _opened(one)
        labels.append(own)
        if before is not None and before.shape == pixels.shape:
            shifts.append(shifts[-1] + drift(before, pixels))
        elif before is not None:
            raise BatchError(f"{one.image_name} has another size than the frame before it: a series has one size.")
        before = pixels
        report(f"frame {k + 1} of {len(runs)}: drift {shifts[-1][1]:+.1f}, {shifts[-1][0]:+.1f} px")
    away = np.array(shifts)
    tracks = link(labels, away)
    moved = pd.DataFrame({"image": [one.image_name for one in runs], "dy_px": away[:, 0], "dx_px": away[:, 1]})
    files = {DRIFT: csv(moved), "tracks.csv": csv(tracks.crystals), "events.csv": csv(tracks.events)}
    for name, data in files.items():
        store.write_safely(folder / name, data)
    body = {"runs": [one.id for one in runs], "files": {name: store.put(data) for name, data in files.items()}}
    ledger.append(engine, "series", made.id, body, made.operator)
    return tracks


def _runs(folder: Path, engine: Engine) -> list[Run]:
    """The runs of the frames that were measured, in order."""
    made = batch.load(folder)
    entries = ledger.entries(engine, "run", prefix=made.run_id())
    return [Run.from_dict(entry.body) for entry in sorted(entries, key=lambda entry: entry.subject)]


def corrections(folder: Path, engine: Engine) -> list[tuple[ledger.Entry, TrackCorrection]]:
    """What was put right by hand in the tracks and was not taken back, oldest first, with its entry on record."""
    standing: list[tuple[ledger.Entry, TrackCorrection]] = []
    for entry in ledger.entries(engine, "track", batch.load(folder).id):
        if entry.body["kind"] == "undo":
            standing.pop()
        else:
            standing.append((entry, TrackCorrection(**entry.body)))
    return standing


def correct(folder: Path, engine: Engine, correction: TrackCorrection, who: str) -> None:
    """Put a correction of the tracks on record; UserError, in a sentence, if it cannot be made."""
    corrected(_tracks(folder, engine), [correction])
    ledger.append(engine, "track", batch.load(folder).id, asdict(correction), who)


def undo(folder: Path, engine: Engine, who: str) -> None:
    """Take the last correction back, which stays on record."""
    if not corrections(folder, engine):
        raise UserError("There is no correction to take back.")
    ledger.append(engine, "track", batch.load(folder).id, {"kind": "undo"}, who)


def _tracks(folder: Path, engine: Engine) -> Tracks:
    """As found, and with what was corrected by hand."""
    found = Tracks(*(_table(folder / name) for name in ("tracks.csv", "events.csv")))
    return corrected(found, [correction for _, correction in corrections(folder, engine)])


def load(folder: Path, engine: Engine, exponent: float | None = None) -> Series:
    """The series as it was measured and followed, with what was corrected by hand; BatchError if it was not yet.
    exponent: n of the law, if known."""
    if not is_linked(folder):
        raise BatchError("The crystals of this series were not followed yet.")
    made, times, rows = batch.load(folder), moments(folder), []
    for frame, one in enumerate(_runs(folder, engine)):
        figures, moment = one.figures or {}, times.iloc[made.index(one.id)]
        average = figures.get("average", {})
        rows.append(
            {
                "frame": frame,
                "image": one.image_name,
                "run": one.id,
                "seconds": moment["seconds"],
                "celsius": moment["celsius"],
                "counted": figures.get("counted", 0),
                "found": figures.get("found", 0),
                "mean": average.get("value", np.nan),
                "low": average.get("low", np.nan),
                "high": average.get("high", np.nan),
                "um_per_px": one.um_per_px or np.nan,
            }
        )
    return series(pd.DataFrame(rows), _tracks(folder, engine), exponent)


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(path.read_bytes()), encoding="utf-8-sig")


def frame(engine: Engine, run_id: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """A frame as it was measured, uint8 (H, W, 3), its labels int32 (H, W) and crystals table; StoreError if they are
    gone."""
    return _opened(find(engine, run_id))


def _opened(run: Run) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """As `frame`, of a run at hand."""
    kept = reopen(run)
    if kept.micrograph is None:
        raise store.StoreError(f"The image of run {run.id} was not kept.")
    return kept.micrograph.pixels, kept.labels, kept.measurement.crystals


def followed(folder: Path, engine: Engine, found: Series, line: int = 50) -> Followed:
    """What the files of a series are made of; line: of the kymograph, % from the top."""
    made, runs = batch.load(folder), found.frames["run"].tolist()
    rows = settings_rows(made.profile.settings, "")
    rows += [(f"Corrected by {entry.who or 'hand'}", one.words) for entry, one in corrections(folder, engine)]
    title = f"Growth of crystals, series {made.id}"
    return Followed(found, title, rows, lambda k: frame(engine, runs[k])[:2], line)


def hand_out(engine: Engine, row: Handout, of: Followed, who: str = "") -> bytes:
    """A file of a series; if it is a report, it is put on record."""
    data = row.made(of)
    return issue(engine, of.series.frames["run"].tolist(), row.form, data, who) if row.form else data


def write(folder: Path, engine: Engine) -> Series:
    """The results as files in the folder: report, workbook, tables, law."""
    found, made = load(folder, engine), batch.load(folder)
    of = followed(folder, engine, found)
    for row in SERIES_HANDOUTS.values():
        if SERIES in row.default:
            store.write_safely(folder / row.ending, hand_out(engine, row, of, made.operator))
    return found
