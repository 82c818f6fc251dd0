"""The rooms of the package and the one direction of imports, as docs/architecture.md draws them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crystalseg"
PRODUCT = [*PACKAGE.rglob("*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"]
# Each room, from the ground up, and the rooms it may import from.
MAY_IMPORT = {
    "micrographs": set(),
    "networks": set(),
    "measurement": set(),
    "synthetic": {"micrographs", "measurement"},
    "segmentation": {"micrographs", "networks", "measurement"},
    "record": {"micrographs", "networks", "measurement", "segmentation"},
    "evaluation": {"micrographs", "synthetic", "measurement", "segmentation"},
    "training": {"micrographs", "synthetic", "networks", "measurement", "segmentation", "evaluation"},
    "report": {"micrographs", "measurement", "segmentation", "record", "evaluation"},
    "execution": {
        "micrographs",
        "synthetic",
        "networks",
        "measurement",
        "segmentation",
        "record",
        "evaluation",
        "training",
        "report",
    },
    "ui": {
        "micrographs",
        "synthetic",
        "measurement",
        "segmentation",
        "record",
        "evaluation",
        "report",
        "execution",
    },
    "cli": {
        "micrographs",
        "synthetic",
        "networks",
        "measurement",
        "segmentation",
        "record",
        "evaluation",
        "training",
        "report",
        "execution",
    },
}
# Who may know a library at all; those not named here may be used anywhere.
MAY_USE = {
    "streamlit": {"ui", "cli"},  # the command line starts it
    "torch": {"networks", "segmentation", "training", "execution"},
    "sqlalchemy": {"record", "execution", "ui", "cli"},
    "reportlab": {"report", "evaluation"},
    "distributed": {"execution"},
    "typer": {"cli"},
}


def imports(path):
    """The modules a file names in its import statements, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module):
    first, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if first == "crystalseg" and name in MAY_IMPORT else None


def edges():
    """Every room with those it imports from."""
    return {
        room: {r for path in (PACKAGE / room).rglob("*.py") for m in imports(path) if (r := room_of(m))} - {room}
        for room in MAY_IMPORT
    }


def test_every_room_is_in_the_table_and_nothing_lies_beside_them():
    names = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    beside = {"__init__.py", "__main__.py", "environment.py", "errors.py", "places.py", "commit.txt", "py.typed"}
    assert names == {*MAY_IMPORT, *beside}
    assert len(MAY_IMPORT) <= 12


def test_no_import_runs_back_up():
    floors = list(MAY_IMPORT)
    for floor, (room, allowed) in enumerate(MAY_IMPORT.items()):
        assert allowed <= set(floors[:floor]), room
    for room, used in edges().items():
        assert used <= MAY_IMPORT[room], room


def test_the_table_allows_nothing_that_nobody_needs():
    assert edges() == MAY_IMPORT


@pytest.mark.parametrize("library", MAY_USE)
def test_only_these_rooms_know_the_library(library):
    using = {
        room
        for room in MAY_IMPORT
        for path in (PACKAGE / room).rglob("*.py")
        if any(m == library or m.startswith(f"{library}.") for m in imports(path))
    }
    assert using == MAY_USE[library]


def test_the_architectures_picture_is_the_table():
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = {}
    for room, others in re.findall(r"^ +(\w+) --> ([\w &]+)$", text, re.MULTILINE):
        drawn.setdefault(room, set()).update(others.split(" & "))
    drawn.pop("pages")
    assert drawn == {room: above for room, above in reduced(MAY_IMPORT).items() if above}


def reduced(table):
    """The table without what follows from the rest: a room below is reached by way of those between."""
    below = {}
    for room, used in table.items():
        below[room] = set().union(used, *(below[r] for r in used))
    return {room: {r for r in used if not any(r in below[other] for other in used)} for room, used in table.items()}


def test_names_of_other_modules_private_parts_are_not_imported():
    for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("pages/*.py")]:
        private = [
            m
            for m in imports(path)
            if (m or "").startswith("crystalseg.") and re.fullmatch(r"_[a-z]\w*", m.rpartition(".")[2])
        ]
        assert not private, path


def test_every_room_says_what_it_is():
    for room in MAY_IMPORT:
        words = " ".join((ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or "").split())
        assert "In come" in words or "The input is" in words, room
        assert "must not know" in words, room


def loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_the_package_itself_imports_nothing_heavy():
    assert not loaded("import crystalseg") & {"torch", "numpy", "cv2", "streamlit", "pandas", "scipy"}


@pytest.mark.parametrize(
    "modules",
    [
        "measurement.assessment, evaluation.metrics, segmentation.flows, synthetic.drawing, micrographs.decoding",
        "segmentation.proposals, segmentation.selection, segmentation.corrections.history, segmentation.diagnostics",
        "evaluation.comparison, record.reopening, report.pdf, report.html, execution.queue, execution.corrected",
        "ui.session, ui.shared, ui.viewer, ui.image_controls, ui.settings_controls, ui.run_controls, ui.charts",
    ],
)
def test_what_pages_need_to_show_results_loads_no_torch(modules):
    names = ", ".join(f"crystalseg.{name.strip()}" for name in modules.split(","))
    assert "torch" not in loaded(f"import {names}")


def test_the_product_does_not_refer_to_the_developers_data():
    for path in PRODUCT:
        assert "shared/" not in path.read_text(), path


def test_every_file_is_offered_by_the_one_button_for_it():
    for path in PRODUCT:
        assert path.name == "downloads.py" or ".download_button(" not in path.read_text(), path
