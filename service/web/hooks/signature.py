"""Signatures of webhooks: HMAC-SHA256 over the raw bytes, compared in constant time, never before the time is right."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

TOLERANCE = 300  # seconds that a delivery's time may be off; registries retry for minutes with the old one


class Unverified(Exception):
    """Raised when a call doesn't prove that it comes from the registry; says why, for the log alone."""


def check_delivery(delivery: str) -> None:
    """Raise Unverified for a delivery without an id."""
    if not delivery:
        raise Unverified("no delivery id")


def check_time(stamp: str, now: float) -> None:
    """Raise Unverified unless a time in Unix seconds is within the tolerance."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Unverified("no time")
    if abs(now - int(stamp)) > TOLERANCE:
        raise Unverified("stale")


def check_signed(given: str, message: bytes, keys: Sequence[bytes]) -> None:
    """Raise Unverified unless one of the `v1,BASE64` signatures, separated by spaces, is that of one of the keys."""
    expected = [b"v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()) for key in keys]
    result = [part.encode("utf-8", "surrogateescape") for part in given.split(" ") if part.startswith("v1,")]
    if not any(hmac.compare_digest(one, other) for one in result for other in expected):
        raise Unverified("signature")


def check_secret(given: str, secrets: Sequence[bytes]) -> None:
    """Raise Unverified unless what was given is one of the secrets."""
    if not any(hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret) for secret in secrets):
        raise Unverified("secret")


def check_digest(given: str, message: bytes, keys: Sequence[bytes]) -> None:
    """Raise Unverified unless what was given is the message's HMAC by one of the keys, in base64 or 64 hex digits."""
    try:
        digest = bytes.fromhex(given) if len(given) == 64 else base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Unverified("signature") from error
    if not any(hmac.compare_digest(digest, hmac.new(key, message, hashlib.sha256).digest()) for key in keys):
        raise Unverified("signature")


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header by its name, whatever its case; empty where it isn't there."""
    return next((value for key, value in headers.items() if key.lower() == name), "")
