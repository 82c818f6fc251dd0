"""Commands for long work of any kind: work list, go-on, pause, cancel, discard."""

from typing import TYPE_CHECKING, Annotated

import typer

from crystalseg.cli.app import app
from crystalseg.cli.options import Scheduler

if TYPE_CHECKING:
    from crystalseg.execution.work_state import State

work_app = typer.Typer(no_args_is_help=True, help="Long work (batches, mosaics, series, lessons): list, go-on, stop.")
app.add_typer(work_app, name="work")

Name = Annotated[str, typer.Argument(help="Its id in the list, or its folder.")]


@work_app.command("list")
def list_works(kind: Annotated[str, typer.Option(help="Only work of this kind.")] = "") -> None:
    """List the long work in the home folder, newest first, with its progress and folder."""
    from crystalseg.execution import work
    from crystalseg.record.database import open_database

    engine = open_database()
    for one in work.works(kind):
        print(f"{one.kind.name} {one.title} · {_words(one.state(engine))} · {one.folder}")


def _words(state: "State") -> str:
    parts = [state.status, f"{100 * state.share:.0f} %", state.error or state.stage]
    if state.left == state.left:
        parts.append(f"{state.left / 60:.0f} min left")
    return ", ".join(filter(None, parts))


@work_app.command("go-on")
def go_on(
    name: Name,
    workers: Annotated[int | None, typer.Option(min=0, help="Number of processes on this machine.")] = None,
    scheduler: Scheduler = None,
) -> None:
    """Start or continue work as it was requested. Ctrl-C pauses."""
    from crystalseg.execution import work, work_state
    from crystalseg.record.database import open_database

    engine, one = open_database(), work.find(name)
    # work that is starting was already told to continue, and perhaps to stop after that
    if one.state(engine).status != "starting":
        work_state.ask(one.folder, "")
    try:
        one.kind.carry_out(one, engine, max(one.kind.least_workers, workers or 0), scheduler, print)
    except KeyboardInterrupt:
        print("Paused. The same command continues the work.")
        raise typer.Exit(130) from None
    state = one.state(engine)
    print(f"{one.kind.name} {one.title}: {_words(state)}; see {one.folder}")


@work_app.command()
def pause(name: Name) -> None:
    """Ask work to stop after its current step. go-on continues it."""
    _ask(name, "paused")


@work_app.command()
def cancel(name: Name) -> None:
    """Like pause, for work that will not be continued: its uploads need not be kept."""
    _ask(name, "cancelled")


def _ask(name: str, what: str) -> None:
    from crystalseg.execution import work
    from crystalseg.record.database import open_database

    one = work.find(name)
    print(f"{one.kind.name} {one.title}: {work.stop(one, what, open_database())}.")


@work_app.command()
def discard(name: Name) -> None:
    """Discard work and remove its folder. What is on record stays."""
    from crystalseg.execution import work

    one = work.find(name)
    work.discard(one)
    print(f"{one.kind.name} {one.title}: discarded. What is on record stays.")
