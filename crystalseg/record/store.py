"""Files that the record refers to, kept under the hash of their bytes, so that a changed one is found."""

import datetime
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from crystalseg import environment
from crystalseg.errors import UserError


class StoreError(UserError):
    """A file that is missing or changed; the message is one sentence for the user."""


def home() -> Path:
    """Where the record, its files and results live: $CRYSTALSEG_HOME, else ~/.crystalseg; made if missing.
    StoreError if it cannot be."""
    path = Path(_home())
    if not path.is_dir():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {path} cannot be made ({error.strerror}): name another by CRYSTALSEG_HOME."
            ) from error
    return path


def _home() -> str:
    return environment.value("CRYSTALSEG_HOME") or os.path.expanduser("~/.crystalseg")


def digest(*parts: object) -> str:
    """A short name for what is made of `parts`, by their representation."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def now() -> str:
    """The current time, UTC, ISO 8601 to the microsecond: runs that end together keep their order."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


@contextmanager
def written_safely(path: Path) -> Iterator[BinaryIO]:
    """A file to write, under another name until it is whole: then all of it is on the disk under this one, or nothing
    is, whenever the process or machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{uuid.uuid4().hex}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # a full disk is not made fuller


def write_safely(path: Path, data: bytes) -> None:
    """As `written_safely`, of bytes at hand."""
    with written_safely(path) as file:
        file.write(data)


def place(sha256: str) -> Path:
    """Where the file of that hash is, or would be."""
    return Path(_home(), "files", sha256[:2], sha256)  # not `home()`, which looks for it: an audit asks 100,000 times


def put(data: bytes) -> str:
    """Keep a file; returns its SHA-256, by which `get` finds it."""
    sha256 = hashlib.sha256(data).hexdigest()
    if not place(sha256).exists():
        write_safely(place(sha256), data)
    return sha256


def put_file(path: Path) -> str:
    """As `put`, of a file of any size."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not place(sha256).exists():
        with path.open("rb") as source, written_safely(place(sha256)) as kept:
            shutil.copyfileobj(source, kept, 2**22)
    return sha256


def get(sha256: str) -> bytes:
    """The bytes of that hash; StoreError if there are none, or not these."""
    with _verified(place(sha256)) as file:
        return file.read()


def checked(sha256: str) -> Path:
    """As `get`, where the file is instead of its bytes."""
    with _verified(path := place(sha256)):
        return path


@contextmanager
def _verified(path: Path) -> Iterator[BinaryIO]:
    """The file at its place, read once and found to have the hash it is named by."""
    sha256 = path.name
    try:
        file = path.open("rb", buffering=0)  # an audit opens 100,000 of them
    except OSError as error:
        raise StoreError(f"The file {sha256[:16]}… of the record is missing from {path.parent}.") from error
    with file:
        found = hashlib.sha256()
        while part := file.read(2**20):
            found.update(part)
        if found.hexdigest() != sha256:
            raise StoreError(f"The file {sha256[:16]}… of the record was changed: its bytes do not have this hash.")
        file.seek(0)
        yield file
