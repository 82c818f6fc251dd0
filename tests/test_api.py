"""The public names: what is there, loaded when it is used, and their examples run."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import crystalseg
from crystalseg import Settings
from crystalseg.errors import UserError
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.report import unrecorded
from crystalseg.segmentation.pipeline import segment
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

PUBLIC = {"read_micrograph", "segment", "measure", "Settings", "load_models", "report", "teach"}
DOCUMENTED = {name: getattr(crystalseg, name) for name in PUBLIC - {"report"}} | {
    "report": unrecorded.report,
    "crystalseg": crystalseg,
}


def test_these_names_are_public_and_no_others():
    assert set(crystalseg.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - {"teach"}))  # a lesson takes minutes: tests/training
def test_the_example_in_its_documentation_runs(name):
    [found] = doctest.DocTestFinder(recurse=False).find(DOCUMENTED[name], name, globs={})
    assert len(found.examples) > 2
    assert doctest.DocTestRunner().run(found).failed == 0


def test_type_checkers_see_the_types(tmp_path):
    code = """
from pathlib import Path

from crystalseg import Settings, load_models, measure, read_micrograph, report, segment

micrograph = read_micrograph(Path("image.png"))
segmentation = segment(micrograph, Settings(), load_models())
reveal_type(measure(segmentation.labels, micrograph.um_per_px, "exclude"))
reveal_type(report(micrograph, segmentation))
report(micrograph, segmentation, 1)
"""
    (tmp_path / "use.py").write_text(code)
    command = [sys.executable, "-m", "mypy", str(tmp_path / "use.py")]
    told = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True).stdout
    assert 'Revealed type is "crystalseg.measurement.measurement.Measurement"' in told
    assert 'Revealed type is "builtins.bytes"' in told.replace('"bytes"', '"builtins.bytes"')
    assert 'expected "str"' in told
    assert "Found 1 error" in told


def test_a_report_from_python_measures_as_its_settings_say():
    micrograph = Micrograph(draw(8, (150, 160), Structure("powder", diameter=30)).image, "drawn.png", "0" * 64)
    told = []
    for rule in ("exclude", "include"):
        settings = Settings.from_json(Settings("watershed").to_json())
        settings = Settings("watershed", measuring=type(settings.measuring)(border_rule=rule))
        told.append(crystalseg.report(micrograph, segment(micrograph, settings, None), "html").decode())
    assert told[0] != told[1]
    assert all("drawn.png" in text for text in told)
    with pytest.raises(UserError, match="pdf, html"):
        crystalseg.report(micrograph, segment(micrograph, settings, None), "word")
