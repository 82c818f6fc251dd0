"""The notebook runs from its first cell to its last, and shows what it says it shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "docs" / "example.ipynb"


def test_the_notebook_runs(tmp_path):
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    env = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(NOTEBOOK.parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "crystals; confidence from" in done.stdout
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
