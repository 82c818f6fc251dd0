"""Where the files beside the package are, of which commit they are, and how the program starts itself again.

In a checkout, app, pages, weights and Streamlit's configuration are at its root. A wheel takes them along inside the
package. What belongs to one room only (grammar, example images, migrations) is in that room in either place.
This module uses the standard library only: the build loads it by itself.
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


def commit() -> str:
    """The commit this code is of: 12 hexadecimal digits, with "-dirty" if code or weights of the checkout differ from
    it; "unknown" if nothing tells."""
    if not IS_INSTALLED and (_BASE / ".git").exists():
        try:
            changed = _git("status", "--porcelain", "--", "crystalseg", "weights")
            return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
        except (OSError, subprocess.SubprocessError):
            return "unknown"
    told = (_PACKAGE / "commit.txt").read_text().strip()  # written by hatch_build.py, or by `git archive`
    digits, dash, dirty = told.partition("-")
    return "unknown" if told.startswith("$") else digits[:12] + dash + dirty


def _git(*words: str) -> str:
    own = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}  # set while a hook of some repository runs
    environment = {name: value for name, value in os.environ.items() if name not in own} | {"GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        ["git", "-C", str(_BASE), *words], env=environment, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
