"""What the documents say is there, is there; what they show, runs."""

import re
from pathlib import Path

import pytest
import tifffile

from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/results.md",
    "weights/MODEL_CARD.md",
    "benchmarks/README.md",
)


def places(text):
    """What a document names in backticks or links that looks like a file or folder of the project."""
    for name in re.findall(r"`([\w./-]+)`|\]\(([\w./-]+)\)", text):
        # results/ is what the experiments write
        yield from (n for n in name if re.search(r"/|\.(md|py|txt|json|toml)$", n) and not n.startswith("results/"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_names_exist(document):
    text = (ROOT / document).read_text()
    beside = (ROOT, ROOT / "crystalseg", (ROOT / document).parent, *(ROOT / "crystalseg").iterdir())
    for name in places(text):
        assert any((folder / name).exists() for folder in beside), name


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text()
    code = re.search(r"From Python:\n\n((?:    .*\n|\n)+)", text).group(1)
    tifffile.imwrite(tmp_path / "micrograph.tif", draw(8, (96, 110), Structure("powder", diameter=30)).image)
    monkeypatch.chdir(tmp_path)
    told = {}
    exec(re.sub(r"^    ", "", code, flags=re.MULTILINE), told)
    assert told["result"].summary.counted > 0
    assert told["segmentation"].settings == Settings()
    assert "Interval" in capsys.readouterr().out
