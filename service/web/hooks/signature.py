"""Signatures of webhooks: HMAC-SHA256 over the raw bytes, compared in constant time."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

TOLERANCE = 300  # seconds; registries retry for minutes with the original timestamp


class Unverified(Exception):
    """Raised if a request is not proven to come from the registry. Its message is for the log only."""


def check_time(timestamp: str, now: float) -> None:
    """Raise Unverified unless a Unix timestamp is within the tolerance."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Unverified("no timestamp")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise Unverified("timestamp out of tolerance")


def check_standard_webhook(
    headers: Mapping[str, str], names: tuple[str, str, str], body: bytes, keys: Sequence[bytes], now: float
) -> None:
    """Check a request as in Standard Webhooks: the signature covers the delivery ID, the timestamp, and the body.

    Args:
        headers: The headers of the request.
        names: Headers of the delivery ID, of the Unix timestamp, and of `v1,BASE64` signatures, separated by spaces.
        body: The body of the request.
        keys: The accepted keys.
        now: The current Unix time.

    Raises:
        Unverified: The delivery ID or a current timestamp is missing, or no signature matches any of the keys.
    """
    delivery, timestamp, signatures = (header(headers, name) for name in names)
    if not delivery:
        raise Unverified("no delivery ID")
    check_time(timestamp, now)
    message = b".".join([to_bytes(delivery), timestamp.encode(), body])
    expected = [b"v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()) for key in keys]
    candidates = [part for part in to_bytes(signatures).split(b" ") if part.startswith(b"v1,")]
    if not any(hmac.compare_digest(candidate, signature) for candidate in candidates for signature in expected):
        raise Unverified("wrong signature")


def check_secret(value: str, secrets: Sequence[bytes]) -> None:
    """Raise Unverified unless the value is one of the secrets."""
    if not any(hmac.compare_digest(to_bytes(value), secret) for secret in secrets):
        raise Unverified("wrong secret")


def check_digest(signature: str, message: bytes, keys: Sequence[bytes]) -> None:
    """Raise Unverified unless a signature in Base64 or hex is the HMAC of the message with one of the keys."""
    try:
        digest = bytes.fromhex(signature) if len(signature) == 64 else base64.b64decode(signature, validate=True)
    except ValueError as error:
        raise Unverified("invalid signature") from error
    if not any(hmac.compare_digest(digest, hmac.new(key, message, hashlib.sha256).digest()) for key in keys):
        raise Unverified("wrong signature")


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header by its case-insensitive name; empty if it is missing."""
    return next((value for key, value in headers.items() if key.lower() == name), "")


def to_bytes(value: str) -> bytes:
    """Return the bytes of a header, which Starlette decodes as Latin-1; raise Unverified for other characters."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Unverified("header is not Latin-1") from error
