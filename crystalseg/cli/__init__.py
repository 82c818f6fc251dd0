"""The command line: the app's functions without a browser, one module per family of commands.

The input is files and options. The output is files and lines of text; a user's error is one sentence and exit code 2.
This package must not know how the work is done, only which function does it. Heavy imports wait until a command runs.
"""

from crystalseg.cli import measuring, mosaic, series, work, record, models, evaluation, training, web  # noqa: F401, I001 - order of --help
from crystalseg.cli.app import main

__all__ = ["main"]
