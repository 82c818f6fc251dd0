"""Time-stamp tokens (RFC 3161): a third party confirms that something existed at a time, if a server is configured."""

import base64
import hashlib
import urllib.request
from http.client import HTTPException
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from crystalseg import environment
from crystalseg.errors import UserError

SECONDS = 10.0  # timeout of the server


class StampError(UserError):
    """There is no token, or it is false. The message is one sentence for the user."""


def url() -> str:
    """Return the server's address from $CRYSTALSEG_TIMESTAMP_URL, or "" for none."""
    return environment.value("CRYSTALSEG_TIMESTAMP_URL")


def stamp(data: bytes) -> str:
    """Get a token for `data` from the server at `url`, as base64url of DER. Raises StampError if the server gives
    none."""
    request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        asked = urllib.request.Request(url(), request.as_bytes(), {"Content-Type": "application/timestamp-query"})
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            token = base64.urlsafe_b64encode(answer.read(2**20)).decode().rstrip("=")
    except (OSError, ValueError, HTTPException) as error:
        raise StampError("There is no time stamp, because the time-stamp server did not answer.") from error
    check(token, data)
    return token


def check(token: str, data: bytes) -> str:
    """Return the time that a token gives `data` (ISO 8601), and say if its signer was not checked. Raises StampError if
    the token is false or belongs to other data.

    The signer is checked against the certificates (PEM) in the file that $CRYSTALSEG_TIMESTAMP_ROOTS names.
    """
    answer = _decoded(token)
    if answer.tst_info.message_imprint.message != hashlib.sha256(data).digest():
        raise StampError("The time stamp belongs to other data.")
    when = answer.tst_info.gen_time.isoformat()
    roots = environment.value("CRYSTALSEG_TIMESTAMP_ROOTS")
    if not roots:
        return f"{when}, signer not checked"
    builder = VerifierBuilder()
    try:
        for certificate in load_pem_x509_certificates(Path(roots).read_bytes()):
            builder = builder.add_root_certificate(certificate)
        builder.build().verify_message(answer, data)
    except (OSError, ValueError, VerificationError) as error:
        raise StampError(f"The certificates in {roots} do not vouch for the signer of the time stamp.") from error
    return when


def _decoded(token: str) -> TimeStampResponse:
    try:
        answer = decode_timestamp_response(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        answer.tst_info.gen_time  # noqa: B018 - a refusal has none
    except Exception as error:  # the decoder raises many kinds of errors
        raise StampError("The time stamp cannot be read, or its server refused to give one.") from error
    return answer
