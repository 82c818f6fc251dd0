"""The command line's frame: its verbs register with `app`, `main` runs them."""

import sys

import typer
from rich.console import Console

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Crystal size measurement from micrographs.",
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: whatever fails is one sentence on stderr. The exit code is 2, and 1 for a fault of the program."""
    try:
        app()
    except Exception as error:
        from crystalseg.execution.failure import FORESEEN, failure

        complain(failure(error))
        sys.exit(2 if isinstance(error, FORESEEN) else 1)


def complain(error: object) -> None:
    """A sentence on stderr, in red."""
    errors.print(str(error), style="red", markup=False)
