"""What is beside the package is found, and the program starts from anywhere."""

import shutil
import subprocess
from pathlib import Path

import pytest

from crystalseg import places
from crystalseg.execution.decoder import Decoder
from crystalseg.micrographs import examples
from tests.conftest import png

ROOT = Path(__file__).parents[1]


def test_a_checkout_has_them_at_its_root():
    assert not places.IS_INSTALLED
    assert places.APP == ROOT / "app.py"
    assert (places.WEIGHTS / "folded.safetensors").is_file()


def test_a_process_of_its_own_starts_in_any_folder_and_imports_nothing_from_it(tmp_path, monkeypatch):
    for name in ("json.py", "crystalseg.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    process = places.start("--help", stdout=subprocess.PIPE, text=True)
    assert "Measure crystal sizes" in process.communicate(timeout=120)[0]
    decoder = Decoder()
    assert decoder.read(png(examples.first().pixels[:50, :60]), "part.png").shape == (50, 60)
    decoder.close()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit of a file of the package."""
    (tmp_path / "crystalseg").mkdir()
    shutil.copy(ROOT / "crystalseg" / "commit.txt", tmp_path / "crystalseg")
    (tmp_path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    monkeypatch.setattr(places, "_BASE", tmp_path)
    monkeypatch.setattr(places, "_PACKAGE", tmp_path / "crystalseg")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        git(tmp_path, *words)
    return tmp_path


def git(folder, *words):
    own = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    return subprocess.run(["git", "-C", folder, *own, *words], check=True, capture_output=True, text=True).stdout


def test_a_checkout_tells_its_commit_and_whether_its_code_is_another(checkout):
    commit = git(checkout, "rev-parse", "HEAD")[:12]
    (checkout / "notes.md").write_text("changes no figure")
    assert places.commit() == commit
    (checkout / "crystalseg" / "new.py").write_text("changes one, perhaps")
    assert places.commit() == f"{commit}-dirty"


def test_without_a_repository_the_file_tells_the_commit_if_anything_does(checkout, monkeypatch):
    monkeypatch.setattr(places, "_BASE", checkout / "crystalseg")
    assert places.commit() == "unknown"
    archive = checkout / "archive.tar"
    git(checkout, "archive", "-o", archive, "HEAD")
    shutil.unpack_archive(archive, checkout / "unpacked")
    monkeypatch.setattr(places, "_PACKAGE", checkout / "unpacked" / "crystalseg")
    assert places.commit() == git(checkout, "rev-parse", "HEAD")[:12]


def test_a_repository_that_git_cannot_read_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert places.commit() == "unknown"
