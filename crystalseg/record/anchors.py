"""Signed anchors: each report carries away the end of the record as it was when the report was issued.

Whoever owns the database can recompute every hash of the chain, but cannot call back the reports that were handed out.
Each report holds the number and the hash of the record's last entry, signed (Ed25519) with a key that is not in the
database. An audit of the report shows whether the record still has that entry.
"""

import io
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from sqlalchemy import Engine

from crystalseg import environment
from crystalseg.record import ledger, store, timestamps
from crystalseg.record.database import RecordError

_WRITTEN = re.compile(rb"crystalseg-anchor:(\d{1,12}):([0-9a-f]{64}):([0-9a-f]{64}):([0-9a-f]{128})(?::([\w-]{20,}))?")


@dataclass(frozen=True)
class Anchor:
    """The signed end of the record. `hash`, `key` and `signature` are hexadecimal.

    number, hash: The number and the hash of the record's last entry.
    key: The public key of the signer.
    signature: The signature of `number` and `hash`.
    token: A time stamp of all of these (`timestamps`), or "".
    unstamped: The reason why a configured server gave no time stamp, or "".
    """

    number: int
    hash: str
    key: str
    signature: str
    token: str = ""
    unstamped: str = ""

    @property
    def signed(self) -> str:
        """The text that the time stamp covers: everything except the time stamp itself."""
        return f"crystalseg-anchor:{self.number}:{self.hash}:{self.key}:{self.signature}"

    def __str__(self) -> str:
        return f"{self.signed}:{self.token}" if self.token else self.signed

    def stamped(self) -> str:
        """Return the time and the signer check from the time stamp, in words, or "" without a time stamp. Raises
        StampError if the time stamp is false."""
        return timestamps.check(self.token, self.signed.encode()) if self.token else ""

    @property
    def is_genuine(self) -> bool:
        """Whether the owner of `key` made the signature."""
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            key.verify(bytes.fromhex(self.signature), _signed(self.number, self.hash))
        except (InvalidSignature, ValueError):
            return False
        return True


def _signed(number: int, sha256: str) -> bytes:
    return f"crystalseg record {number} {sha256}".encode()


def _key() -> Ed25519PrivateKey:
    """Return this record's signing key: from the PEM file that $CRYSTALSEG_SIGNING_KEY names, else from the home
    folder, where it is made if it is missing. Raises RecordError if the key cannot be used."""
    given = environment.value("CRYSTALSEG_SIGNING_KEY")
    path = Path(given) if given else store.home() / "signing.key"
    try:
        if not given and not path.exists():
            _make_key(path)
        return _loaded(path.read_bytes(), f"The key that signs the record, {path},", " Restore it.")
    except OSError as error:
        raise RecordError(f"The key that signs the record, {path}, cannot be used. Restore it.") from error


def _loaded(pem: bytes, what: str, remedy: str = "") -> Ed25519PrivateKey:
    """Return a signing key. Raises RecordError, which begins with `what`, if it is damaged or of another kind."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise RecordError(f"{what} is damaged and cannot be used.{remedy}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise RecordError(f"{what} is not an Ed25519 key.{remedy}")
    return key


def _make_key(path: Path) -> None:
    """Write a new key that only its owner can read. If two processes make one at the same time, the first one wins."""
    made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(f".{path.name}-{os.getpid()}")
    part.touch(mode=0o600)
    part.write_bytes(made)
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def anchor(engine: Engine) -> Anchor:
    """Sign the current end of the record, and add a time stamp if a server is configured. Raises RecordError if the key
    cannot be used."""
    number, sha256 = ledger.end(engine)
    key = _key()
    made = Anchor(number, sha256, _public(key), key.sign(_signed(number, sha256)).hex())
    if not timestamps.url():
        return made
    try:
        return replace(made, token=timestamps.stamp(made.signed.encode()))
    except timestamps.StampError as error:
        return replace(made, unstamped=str(error))


def public_key(pem: bytes) -> str:
    """Return the public key, hexadecimal, of a signing key. Raises RecordError if it is not an Ed25519 key."""
    return _public(_loaded(pem, "The signing key"))


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def anchors_in(data: bytes) -> list[Anchor]:
    """Return the anchors that a report file (PDF, HTML or Excel) carries. Only PDF and HTML carry a time stamp."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            data = book.read("docProps/core.xml") if "docProps/core.xml" in book.namelist() else b""
    found = dict.fromkeys(_WRITTEN.findall(data))
    return [Anchor(int(number), *(part.decode() for part in rest)) for number, *rest in found]


def check(engine: Engine, data: bytes) -> Iterator[str]:
    """Yield a sentence for each way in which this record differs from the one that the report was issued from."""
    own = _public(_key())
    for held in anchors_in(data):
        if not held.is_genuine:
            yield f"The report was changed: its signature for entry {held.number} of the record is false."
        elif held.key != own:
            yield f"The report was signed with the key {held.key[:16]}…, but this record's key is {own[:16]}…."
        try:
            held.stamped()
        except timestamps.StampError as error:
            yield str(error)
        if held.number and ledger.hash_of(engine, held.number) != held.hash:
            yield f"The record was rewritten after the report was issued: entry {held.number} differs."
