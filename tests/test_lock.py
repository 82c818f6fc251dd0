"""The locks name what was tested, satisfy what is asked for, and bring no licence that forbids what ours allows."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ALLOWED = {
    # permissive
    *("MIT", "MIT License", "MIT-0", "MIT-CMU", "0BSD", "BSL-1.0", "Zlib", "CC0-1.0", "ISC", "ISC License (ISCL)"),
    *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License"),
    *("Apache-2.0", "Apache 2.0 License", "Apache License 2.0", "Apache Software License"),
    *("Apache-2.0 WITH LLVM-exception", "PSF-2.0", "Python Software Foundation License", "CNRI-Python"),
    # binds changes of its own files, and nobody changes them here
    *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
}
# Used unmodified, as packages of their own that anybody may replace: this is what the LGPL asks for.
LGPL = {"psycopg", "psycopg-binary", "python-bidi"}
# What PyTorch brings along on Linux, under NVIDIA's terms. No file of it is in our wheel or sdist; whoever hands out a
# container image hands these out too (docs/deployment.md).
NVIDIA = re.compile(r"nvidia-|cuda-toolkit$")


def locked(name):
    """The requirements of a lock that hold here, by name."""
    lines = (ROOT / name).read_text().replace("\\\n", "").splitlines()
    found = [Requirement(line.split(" --hash")[0]) for line in lines if line and not line.lstrip().startswith("#")]
    return {canonicalize_name(r.name): r for r in found if r.marker is None or r.marker.evaluate()}


def asked(name):
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


@pytest.mark.parametrize(
    ("lock", "files"),
    [
        ("requirements.lock", ["requirements.txt"]),
        ("requirements-dev.lock", ["requirements.txt", "requirements-hub.txt", "requirements-dev.txt"]),
    ],
)
def test_a_lock_satisfies_the_lower_bounds_and_has_hashes_and_no_place_to_get_them(lock, files):
    found = locked(lock)
    for requirement in (r for file in files for r in asked(file)):
        [pin] = found[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert pin.version in requirement.specifier, requirement
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = re.findall(r"^[a-zA-Z].*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[a-zA-Z]", text, re.MULTILINE))


def test_both_locks_agree():
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name: dev[name].specifier for name in run} == {name: r.specifier for name, r in run.items()}


def test_what_is_installed_here_is_what_is_locked():
    found = locked("requirements-dev.lock")
    # the seed of a virtual environment may be of any version
    del found["setuptools"]
    assert {name: version(name) for name in found} == {name: str(r.specifier)[2:] for name, r in found.items()}


def test_no_dependency_has_a_licence_that_forbids_ours():
    names = sorted(locked("requirements.lock"))
    command = [
        sys.executable,
        "-m",
        "piplicenses",
        "--from=mixed",
        "--format=json",
        "--with-system",
        "--packages",
        *names,
    ]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    licence = {canonicalize_name(row["Name"]): row["License"] for row in rows}
    assert set(licence) == set(names)
    others = {
        name: words
        for name, words in licence.items()
        if not any(set(re.split(" AND |; ", choice)) <= ALLOWED for choice in words.split(" OR "))
        and not (name in LGPL and ("LGPL" in words))
        and not NVIDIA.match(name)
    }
    assert not others
