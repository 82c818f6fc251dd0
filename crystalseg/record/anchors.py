"""The end of the record, signed, as reports carry it away.

Whoever owns the database can compute every hash of the chain anew; the reports that are out cannot be called back. Each
holds number and hash of the last entry of its time, signed (Ed25519) by a key that is not in the database, and an audit
of the report shows whether the record still has that entry.
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
    """number, hash: of the record's last entry then; key: public, of who signed; signature: of both. Hexadecimal.
    token: a time stamp of all these (`timestamps`), or ""; unstamped: why there is none though there should be."""

    number: int
    hash: str
    key: str
    signature: str
    token: str = ""
    unstamped: str = ""

    @property
    def signed(self) -> str:
        """All but the time stamp, which is of this."""
        return f"crystalseg-anchor:{self.number}:{self.hash}:{self.key}:{self.signature}"

    def __str__(self) -> str:
        return f"{self.signed}:{self.token}" if self.token else self.signed

    def stamped(self) -> str:
        """When, in the words of the time stamp; "" without one. StampError if it is false."""
        return timestamps.check(self.token, self.signed.encode()) if self.token else ""

    @property
    def is_genuine(self) -> bool:
        """Whether the key's owner signed it."""
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            key.verify(bytes.fromhex(self.signature), _signed(self.number, self.hash))
        except (InvalidSignature, ValueError):
            return False
        return True


def _signed(number: int, sha256: str) -> bytes:
    return f"crystalseg record {number} {sha256}".encode()


def _key() -> Ed25519PrivateKey:
    """Of this record: the file $CRYSTALSEG_SIGNING_KEY (PEM), else one made in the home folder."""
    given = environment.value("CRYSTALSEG_SIGNING_KEY")
    path = Path(given) if given else store.home() / "signing.key"
    try:
        if not given and not path.exists():
            _make_key(path)
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"The key that signs the record, {path}, cannot be used: restore it.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise RecordError(f"The key that signs the record, {path}, is none of Ed25519.")
    return key


def _make_key(path: Path) -> None:
    """Only its owner may read it; of two processes that make one, the first wins."""
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
    """The record's end now, with a time stamp where a server is configured. RecordError if the key cannot be used."""
    number, sha256 = ledger.end(engine)
    key = _key()
    made = Anchor(number, sha256, _public(key), key.sign(_signed(number, sha256)).hex())
    if not timestamps.url():
        return made
    try:
        return replace(made, token=timestamps.stamp(made.signed.encode()))
    except timestamps.StampError as error:
        return replace(made, unstamped=str(error))


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def anchors_in(data: bytes) -> list[Anchor]:
    """Those that the file of a report (PDF, HTML, Excel) carries; a time stamp is in PDF and HTML only."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            data = book.read("docProps/core.xml") if "docProps/core.xml" in book.namelist() else b""
    found = dict.fromkeys(_WRITTEN.findall(data))
    return [Anchor(int(number), *(part.decode() for part in rest)) for number, *rest in found]


def check(engine: Engine, data: bytes) -> Iterator[str]:
    """A sentence for each thing in which the record is not the one that a report's file was issued from."""
    own = _public(_key())
    for held in anchors_in(data):
        if not held.is_genuine:
            yield f"The report names entry {held.number} of the record, but its signature is false: it was changed."
        elif held.key != own:
            yield f"The report was signed with another key ({held.key[:16]}…) than this record's ({own[:16]}…)."
        try:
            held.stamped()
        except timestamps.StampError as error:
            yield str(error)
        if held.number and ledger.hash_of(engine, held.number) != held.hash:
            yield f"The record was rewritten since the report was issued: entry {held.number} is not what it was."
