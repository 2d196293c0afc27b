"""Access: who may do what. One table for every RPC, page, hook and gate, and the tokens that callers show.

A file of tokens has a line a token: a name, a scope (`read`, or `write`, which may read too) and the token's SHA-256:

    # name       scope  digest of the token
    pipeline     write  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

A token is 256 random bits (`new_token`), so that a plain SHA-256 is enough to keep it. Several lines may have one name,
while a token is replaced by another. The file is read anew when it changes. One of comments alone lets nobody in; one
that is empty, gone or doesn't parse leaves the tokens as they were, since it may just be written, and the log says so.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from errata.errors import CertificateMissing, InvalidSetting, PermissionDenied, TokenMissing, TokenUnknown
from errata.tokens import NAME, Scope, digest_of, line_of, new_token

from service.storage import WatchedFile

__all__ = [
    "ALLOW_ALL",
    "CALLER",
    "PERMISSIONS",
    "Authorizer",
    "Scope",
    "Token",
    "Tokens",
    "line_of",
    "new_token",
    "parse_tokens",
]
MAX_FILE = 1 << 20  # bytes of a file of tokens
MAX_TOKEN = 512  # characters
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_log = structlog.get_logger()


_ANALYSES, _CATALOG = "/errata.v1.AnalysisService/", "/errata.v1.CatalogService/"
PERMISSIONS: Mapping[str, Scope] = {
    _ANALYSES + "CreateAnalysis": Scope.WRITE,
    _ANALYSES + "UploadPredictions": Scope.WRITE,
    _ANALYSES + "DeleteAnalysis": Scope.WRITE,
    _ANALYSES + "CancelAnalysis": Scope.WRITE,
    _ANALYSES + "RetryAnalysis": Scope.WRITE,
    _ANALYSES + "ReanalyzeAnalysis": Scope.WRITE,
    _ANALYSES + "GetAnalysis": Scope.READ,
    _ANALYSES + "ListAnalyses": Scope.READ,
    _ANALYSES + "WatchAnalysis": Scope.READ,
    _ANALYSES + "GetBreakdown": Scope.READ,
    _ANALYSES + "ListVerdicts": Scope.READ,
    _ANALYSES + "ExportVerdicts": Scope.READ,
    _ANALYSES + "GetReport": Scope.READ,
    _ANALYSES + "ExplainVerdict": Scope.READ,
    _ANALYSES + "CompareAnalyses": Scope.READ,
    _ANALYSES + "EvaluateGate": Scope.READ,
    _ANALYSES + "GetTrend": Scope.READ,
    _CATALOG + "ListDatasets": Scope.READ,
    _CATALOG + "GetEvidence": Scope.READ,
    _CATALOG + "ListModels": Scope.READ,
    _CATALOG + "ListErrorTypes": Scope.READ,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Scope.READ,
    "/grpc.health.v1.Health/Check": Scope.OPEN,
    "/grpc.health.v1.Health/List": Scope.OPEN,
    "/grpc.health.v1.Health/Watch": Scope.OPEN,
    "/": Scope.READ,
    "/analyses/{id}": Scope.READ,
    "/analyses/{id}/report.html": Scope.READ,
    "/analyses/{id}/errors/{image:path}": Scope.READ,
    "/analyses/{id}/images/{image:path}": Scope.READ,
    "/compare": Scope.READ,
    "/compare/{a}/{b}": Scope.READ,
    "/compare/{a}/{b}/report.html": Scope.READ,
    "/trend": Scope.READ,
    "/v1/gates/{registry_id}/{model:path}/{version}": Scope.READ,
    "/v1/hooks/{kind}/{registry_id}": Scope.SIGNED,
    "/livez": Scope.OPEN,
    "/readyz": Scope.OPEN,
    "/metrics": Scope.OPEN,
}
CALLER: ContextVar[str] = ContextVar("caller", default="")  # the name of the token of the call in hand


@dataclass(frozen=True)
class Token:
    """What is kept of a token."""

    name: str
    scope: Scope  # READ or WRITE
    digest: str = field(repr=False)  # SHA-256, 64 hexadecimal digits


def parse_tokens(text: str) -> Sequence[Token]:
    """Return the tokens of a file's text; raise InvalidSetting with the line that isn't one."""
    result = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest = _DIGEST.fullmatch(words[2]) if len(words) == 3 else None
        if digest is None or not NAME.fullmatch(words[0]) or words[1] not in (Scope.READ.value, Scope.WRITE.value):
            raise InvalidSetting(
                # a token that was written there by mistake is shown to nobody
                f"ERRATA_TOKENS: line {number}: expected NAME read|write sha256:DIGEST, got another form",
                field="ERRATA_TOKENS",
                line=number,
            )
        result.append(Token(words[0], Scope(words[1]), digest[1]))
    return tuple(result)


class Tokens:
    """The tokens of a file, as it is now. `load` first."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, MAX_FILE)
        self._path = path
        self._known: Sequence[Token] = ()
        self._is_gone = False

    def load(self) -> None:
        """Read the file; raise InvalidSetting if it isn't there, holds no token, or isn't one of tokens."""
        self._read()
        if not self._known:
            raise InvalidSetting("ERRATA_TOKENS: expected a token a line, got none", field="ERRATA_TOKENS")

    def find(self, token: str) -> Token | None:
        """Return what is known of a token; every line is compared, in constant time."""
        self._refresh()
        digest, result = digest_of(token), None
        for known in self._known:
            if hmac.compare_digest(digest, known.digest):
                result = known
        return result

    def _refresh(self) -> None:
        """Read a file that has changed."""
        was_gone, self._is_gone = self._is_gone, not self._file.exists()
        if self._is_gone and not was_gone:
            _log.error("the tokens stay as they were: their file is gone", path=str(self._path))
        if not self._file.has_changed():
            return
        try:
            self._read()
        except InvalidSetting as error:
            _log.error("the tokens stay as they were", error=error.message)
        else:
            _log.info("tokens read", names=sorted({item.name for item in self._known}))

    def _read(self) -> None:
        try:
            content = self._file.read()
        except OSError as error:
            raise InvalidSetting(
                f"ERRATA_TOKENS: expected a file of tokens, got {str(self._path)!r:.200}: {error.strerror}",
                field="ERRATA_TOKENS",
            ) from error
        if not content.strip():
            raise InvalidSetting("ERRATA_TOKENS: expected a token a line, got an empty file", field="ERRATA_TOKENS")
        self._known = parse_tokens(content.decode(errors="replace"))


