"""Commands for models of one material: teach, models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress as Bar

from crystalseg.cli.app import app, errors
from crystalseg.cli.options import NegativeBackground, Operator, Scheduler

if TYPE_CHECKING:
    from crystalseg.execution.work_state import State

models_app = typer.Typer(no_args_is_help=True, help="Models on record: list, show, export, import, share, retire.")
app.add_typer(models_app, name="models")


@app.command()
def teach(
    name: Annotated[str, typer.Argument(help="Name of the model; an existing name gets the next version.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with <id>.png and <id>_label.png, and <id>_checked.png for partly labelled images."),
    ] = None,
    material: Annotated[
        str, typer.Option(help="Its material; default: its name. Without --data: the material on record to use.")
    ] = "",
    parent: Annotated[
        str, typer.Option("--from", help="Model on record to start from; default: the shipped weights.")
    ] = "",
    minutes: Annotated[float, typer.Option(min=0.1, help="Training time; validation follows.")] = 10.0,
    operator: Operator = "",
    scheduler: Scheduler = None,
    go_on: Annotated[bool, typer.Option(help="Continue the lesson of this name.")] = False,
    discard: Annotated[bool, typer.Option(help="Discard the lesson of this name first.")] = False,
    negative: NegativeBackground = False,
) -> None:
    """Teach a model one material from labelled images. Ctrl-C pauses; --go-on continues."""
    from crystalseg.execution import teaching, work, work_state, workers
    from crystalseg.execution.kinds import lesson
    from crystalseg.record import annotations
    from crystalseg.record.database import open_database

    engine = open_database()
    folder = lesson.folder_of(name)
    if discard and lesson.KIND.is_in(folder):
        work.discard(work.work_in(folder))
    if not go_on:
        kept = (
            annotations.from_folder(engine, data, material or name, operator, negative)
            if data
            else annotations.annotations(engine, material or name)
        )
        lesson.prepare(engine, name, material or name, kept, parent, minutes, operator)
    work_state.ask(folder, "")
    with Bar(console=errors, transient=True) as bar:
        task = bar.add_task(name, total=1.0)

        def show(state: "State") -> None:
            bar.update(task, completed=state.share, description=state.stage)

        try:
            model = teaching.run(folder, engine, show, scheduler or workers.scheduler())
        except KeyboardInterrupt:
            model = None
    if model is None:
        print(f"Paused. To continue: python -m crystalseg teach '{name}' --go-on")
        raise typer.Exit(130)
    print(f"Model {model.reference}: {model.verdict}")


@models_app.command("list")
def list_models(retired: Annotated[bool, typer.Option(help="Include retired models.")] = False) -> None:
    """List the models on record, newest first."""
    from crystalseg.record.database import open_database
    from crystalseg.record.models import models

    found = models(open_database(), retired)
    for model in found:
        words = [
            model.reference,
            model.material or "any material",
            model.words,
            *(["retired"] if model.retired else []),
        ]
        print(" · ".join(words))
    if not found:
        print("No model is on record. To make one: python -m crystalseg teach NAME --data FOLDER")


@models_app.command()
def show(reference: Annotated[str, typer.Argument(help="NAME or NAME:VERSION.")]) -> None:
    """Show what is on record of a model."""
    from crystalseg.record.database import open_database
    from crystalseg.record.models import find

    model = find(open_database(), reference)
    for what, words in model.rows():
        print(f"{what}: {words}")


@models_app.command("export")
def export_model(
    reference: Annotated[str, typer.Argument(help="NAME or NAME:VERSION.")],
    file: Annotated[Path, typer.Argument(help="File to write, .safetensors.")],
) -> None:
    """Write a model and its data on record to one file."""
    from crystalseg.execution.model_files import exported
    from crystalseg.record.database import open_database
    from crystalseg.record.models import find

    model = find(open_database(), reference)
    file.write_bytes(exported(model))
    print(f"Model {model.reference}: {file}")


@models_app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="An exported model, or a Cellpose 2 or 3 model file.")],
    name: Annotated[str, typer.Option(help="Its name here; default: the name in the file.")] = "",
    operator: Operator = "",
) -> None:
    """Put the model in a file on record."""
    from crystalseg.execution.model_files import imported
    from crystalseg.record.database import open_database

    model = imported(open_database(), file.read_bytes(), file.name, name, operator)
    print(f"Model {model.reference} is on record: {model.words}.")


@models_app.command("share")
def share_models(
    folder: Annotated[Path, typer.Argument(help="A folder that several machines can reach.")], operator: Operator = ""
) -> None:
    """Import the models that other machines put into a folder, and put the models on offer here into it."""
    from crystalseg.execution.model_files import exchange
    from crystalseg.record.database import open_database

    done = exchange(open_database(), folder, operator)
    print(done.words)
    for why in done.refused:
        errors.print(why, style="red", markup=False)
    if done.refused:
        raise typer.Exit(1)


@models_app.command()
def retire(
    reference: Annotated[str, typer.Argument(help="NAME for the latest version, or NAME:VERSION.")],
    again: Annotated[bool, typer.Option(help="Offer it again.")] = False,
    operator: Operator = "",
) -> None:
    """Stop offering a model. Its runs can still be computed again with it."""
    from crystalseg.record import models
    from crystalseg.record.database import open_database

    model = models.retire(open_database(), reference, operator, again)
    print(f"Model {model.reference} is {'retired' if model.retired else 'on offer'}.")
