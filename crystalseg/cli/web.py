"""The commands that start the web app and its worker."""

import gc
import os
from pathlib import Path
from secrets import token_hex
from typing import Annotated

import typer

from crystalseg import places
from crystalseg.cli.app import app
from crystalseg.environment import SHORTEST_SECRET
from crystalseg.errors import UserError


@app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    workers: Annotated[
        str, typer.Option(help="Number of runs computed at the same time, or auto: as many as this machine can hold.")
    ] = "",
    scheduler: Annotated[
        str, typer.Option(help="Address of a Dask scheduler whose workers compute --workers runs at the same time.")
    ] = "",
) -> None:
    """Open the web app. Other options go to Streamlit, e.g. --server.port 8600."""
    from crystalseg.execution.workers import chosen

    if workers:
        os.environ["CRYSTALSEG_WORKERS"] = workers
    if scheduler:
        os.environ["CRYSTALSEG_SCHEDULER"] = scheduler
    chosen()  # fails here if the option is invalid
    # Load what the pages need before the first visitor arrives, so that nobody waits for it.
    import plotly.graph_objects  # noqa: F401
    from streamlit.web.cli import main as streamlit

    import crystalseg.report.pdf
    import crystalseg.segmentation.pipeline  # noqa: F401

    # Streamlit collects garbage after each run of a page, which takes most of a second with these libraries' objects.
    gc.freeze()
    try:
        streamlit(["run", str(places.APP), *context.args])
    finally:
        gc.unfreeze()  # otherwise libraries report leaks at exit


def write_secrets(file: Path, redirect_uri: str, client_id: str, client_secret: str, metadata_url: str) -> None:
    """Write a secrets file for sign-in with a random `cookie_secret`, readable by its owner only. Raises UserError if
    the file exists."""
    lines = {
        "redirect_uri": redirect_uri,
        "cookie_secret": token_hex(SHORTEST_SECRET),
        "client_id": client_id,
        "client_secret": client_secret,
        "server_metadata_url": metadata_url,
    }
    for name, text in lines.items():
        if any(c in '"\\' or ord(c) < 32 for c in text):
            raise UserError(f"{name} contains a character that does not belong there. Copy it again.")
    words = ["[auth]", *(f'{name} = "{text}"' for name, text in lines.items())]
    # A signature needs a sign-in of the last minutes: the provider asks for the password each time.
    words.append('client_kwargs = { prompt = "login" }')
    try:
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write("\n".join(words) + "\n")
    except FileExistsError as error:
        raise UserError(f"{file} exists. Move it away first, because it may be in use.") from error
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}.") from error


@app.command()
def secrets(
    file: Annotated[Path, typer.Argument(help="File to write, such as secrets.toml.")],
    redirect_uri: Annotated[str, typer.Option(help="https://NAME/oauth2callback, as registered with the provider.")],
    client_id: Annotated[str, typer.Option(help="As registered with the provider.")],
    metadata_url: Annotated[str, typer.Option(help="The provider's …/.well-known/openid-configuration.")],
    client_secret: Annotated[str, typer.Option(help="From the provider.", prompt=True, hide_input=True)],
) -> None:
    """Write the file that lets people sign in, with a random key for their cookies."""
    write_secrets(file, redirect_uri, client_id, client_secret, metadata_url)
    print(f"{file}. Hand it over with: python -m crystalseg app --secrets.files {file}")


@app.command(hidden=True)
def worker(place: Annotated[int, typer.Argument()] = 0) -> None:
    """Serve the app's queue. The app starts this itself."""
    from crystalseg.execution.worker import work

    work(place)


@app.command(hidden=True)
def decoder(line: int) -> None:
    """Read uploads that arrive by a file descriptor. The app starts this itself."""
    from crystalseg.execution.decoder import serve

    serve(line)


@app.command(hidden=True)
def example() -> None:
    """Measure the first example with the shipped weights, for the run that ships with the program. Exit code 1 if the
    labels differ from the shipped ones."""
    from crystalseg.execution.first_run import ship, shipped

    before, after = shipped(), ship()
    counted = after.summary.counted if after.summary else 0
    print(f"{after.image_name}: {counted} crystals counted, run {after.id}.")
    if before is None or before.files["labels"] != after.files["labels"]:
        print("These labels differ from the shipped ones.")
        raise typer.Exit(1)