@dataclass(frozen=True)
class Authorizer:
    """What callers must show: a token, where there are any, and a client certificate, where a CA is given."""

    tokens: Tokens | None = None
    certificates: bool = False

    def check(self, what: str, authorization: str, certified: bool) -> str:
        """Return the name of who makes a call, empty where nobody is asked.

        what: an RPC's full method, or the path of an HTTP route; authorization: the header of that name;
        certified: whether the connection has a client certificate that was verified.

        Raise CertificateMissing, TokenMissing, TokenUnknown or PermissionDenied; what isn't in the table is denied.
        """
        need = PERMISSIONS.get(what)
        if need in (Scope.OPEN, Scope.SIGNED):
            return ""
        if self.certificates and not certified:
            raise CertificateMissing("expected a client certificate, got none")
        if need is None:
            raise PermissionDenied("expected a call that is in the table of who may do what, got another")
        if self.tokens is None:
            return ""
        token = self.tokens.find(_presented(authorization))
        if token is None:
            raise TokenUnknown("expected a token that is known here, got another")
        if need is Scope.WRITE and token.scope is not Scope.WRITE:
            raise PermissionDenied(f"expected a token with the scope write, got {token.name!r} with read")
        return token.name


ALLOW_ALL = Authorizer()  # on loopback, or where the operator allows it


def _presented(authorization: str) -> str:
    """Return the token of `Bearer TOKEN`, or the password of `Basic …`; raise TokenMissing if there is none."""
    scheme, _, value = authorization.strip(" \t").partition(" ")
    token = value.strip(" \t")
    if scheme.lower() == "basic":
        token = _password(token)
    elif scheme.lower() != "bearer":
        token = ""
    if not token:
        raise TokenMissing("expected a token, as `Authorization: Bearer TOKEN` or as a password, got none")
    if len(token) > MAX_TOKEN or not token.isascii():
        raise TokenUnknown("expected a token that is known here, got another")
    return token


def _password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
