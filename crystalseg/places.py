"""Where the files beside the package are, and how the program starts itself again.

In a checkout, app, pages, weights and Streamlit's configuration are at its root. A wheel takes them along inside the
package. What belongs to one room only (grammar, example images, migrations) is in that room in either place.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
_INSIDE = _PACKAGE / "_app"  # as pyproject.toml has the wheel made
IS_INSTALLED = _INSIDE.is_dir()
_BASE = _INSIDE if IS_INSTALLED else _PACKAGE.parent
APP = _BASE / "app.py"  # Streamlit looks for pages/ and .streamlit/config.toml beside it
WEIGHTS = _BASE / "weights"  # the shipped weights


def start(*arguments: str, **options: Any) -> subprocess.Popen:
    """Run a verb of the command line, such as `worker 0`, in a process of its own. It works in any current folder;
    nothing in that folder is imported. `options`: of Popen."""
    environment = dict(options.pop("env", os.environ))
    if not IS_INSTALLED:
        paths = (str(_PACKAGE.parent), environment.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return subprocess.Popen([sys.executable, "-P", "-m", "crystalseg", *arguments], env=environment, **options)
