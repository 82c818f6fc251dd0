"""The app's verbs without a browser: each module a family of them.

In come files and options; out go files and lines of text; an error of the user's is one sentence and exit code 2.
This room must not know how anything is done, only where; heavy imports wait until a verb needs them.
"""

from crystalseg.cli import measuring, mosaic, series, work, record, models, evaluation, training, web  # noqa: F401, I001 - in the order of --help
from crystalseg.cli.app import main

__all__ = ["main"]
