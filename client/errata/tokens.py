"""Bearer tokens: their creation, scopes, limits, and lines in the file that ERRATA_TOKENS names.

A token has 256 random bits, so a plain SHA-256 is enough to store it.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum

from errata.errors import InvalidSetting

TOKEN_BYTES = 32
PREFIX = "errata_"  # lets scanners of source code recognize a token that was committed
RESERVED_NAMES = {"retention", "unauthenticated"}  # actors of the audit log that are no tokens
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # name of a token


class Scope(Enum):
    """The authorization that a call requires."""

    OPEN = "open"  # nothing
    SIGNED = "signed"  # the signature of a registry, which the hooks verify themselves
    READ = "read"  # a token of any scope
    REVIEW = "review"  # a token that permits reviews of images
    WRITE = "write"  # a token that permits changes of analyses
    ADMIN = "admin"  # a token that permits changes of the evidence


INCLUDED_SCOPES: Mapping[Scope, Set[Scope]] = {  # by the scope of a token
    Scope.READ: {Scope.READ},
    Scope.REVIEW: {Scope.READ, Scope.REVIEW},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.ADMIN: {Scope.READ, Scope.REVIEW, Scope.WRITE, Scope.ADMIN},
}


@dataclass(frozen=True)
class Quota:
    """The limits of a token. None means the service's limit for all tokens; 0 means no limit."""

    requests: int | None = None  # per minute
    open: int | None = None  # model analyses that have not ended

    def __str__(self) -> str:
        """Return the limits as words for the token's line in the file; empty if the token has no limits of its own."""
        words = [] if self.requests is None else [f"requests={self.requests}/min"]
        return " ".join(words if self.open is None else [*words, f"open={self.open}"])


QUOTA_WORD = re.compile(r"(?:requests=(?P<requests>[0-9]{1,7})/min|open=(?P<open>[0-9]{1,7}))")
DEFAULT_QUOTA = Quota()


def new_token() -> str:
    """Return a new random token."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def line_of(name: str, scope: Scope, token: str, quota: Quota = DEFAULT_QUOTA) -> str:
    """Return the line of a token for the tokens file.

    Args:
        name: Name of the token, which logs show.
        scope: A scope in INCLUDED_SCOPES.
        token: The token, of which the line contains only the SHA-256.
        quota: The limits of the token.

    Raises:
        InvalidSetting: The name is reserved, or contains characters that the file does not allow.
    """
    if name in RESERVED_NAMES:
        raise InvalidSetting(
            f"The token name {name!r} is reserved: the audit log has events of an actor with this name. Choose another "
            "name.",
            field="name",
        )
    if not NAME.fullmatch(name):
        raise InvalidSetting(
            f"Invalid token name {name!r:.80}. Expected letters, digits, and _.- (at most 64).", field="name"
        )
    return f"{name}  {scope.value}  sha256:{digest_of(token)}  {quota}".rstrip()


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
