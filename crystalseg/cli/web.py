"""The web app and its worker."""

import gc
import os
from typing import Annotated

import typer

from crystalseg import places
from crystalseg.cli.app import app


@app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    workers: Annotated[
        str, typer.Option(help="Runs computed at the same time, or auto: as many as this machine has room for.")
    ] = "",
    scheduler: Annotated[
        str, typer.Option(help="Address of a Dask scheduler whose workers compute, --workers runs at the same time.")
    ] = "",
) -> None:
    """Open the web app. Other options are handed to Streamlit, e.g. --server.port 8600."""
    from crystalseg.execution.workers import chosen

    if workers:
        os.environ["CRYSTALSEG_WORKERS"] = workers
    if scheduler:
        os.environ["CRYSTALSEG_SCHEDULER"] = scheduler
    chosen()  # says now if it cannot be
    # What the pages need is loaded before anybody visits them, not while the first visitor waits.
    import plotly.graph_objects  # noqa: F401
    from streamlit.web.cli import main as streamlit

    import crystalseg.report.pdf
    import crystalseg.segmentation.pipeline  # noqa: F401

    # Streamlit collects garbage after each run of a page: with these libraries' objects it takes most of a second.
    gc.freeze()
    try:
        streamlit(["run", str(places.APP), *context.args])
    finally:
        gc.unfreeze()  # else libraries complain of leaks at the end


@app.command(hidden=True)
def worker(place: Annotated[int, typer.Argument()] = 0) -> None:
    """Serve the app's queue (the app starts this itself)."""
    from crystalseg.execution.worker import work

    work(place)


@app.command(hidden=True)
def decoder(line: int) -> None:
    """Read uploads that come by a file descriptor (the app starts this itself)."""
    from crystalseg.execution.decoder import serve

    serve(line)


@app.command(hidden=True)
def example() -> None:
    """Measure the first example with the shipped weights, for the run that comes with the program; exit code 1 if the
    labels are not those that came with it."""
    from crystalseg.execution.first_run import ship, shipped

    before, after = shipped(), ship()
    counted = after.summary.counted if after.summary else 0
    print(f"{after.image_name}: {counted} crystals counted, run {after.id}.")
    if before is None or before.files["labels"] != after.files["labels"]:
        print("These are other labels than before.")
        raise typer.Exit(1)
