"""The command that measures the frames of an experiment and follows their crystals."""

from pathlib import Path
from typing import Annotated

import typer

from crystalseg.cli.app import app
from crystalseg.cli.options import InstrumentName, Percent, ProfileName, Scheduler, UmPerPx, ordered, text_in


@app.command("series")
def follow_series(
    source: Annotated[Path, typer.Argument(help="Folder or ZIP file of images, or a TIFF file with several pages.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; with an unfinished series in it, continues that.")],
    times: Annotated[
        Path | None, typer.Option(help="CSV table: time_s (_min, _h), temperature_C (_K), image; default: metadata.")
    ] = None,
    interval: Annotated[float | None, typer.Option(min=0.0, help="Seconds between frames, without a table.")] = None,
    channel: Annotated[int | None, typer.Option(min=1, help="Of a file with several; else the first.")] = None,
    profile_name: ProfileName = "",
    um_per_px: UmPerPx = None,
    uncertainty: Percent = None,
    instrument: InstrumentName = "",
    workers: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    scheduler: Scheduler = None,
    operator: Annotated[str, typer.Option(help="Operator for the record and reports.")] = "",
    go_on: Annotated[bool, typer.Option(help="Continue the series in --out as it was started.")] = False,
) -> None:
    """Measure the frames of an experiment and follow every crystal: growth curves, births, merges, growth law."""
    from crystalseg.execution import work_state
    from crystalseg.execution.kinds import batch, series
    from crystalseg.measurement.rounding import significant
    from crystalseg.measurement.series import law_words
    from crystalseg.micrographs.frames import read_moments
    from crystalseg.record.database import open_database

    engine = open_database()
    if go_on:
        made = batch.load(out)  # raises an error if there is none
    else:
        profile, calibration = ordered(engine, profile_name, um_per_px, uncertainty, instrument)
        made = series.prepare(out, source, profile, calibration, operator, interval, channel)
        for note in made.notes:
            print(note)
        work_state.ask(out, "")
    if times is not None:
        series.set_moments(out, read_moments(text_in(times), made.names))
    try:
        state = series.run(out, engine, workers, scheduler, print)
    except KeyboardInterrupt:
        print("Paused. The same command continues the series.")
        raise typer.Exit(130) from None
    if state.status != "done":
        print(f"{state.done} of {state.total} frames measured: {state.status}")
        if state.reasons:
            raise typer.Exit(2)
        return
    found = series.write(out, engine)
    for frame in found.frames.itertuples():
        mean = f"{significant(frame.mean)} {found.unit}"
        print(f"{frame.image}: {frame.seconds:g} s, {frame.counted} crystals, mean {mean}")
    events = found.tracks.events["event"].value_counts()
    print(f"{len(found.lengths)} tracks; " + ", ".join(f"{count} × {event}" for event, count in events.items()))
    print(law_words(found.law) if found.law else found.why)
    if state.reasons:
        print(f"{len(state.reasons)} of {state.total} frames could not be measured; the law is fitted to the others.")
        raise typer.Exit(2)
