"""Explain to the user why something failed."""

import logging
import os
import platform
import traceback
import uuid

from sqlalchemy.exc import DBAPIError

from crystalseg import __version__
from crystalseg.errors import UserError
from crystalseg.record import store
from crystalseg.record.database import explained

# UserErrors have their own sentence; the others can happen to a correct program.
FORESEEN = (UserError, MemoryError, OSError, DBAPIError)
LOG = "faults.log"  # in the home folder
MOST_LOGGED = 10 * 2**20  # bytes; then a new log is begun


def failure(error: BaseException) -> str:
    """Return one sentence for the user. A fault of the program is named as one, and logged with its traceback under the
    reference in the sentence."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this image. Crop it or use smaller resize factors."
    if isinstance(error, DBAPIError):
        return explained(error)
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}. Everything that was shown as saved is safe."
    return f"This is a fault of the program, reference {_logged(error)}. The log {store.home() / LOG} says more."


def _logged(error: BaseException) -> str:
    """Write a fault to the log, and return its reference."""
    reference = uuid.uuid4().hex[:8]
    trace = "".join(traceback.format_exception(error))
    head = f"{store.now()} fault {reference}, crystalseg {__version__}, Python {platform.python_version()}"
    logging.getLogger("crystalseg").error("%s\n%s", head, trace)
    try:
        path = store.home() / LOG
        if path.exists() and path.stat().st_size > MOST_LOGGED:
            path.replace(path.with_suffix(".log.1"))
        with open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"{head}\n{trace}\n")
    except OSError:
        pass  # such as a full disk; the sentence and the output of the process remain
    return reference
