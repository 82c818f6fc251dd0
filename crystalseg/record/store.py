"""The files that the record refers to, stored under the hash of their bytes, so that a changed file is found."""

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
    """A file is missing or changed. The message is one sentence for the user."""


def home() -> Path:
    """Return the folder of the record, its files and the results: $CRYSTALSEG_HOME, else ~/.crystalseg. It is made if
    missing. Raises StoreError if it cannot be made."""
    path = Path(_home())
    if not path.is_dir():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {path} cannot be made ({error.strerror}). Set CRYSTALSEG_HOME to another folder."
            ) from error
    return path


def _home() -> str:
    return environment.value("CRYSTALSEG_HOME") or os.path.expanduser("~/.crystalseg")


def digest(*parts: object) -> str:
    """Return a short name (16 hexadecimal digits) for something made of `parts`, from their repr."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def now() -> str:
    """Return the current time, UTC, ISO 8601 to the microsecond, so that runs that end together keep their order."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


@contextmanager
def written_safely(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when it is complete. If the process or machine stops at any time,
    either the whole file is on the disk under `path`, or `path` is unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{uuid.uuid4().hex}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # so that a failed write leaves no part on a full disk


def write_safely(path: Path, data: bytes) -> None:
    """Write bytes as `written_safely` does."""
    with written_safely(path) as file:
        file.write(data)


def place(sha256: str) -> Path:
    """Return the path of the file with that hash, whether or not it exists."""
    return Path(_home(), "files", sha256[:2], sha256)  # not `home()`: an audit makes 100,000 calls


def put(data: bytes) -> str:
    """Store a file and return its SHA-256, by which `get` finds it."""
    sha256 = hashlib.sha256(data).hexdigest()
    if not place(sha256).exists():
        write_safely(place(sha256), data)
    return sha256


def put_file(path: Path) -> str:
    """Do what `put` does, for a file of any size."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not place(sha256).exists():
        with path.open("rb") as source, written_safely(place(sha256)) as kept:
            shutil.copyfileobj(source, kept, 2**22)
    return sha256


def get(sha256: str) -> bytes:
    """Return the bytes with that hash. Raises StoreError if the file is missing or changed."""
    with _verified(place(sha256)) as file:
        return file.read()


def checked(sha256: str) -> Path:
    """Check the file as `get` does, and return its path."""
    with _verified(path := place(sha256)):
        return path


@contextmanager
def _verified(path: Path) -> Iterator[BinaryIO]:
    """Open a file after reading it once and checking that it has the hash in its name."""
    sha256 = path.name
    try:
        file = path.open("rb", buffering=0)  # unbuffered, because an audit opens 100,000 files
    except OSError as error:
        raise StoreError(f"The file {sha256[:16]}… of the record is missing from {path.parent}.") from error
    with file:
        found = hashlib.sha256()
        while part := file.read(2**20):
            found.update(part)
        if found.hexdigest() != sha256:
            raise StoreError(f"The file {sha256[:16]}… of the record was changed: its content does not have this hash.")
        file.seek(0)
        yield file
