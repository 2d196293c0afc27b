"""Authorization: the scope that each RPC, page, hook, and gate requires, and the file of tokens.

A file of tokens has one line per token: a name, a scope (INCLUDED_SCOPES lists them), and the token's SHA-256 digest:

    # name    scope  digest of the token                                                      limits
    pipeline  write  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  requests=600/min open=20

The limits are optional; the settings ERRATA_TOKEN_REQUESTS and ERRATA_TOKEN_OPEN are their defaults.
A token has 256 random bits (`new_token`), so a SHA-256 digest without salt is sufficient. Several lines may have the
same name, for example while a token is rotated. The file is read again when it changes. If the file has only comments,
all callers are refused. If the file is empty, missing, or invalid, the previous tokens stay valid, since another
program may be updating the file; an error is logged.
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence, Set
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from errata.errors import CertificateMissing, InvalidSetting, PermissionDenied, TokenMissing, TokenUnknown
from errata.tokens import DEFAULT_QUOTA, INCLUDED_SCOPES, NAME, QUOTA_WORD, Quota, Scope, digest_of

from service.caller import Caller
from service.storage import WatchedFile

MAX_TOKEN = 512  # characters
REFUSAL_REASONS = tuple(error.reason for error in (TokenMissing, TokenUnknown, CertificateMissing, PermissionDenied))
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_log = structlog.get_logger()


_ANALYSES, _CATALOG = "/errata.v1.AnalysisService/", "/errata.v1.CatalogService/"
_REVIEWS, _EVIDENCE = "/errata.v1.ReviewService/", "/errata.v1.EvidenceService/"
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
    _ANALYSES + "GetVerdict": Scope.READ,
    _ANALYSES + "ListVerdicts": Scope.READ,
    _ANALYSES + "ListImages": Scope.READ,
    _ANALYSES + "ExportVerdicts": Scope.READ,
    _ANALYSES + "ExplainVerdict": Scope.READ,
    _ANALYSES + "ExplainPrediction": Scope.READ,
    _ANALYSES + "ComputeBreakdown": Scope.READ,
    _ANALYSES + "ComputeSlices": Scope.READ,
    _ANALYSES + "CompareAnalyses": Scope.READ,
    _ANALYSES + "EvaluateGate": Scope.READ,
    _ANALYSES + "ComputeTrend": Scope.READ,
    _ANALYSES + "RenderReport": Scope.READ,
    _CATALOG + "GetDataset": Scope.READ,
    _CATALOG + "ListDatasets": Scope.READ,
    _CATALOG + "GetEvidence": Scope.READ,
    _CATALOG + "ListEvidence": Scope.READ,
    _CATALOG + "GetClass": Scope.READ,
    _CATALOG + "ListClasses": Scope.READ,
    _CATALOG + "GetModel": Scope.READ,
    _CATALOG + "ListModels": Scope.READ,
    _CATALOG + "ListErrorTypes": Scope.READ,
    _REVIEWS + "ListReviewQueue": Scope.READ,
    _REVIEWS + "CreateReview": Scope.REVIEW,
    _REVIEWS + "GetReview": Scope.READ,
    _REVIEWS + "ListReviews": Scope.READ,
    _REVIEWS + "ExportReviews": Scope.READ,
    _REVIEWS + "ImportReviews": Scope.ADMIN,  # the file names the reviewers
    _EVIDENCE + "BuildEvidence": Scope.ADMIN,
    _EVIDENCE + "UploadLabels": Scope.ADMIN,
    _EVIDENCE + "UploadEvidence": Scope.ADMIN,
    _EVIDENCE + "PublishEvidence": Scope.ADMIN,
    _EVIDENCE + "SetDefaultEvidence": Scope.ADMIN,
    _EVIDENCE + "ReanalyzeAnalyses": Scope.ADMIN,
    _EVIDENCE + "ListAuditEvents": Scope.ADMIN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Scope.READ,
    "/grpc.health.v1.Health/Check": Scope.OPEN,
    "/grpc.health.v1.Health/List": Scope.OPEN,
    "/grpc.health.v1.Health/Watch": Scope.OPEN,
    "/": Scope.READ,
    "/analyses/{id}": Scope.READ,
    "/analyses/{id}/report.html": Scope.READ,
    "/analyses/{id}/delete": Scope.WRITE,
    "/analyses/{id}/errors/{image:path}": Scope.READ,
    "/analyses/{id}/images/{image:path}": Scope.READ,
    "/analyses/{id}/images": Scope.READ,
    "/analyses/{id}/map": Scope.READ,
    "/datasets/{dataset}/images/{image:path}": Scope.READ,
    "/static/{name}": Scope.READ,
    "/datasets/{dataset}/thumbnails/{image:path}": Scope.READ,
    "/datasets/{dataset}/pictures/{image:path}": Scope.READ,
    "/compare": Scope.READ,
    "/compare/{a}/{b}": Scope.READ,
    "/compare/{a}/{b}/report.html": Scope.READ,
    "/trend": Scope.READ,
    "/upload": Scope.WRITE,
    "/datasets/{dataset}/evidence": Scope.READ,
    "/datasets/{dataset}/evidence/{digest}": Scope.READ,
    "/datasets/{dataset}/evidence/build": Scope.ADMIN,
    "/datasets/{dataset}/evidence/labels": Scope.ADMIN,
    "/datasets/{dataset}/evidence/{digest}/default": Scope.ADMIN,
    "/datasets/{dataset}/evidence/{digest}/judge": Scope.ADMIN,
    "/review": Scope.READ,
    "/review/{dataset}/{image:path}": Scope.READ,
    "/reviews": Scope.REVIEW,
    "/v1/gates/{registry_id}/{model:path}/{version}": Scope.READ,
    "/v1/hooks/{kind}/{registry_id}": Scope.SIGNED,
    "/livez": Scope.OPEN,
    "/readyz": Scope.OPEN,
    "/metrics": Scope.OPEN,
}
_SCOPES: ContextVar[Set[Scope]] = ContextVar("scopes", default=frozenset(Scope))  # of the last authorized call


def may(scope: Scope) -> bool:
    """Return whether the current caller has a scope. Pages use this to offer only permitted actions."""
    return scope in _SCOPES.get()


@dataclass(frozen=True)
class Token:
    """A token in the file: its name, scope, and digest."""

    name: str
    scope: Scope  # one of INCLUDED_SCOPES
    digest: str = field(repr=False)  # SHA-256, 64 hexadecimal digits
    quota: Quota = DEFAULT_QUOTA


def parse_tokens(text: str) -> Sequence[Token]:
    """Parse the text of a file of tokens.

    Raises:
        InvalidSetting: A line is invalid; the error has its number.
    """
    scopes = {scope.value: scope for scope in INCLUDED_SCOPES}
    tokens = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest = _DIGEST.fullmatch(words[2]) if len(words) >= 3 else None
        quota = _parse_quota(words[3:])
        if digest is None or quota is None or not NAME.fullmatch(words[0]) or words[1] not in scopes:
            raise InvalidSetting(
                # The message does not quote the line, which may have a token in plain text by mistake.
                f"ERRATA_TOKENS: line {number} is invalid. Expected NAME {'|'.join(scopes)} sha256:DIGEST "
                "[requests=N/min] [open=N]; `errata token` prints such a line.",
                field="ERRATA_TOKENS",
                line=number,
            )
        tokens.append(Token(words[0], scopes[words[1]], digest[1], quota))
    return tuple(tokens)


def _parse_quota(words: Sequence[str]) -> Quota | None:
    """Return the limits in the last words of a line; None if a word is invalid or repeated."""
    values: dict[str, int] = {}
    for word in words:
        match = QUOTA_WORD.fullmatch(word)
        if match is None or match.lastgroup is None or match.lastgroup in values:
            return None
        values[match.lastgroup] = int(match[match.lastgroup])
    return Quota(**values)


class Tokens:
    """The tokens of a file, which is read again when it changes. Call `load` first."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
        self._path = path
        self._tokens: Sequence[Token] = ()
        self._is_missing = False

    def load(self) -> None:
        """Read the file.

        Raises:
            InvalidSetting: The file is missing, invalid, or has no token.
        """
        self._read()
        if not self._tokens:
            raise InvalidSetting(
                "ERRATA_TOKENS: the file has no token. Add a line; `errata token` prints one.", field="ERRATA_TOKENS"
            )

    def find(self, token: str) -> Token | None:
        """Return the entry of a token, or None. The comparison with each line takes constant time."""
        self._refresh()
        digest, match = digest_of(token), None
        for candidate in self._tokens:
            if hmac.compare_digest(digest, candidate.digest):
                match = candidate
        return match

    def _refresh(self) -> None:
        """Read the file if it has changed."""
        was_missing, self._is_missing = self._is_missing, not self._file.exists()
        if self._is_missing and not was_missing:
            _log.error("token file missing: previous tokens stay valid", path=str(self._path))
        if not self._file.has_changed():
            return
        try:
            self._read()
        except InvalidSetting as error:
            _log.error("token file invalid: previous tokens stay valid", error=error.message)
        else:
            _log.info("tokens loaded", names=sorted({token.name for token in self._tokens}))

    def _read(self) -> None:
        try:
            content = self._file.read()
        except OSError as error:
            raise InvalidSetting(
                f"ERRATA_TOKENS: can't read the file {str(self._path)!r:.200}: {error.strerror}. Correct "
                "the path, or create the file; `errata token` prints a line for it.",
                field="ERRATA_TOKENS",
            ) from error
        if not content.strip():
            raise InvalidSetting(
                "ERRATA_TOKENS: the file is empty. Add a line; `errata token` prints one.", field="ERRATA_TOKENS"
            )
        self._tokens = parse_tokens(content.decode(errors="replace"))


