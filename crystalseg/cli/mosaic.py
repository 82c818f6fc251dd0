"""The command that measures one mosaic."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress as Bar

from crystalseg.cli.app import app, errors
from crystalseg.cli.options import (
    InstrumentName,
    Percent,
    ProfileName,
    Scheduler,
    UmPerPx,
    ordered,
)


@app.command("mosaic")
def measure_mosaic(
    source: Annotated[Path, typer.Argument(help="TIFF or OME-TIFF file, or OME-Zarr folder; up to 1000 megapixels.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; with an unfinished mosaic in it, continues that.")],
    profile_name: ProfileName = "",
    um_per_px: UmPerPx = None,
    uncertainty: Percent = None,
    instrument: InstrumentName = "",
    workers: Annotated[int, typer.Option(min=0, help="Number of processes on this machine; 0: only this one.")] = 0,
    scheduler: Scheduler = None,
    operator: Annotated[str, typer.Option(help="Operator for the record and report.")] = "",
    go_on: Annotated[bool, typer.Option(help="Continue the mosaic in --out as it was started.")] = False,
) -> None:
    """Measure one large image in windows. Ctrl-C pauses; the same command continues."""
    from crystalseg.execution import mosaic_run, work_state
    from crystalseg.execution.kinds import mosaic
    from crystalseg.record.database import open_database

    engine = open_database()
    if go_on:
        mosaic.load(out)  # raises an error if there is none
    else:
        profile, calibration = ordered(engine, profile_name, um_per_px, uncertainty, instrument)
        mosaic.prepare(out, source, profile, calibration, operator)
        work_state.ask(out, "")
    with Bar(console=errors, transient=True) as bar:
        task = bar.add_task(source.name, total=1.0)
        try:
            run = mosaic_run.run(
                out, engine, workers, scheduler, lambda p: bar.update(task, completed=p.share, description=p.stage)
            )
        except KeyboardInterrupt:
            run = None
    if run is None:
        print("Paused. The same command continues the mosaic.")
        raise typer.Exit(130)
    summary = run.summary
    words = f"{summary.counted} of {summary.found} crystals counted" if summary else "no crystal counted"
    print(f"{run.image_name}: {words}; see {out}")
