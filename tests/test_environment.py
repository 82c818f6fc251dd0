"""The variables of the environment: one place that reads them, one sentence for what cannot be."""

import ast
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from crystalseg import environment
from crystalseg.environment import Variable
from crystalseg.errors import UserError
from crystalseg.execution.cluster import connected
from crystalseg.execution.decoder import Decoder
from crystalseg.execution.workers import chosen, scheduler
from crystalseg.micrographs.decoding import is_mosaic, read_micrograph
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.record import store, timestamps
from crystalseg.record.database import open_database
from tests.conftest import png

ROOT = Path(__file__).parents[1]
IMAGE = png(np.zeros((80, 100, 3), np.uint8))


@pytest.mark.parametrize("text", ["many", "nan", "inf", "0", "-5", "1,5", "100 MP"])
@pytest.mark.parametrize(
    "read",
    [read_micrograph, is_mosaic, lambda data: Decoder().read(data, "a.png")],
    ids=["read", "is_mosaic", "upload"],
)
def test_a_limit_that_is_no_number_is_refused_in_one_sentence_wherever_images_are_read(monkeypatch, text, read):
    monkeypatch.setenv("CRYSTALSEG_MAX_MEGAPIXELS", text)
    with pytest.raises(UserError, match=r"CRYSTALSEG_MAX_MEGAPIXELS is “.*”: set it to a number above 0"):
        read(IMAGE)


def test_the_limit_holds_for_every_road_that_an_image_comes_by(monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    decoder = Decoder()
    try:
        for limit, refused in (("0.007", True), ("0.009", False), ("", False)):
            monkeypatch.setenv("CRYSTALSEG_MAX_MEGAPIXELS", limit)
            assert is_mosaic(tmp_path / "a.png") is refused
            for read in (lambda: read_micrograph(IMAGE), lambda: decoder.read(IMAGE, "a.png")):
                if refused:
                    with pytest.raises(MicrographError, match=r"the limit of 0\.007"):
                        read()
                else:
                    assert read().shape == (80, 100)
    finally:
        decoder.close()


def under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "home")


@pytest.mark.parametrize(
    ("name", "text", "use"),
    [
        ("CRYSTALSEG_HOME", under_a_file, store.home),
        ("CRYSTALSEG_DATABASE_URL", "many", open_database),
        ("CRYSTALSEG_DATABASE_URL", "nosuch://host/record", open_database),
        ("CRYSTALSEG_WORKERS", "many", chosen),
        ("CRYSTALSEG_SCHEDULER", "nosuch://x", lambda: connected(0, scheduler())),
        ("CRYSTALSEG_TIMESTAMP_URL", "many", lambda: timestamps.stamp(b"report")),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(monkeypatch, tmp_path, name, text, use):
    monkeypatch.setenv(name, text if isinstance(text, str) else text(tmp_path))
    with pytest.raises(UserError):
        use()


def test_the_variables_are_read_in_one_place_and_documented():
    docs = " ".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    for name in get_args(Variable):
        assert f"${name}" in docs
    for path in (ROOT / "crystalseg").rglob("*.py"):
        if path == Path(environment.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                assert not ast.unparse(node.args[0]).strip("'").startswith("CRYSTALSEG_"), path
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                assert not (ast.unparse(node.value) == "os.environ" and "CRYSTALSEG_" in ast.unparse(node.slice)), path
