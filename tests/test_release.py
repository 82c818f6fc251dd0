"""Version, changelog and tags agree."""

import datetime
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import crystalseg

ROOT = Path(__file__).parents[1]


def number(version):
    return tuple(map(int, version.split(".")))


def test_the_changelog_dates_the_version_and_goes_down_from_there():
    released = re.findall(r"^## (\d+\.\d+\.\d+)(?: \((\S+)\))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [number(version) for version, _ in released]
    assert versions == sorted(versions, reverse=True)
    version, date = released[0]
    assert version == crystalseg.__version__
    datetime.date.fromisoformat(date)


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no checkout")
def test_no_tag_is_above_the_version_and_a_tagged_commit_has_its_own():
    def tags(*words):
        told = subprocess.run(["git", "-C", ROOT, "tag", *words], capture_output=True, text=True).stdout
        return [number(tag[1:]) for tag in told.split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]

    own = number(crystalseg.__version__)
    assert max(tags(), default=own) <= own
    assert max(tags("--points-at", "HEAD"), default=own) == own
