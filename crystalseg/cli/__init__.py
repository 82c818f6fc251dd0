"""The app's verbs without a browser.

In come files and options, out go files and lines of text; what is done is done in the other rooms. Each module holds a
family of verbs; heavy imports wait until a verb needs them. Errors of the user's are one sentence and exit code 2.
"""

from crystalseg.cli import measuring, record, evaluation, training, web  # noqa: F401, I001 - in the order of --help
from crystalseg.cli.app import main

__all__ = ["main"]
