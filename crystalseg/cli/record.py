"""Verbs of the record: profile, approve, audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalseg.cli.app import app, complain
from crystalseg.cli.options import models_from
from crystalseg.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crystalseg.record.runs import Run
    from crystalseg.segmentation.models import Models


@app.command()
def profile(
    file: Annotated[Path, typer.Argument(help="Profile JSON, as the app exports it.")],
    operator: Annotated[str, typer.Option(help="Who puts it on record.")] = "",
) -> None:
    """Put a profile on record, for `batch` and the app."""
    from crystalseg.record.database import open_database
    from crystalseg.record.profiles import Profile, save

    try:
        chosen = Profile.from_json(file.read_text())
    except OSError as error:
        raise UserError(f"{file}: cannot be opened ({error.strerror}).") from error
    save(open_database(), chosen, operator)
    print(f"Profile '{chosen.name}' is on record.")


@app.command()
def approve(
    run_id: Annotated[str, typer.Argument(help="The run, as History and its report name it.")],
    name: Annotated[str, typer.Option("--name", help="Who approves it.")],
) -> None:
    """Approve a run, once; reports printed after it name who did."""
    from crystalseg.record import approvals
    from crystalseg.record.database import open_database

    engine = open_database()
    approvals.approve(engine, run_id, name)
    print(f"Run {run_id}: approved by {approvals.approval(engine, run_id)}.")


@app.command()
def role(
    person: Annotated[str, typer.Argument(help="E-mail address, as the sign-in provider states it.")],
    role: Annotated[str, typer.Argument(help="viewer, operator, approver, administrator, or none to take it.")],
) -> None:
    """Give somebody who signs in a role; the first administrator is made so, others on the Audit page."""
    from crystalseg.record.database import open_database
    from crystalseg.record.people import give_role

    give_role(open_database(), person, "" if role == "none" else role, "command line")
    print(f"{person}: {role}, on record.")


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="ZIP file to write; only its owner may read it.")]) -> None:
    """Write the whole record to one file: entries, stored files, signing key; exit code 1 if an audit finds faults."""
    from crystalseg.record import backup
    from crystalseg.record.database import open_database

    _said(backup.backup(open_database(), file), f"{file}: the record, as it was written.")


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="ZIP file that backup wrote.")]) -> None:
    """Bring a back-up into an empty record, and audit it."""
    from crystalseg.record import backup
    from crystalseg.record.database import open_database

    _said(backup.restore(open_database(), file), f"{file}: restored; the record is as it was written.")


@app.command()
def retain(
    really: Annotated[bool, typer.Option("--really", help="Delete them; else they are only listed.")] = False,
    name: Annotated[str, typer.Option(help="Who does it, for the record.")] = "",
) -> None:
    """Delete images older than the profiles of their runs keep them, with all copies, on record; labels and reports
    stay. What was uploaded for a batch, mosaic or series that has ended goes with its images."""
    import datetime

    from crystalseg.execution import retention
    from crystalseg.record.database import open_database

    engine, now = open_database(), datetime.datetime.now(datetime.UTC)
    found = retention.retain(engine, now, name) if really else retention.expired(engine, now)
    gone = [deletion for deletion in found if not deletion.problem]
    for deletion in gone:
        print(deletion.name)
        for path in deletion.paths:
            print(f"    {path}")
    print(f"{len(gone)} {'deleted' if really else 'to delete: say --really'}.")
    _said([deletion.problem for deletion in found if deletion.problem], "")


def _said(problems: list[str], good: str) -> None:
    """Each problem on stderr with exit code 1, or that all is well."""
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)
    if good:
        print(good)


@app.command()
def audit(
    run_id: Annotated[
        str, typer.Argument(help="Also measure this run's stored labels again; or a report's file, for its run.")
    ] = "",
    segment_again: Annotated[
        bool, typer.Option("--segment", help="And segment its stored image again with the present networks.")
    ] = False,
    since_last: Annotated[
        bool, typer.Option("--since-last", help="Only what was added since the last audit that found nothing.")
    ] = False,
) -> None:
    """Check that nothing in the record was changed; exit code 1 and a sentence for each thing that was."""
    from crystalseg.record import audit as auditing
    from crystalseg.record.anchors import anchors_in, check
    from crystalseg.record.database import open_database
    from crystalseg.record.reports import issued
    from crystalseg.record.runs import find

    engine = open_database()
    problems = list(auditing.audit(engine, auditing.audited() if since_last else None))
    runs = [run_id] if run_id else []
    if Path(run_id).is_file():
        data = Path(run_id).read_bytes()
        rewritten = list(check(engine, data))
        problems += rewritten
        if not rewritten:
            report = issued(engine, data)
            runs = report.body["runs"]
            print(f"This is the report of run {', '.join(runs)}, issued {report.created[:19]} UTC.")
            for when in dict.fromkeys(filter(None, (held.stamped() for held in anchors_in(data)))):
                print(f"Its time stamp: {when}.")
    if runs and not problems:
        models = models_from(None) if segment_again else None
        problems = [problem for run in runs for problem in _recomputed(engine, find(engine, run), models)]
    more = f"; run {', '.join(runs)} gives the figures on record" if runs else ""
    _said(problems, auditing.GOOD.replace(".", f"{more}."))


def _recomputed(engine: "Engine", run: "Run", models: "Models | None") -> list[str]:
    """What differs between a run on record and its stored labels, or with `models` its stored image segmented again."""
    from crystalseg.record.recomputation import recompute
    from crystalseg.record.reopening import reopen, same_figures

    reopened = reopen(run)
    if not same_figures(run, reopened.measurement.summary):
        return [f"Run {run.id}: its stored labels do not give the figures on record."]
    if models is None:
        return []
    summary = recompute(engine, reopened, models)
    if same_figures(run, summary):
        return []
    now = summary.average.value if summary else "none"
    then = run.summary.average.value if run.summary else "none"
    return [f"Run {run.id}: segmented again, its average is {now} instead of {then}."]
