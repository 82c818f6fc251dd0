"""The frame of the command line: commands register with `app`, and `main` runs them."""

import sys

import typer
from rich.console import Console

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure crystal sizes in micrographs.",
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line. Every failure is one sentence on stderr, with exit code 2, or 1 for a fault of the
    program."""
    try:
        app()
    except Exception as error:
        from crystalseg.execution.failure import FORESEEN, failure

        complain(failure(error))
        sys.exit(2 if isinstance(error, FORESEEN) else 1)


def complain(error: object) -> None:
    """Print a sentence to stderr, in red."""
    errors.print(str(error), style="red", markup=False)
