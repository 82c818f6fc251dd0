"""The one direction of imports (DESIGN: what may import what), each checked in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_the_package_itself_imports_nothing_heavy():
    assert not loaded("import crystalseg") & {"torch", "numpy", "cv2", "streamlit", "pandas", "scipy"}


@pytest.mark.parametrize(
    "module",
    [
        "measure.crystals", "measure.distribution", "evaluate.metrics", "view", "flows", "attention", "fusion", "synth",
        "tiling", "micrograph", "settings", "calibration", "correct", "layers", "selection", "segmentation",
        "report.comparison", "jobs", "samples",
    ],
)  # fmt: skip
def test_array_modules_import_no_torch(module):
    assert not loaded(f"import crystalseg.{module}") & {"torch", "streamlit"}


def test_pages_that_only_show_results_import_no_torch():
    assert "torch" not in loaded("import crystalseg.ui.state, crystalseg.ui.viewer, crystalseg.ui.controls")


@pytest.mark.parametrize("module", ["pipeline", "jobs", "runs", "report.pdf", "cli", "train.cellpose"])
def test_only_ui_imports_streamlit(module):
    assert "streamlit" not in loaded(f"import crystalseg.{module}")


def test_the_product_does_not_refer_to_the_developers_data():
    for path in [*ROOT.glob("crystalseg/**/*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"]:
        assert "shared/" not in path.read_text(), path
