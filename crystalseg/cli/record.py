"""Commands for the record: profile, approve, role, backup, restore, retain, audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalseg.cli.app import app, complain
from crystalseg.cli.options import models_from, text_in

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crystalseg.record.runs import Run
    from crystalseg.segmentation.models import Models


@app.command()
def profile(
    file: Annotated[Path, typer.Argument(help="Profile JSON, as exported by the app.")],
    operator: Annotated[str, typer.Option(help="Your name, for the record.")] = "",
) -> None:
    """Put a profile on record, for `batch` and the app."""
    from crystalseg.record.database import open_database
    from crystalseg.record.profiles import Profile, save

    chosen = Profile.from_json(text_in(file))
    save(open_database(), chosen, operator)
    print(f"Profile '{chosen.name}' is on record.")


@app.command()
def approve(
    run_id: Annotated[str, typer.Argument(help="ID of the run, as in History and in its report.")],
    name: Annotated[str, typer.Option("--name", help="Name of the approver.")],
) -> None:
    """Approve a run, once. Reports printed later name the approver."""
    from crystalseg.record import approvals
    from crystalseg.record.database import open_database

    engine = open_database()
    approvals.approve(engine, run_id, name)
    print(f"Run {run_id}: approved by {approvals.approval(engine, run_id)}.")


@app.command()
def role(
    person: Annotated[str, typer.Argument(help="E-mail address, as the sign-in provider states it.")],
    role: Annotated[str, typer.Argument(help="viewer, operator, approver, administrator, or none to remove the role.")],
) -> None:
    """Give a person who signs in a role. Use this for the first administrator, and the Audit page for others."""
    from crystalseg.record.database import open_database
    from crystalseg.record.people import give_role

    give_role(open_database(), person, "" if role == "none" else role, "command line")
    print(f"{person}: {role}, on record.")


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="ZIP file to write, readable by its owner only.")]) -> None:
    """Write the whole record to one file: entries, stored files, signing key. Exit code 1 if an audit finds faults."""
    from crystalseg.record import backup
    from crystalseg.record.database import open_database

    _said(backup.backup(open_database(), file), f"{file}: saved. The record is as it was written.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="ZIP file written by backup.")],
    key: Annotated[
        str, typer.Option(help="First 16 digits of the back-up's public key, if the home folder has another key.")
    ] = "",
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Also restore a record that is not as it was written.")
    ] = False,
) -> None:
    """Restore a back-up into an empty record, and audit it. A back-up that is refused changes nothing."""
    from crystalseg.record import backup
    from crystalseg.record.database import open_database

    _said(backup.restore(open_database(), file, key, damaged), f"{file}: restored. The record is as it was written.")


@app.command()
def retain(
    really: Annotated[
        bool, typer.Option("--really", help="Delete the images; without it they are only listed.")
    ] = False,
    name: Annotated[str, typer.Option(help="Your name, for the record.")] = "",
) -> None:
    """Delete images, with all copies, that are older than the profiles of their runs allow, and record that. Labels and
    reports stay. Uploads for a batch, mosaic or series that has ended are deleted with its images."""
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
    print(f"{len(gone)} {'deleted' if really else 'to delete; add --really to delete them'}.")
    _said([deletion.problem for deletion in found if deletion.problem], "")


def _said(problems: list[str], good: str) -> None:
    """Print each problem to stderr and exit with code 1, or print that all is well."""
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)
    if good:
        print(good)


@app.command()
def audit(
    run_id: Annotated[
        str, typer.Argument(help="Also measure the stored labels of this run again; or a report file, for its run.")
    ] = "",
    segment_again: Annotated[
        bool, typer.Option("--segment", help="Also segment its stored image again with the installed networks.")
    ] = False,
    since_last: Annotated[
        bool, typer.Option("--since-last", help="Check only entries since the last audit without findings.")
    ] = False,
) -> None:
    """Check that nothing in the record was changed. Prints a sentence and exits with code 1 if something was."""
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
    """Return how a run differs from its stored labels, or, with `models`, from its stored image segmented again."""
    from crystalseg.record.recomputation import recompute
    from crystalseg.record.reopening import reopen, same_figures

    reopened = reopen(run)
    if not same_figures(run, reopened.measurement.summary):
        return [f"Run {run.id}: its stored labels do not reproduce the figures on record."]
    if models is None:
        return []
    summary = recompute(engine, reopened, models)
    if same_figures(run, summary):
        return []
    now = summary.average.value if summary else "none"
    then = run.summary.average.value if run.summary else "none"
    return [f"Run {run.id}: segmented again, its average size is {now} instead of {then}."]