@dataclass(frozen=True)
class Authorizer:
    """Authenticates and authorizes callers by token and, if a client CA is set, by client certificate."""

    tokens: Tokens | None = None  # None: no token is required
    requires_certificate: bool = False
    default_quota: Quota = DEFAULT_QUOTA  # of tokens without limits of their own
    isolates_owners: bool = False  # whether a token sees only its own analyses, unless its scope is `admin`

    def check(self, target: str, authorization: str, certified: bool) -> Caller:
        """Check a call, and keep the scopes of the caller for `may`.

        Args:
            target: The full method of an RPC, or the path of an HTTP route.
            authorization: The Authorization header; may be empty.
            certified: Whether the connection has a verified client certificate.

        Returns:
            The caller, which has no name if no token is required.

        Raises:
            CertificateMissing: A client certificate is required.
            TokenMissing: A token is required.
            TokenUnknown: The token is not in the file.
            PermissionDenied: The token's scope is insufficient, or the target is not in PERMISSIONS.
        """
        scope = PERMISSIONS.get(target)
        if scope in (Scope.OPEN, Scope.SIGNED):
            return Caller()
        if self.requires_certificate and not certified:
            raise CertificateMissing(
                "Client certificate required. Connect with a certificate of the service's client CA."
            )
        if scope is None:
            raise PermissionDenied("Method not permitted. Check the name of the method.")
        if self.tokens is None:
            _SCOPES.set(frozenset(Scope))
            return Caller()
        token = self.tokens.find(_extract_token(authorization))
        if token is None:
            raise _unknown_token()
        if scope not in INCLUDED_SCOPES[token.scope]:
            raise PermissionDenied(
                f"Token {token.name!r} has the scope {token.scope.value}. Use a token with the scope {scope.value} for "
                "this call."
            )
        _SCOPES.set(INCLUDED_SCOPES[token.scope])
        return self._to_caller(token)

    def _to_caller(self, token: Token) -> Caller:
        is_restricted = self.isolates_owners and token.scope is not Scope.ADMIN
        quota, default = token.quota, self.default_quota
        return Caller(
            token.name,
            token.name if is_restricted else None,
            can_write=Scope.WRITE in INCLUDED_SCOPES[token.scope],
            max_requests=(default.requests if quota.requests is None else quota.requests) or 0,
            max_open=(default.open if quota.open is None else quota.open) or 0,
        )


ALLOW_ALL = Authorizer()


def _unknown_token() -> TokenUnknown:
    return TokenUnknown("Unknown token. Set ERRATA_TOKEN to a token that the service's operator issued.")


def _extract_token(authorization: str) -> str:
    """Return the token of `Bearer TOKEN`, or the password of `Basic …`; raise TokenMissing if there is none."""
    scheme, _, value = authorization.strip(" \t").partition(" ")
    token = value.strip(" \t")
    if scheme.lower() == "basic":
        token = _decode_password(token)
    elif scheme.lower() != "bearer":
        token = ""
    if not token:
        raise TokenMissing(
            "Missing token. Set ERRATA_TOKEN, pass `token` to a client with an address, send the header "
            "`Authorization: Bearer TOKEN`, or log in with the token as the password."
        )
    if len(token) > MAX_TOKEN or not token.isascii():
        raise _unknown_token()
    return token


def _decode_password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
