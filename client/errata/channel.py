"""gRPC channels: options, retries, TLS credentials, and the metadata of calls."""

import json
import re
import ssl
import uuid
from pathlib import Path
from typing import Any

import grpc

from errata.environment import ConnectionSettings
from errata.errors import InvalidRequest
from errata.files import read_file

REQUEST_ID = "x-request-id"
MAX_PEM = 8 << 20  # bytes; the certificate authorities of a system have 250 KB
DEADLINE = 60.0  # seconds for a unary call
ATTEMPTS = 4  # attempts of an idempotent call while the service is unavailable; gRPC allows at most 5
FIRST_BACKOFF, MAX_BACKOFF = 0.2, 2.0  # seconds between attempts; gRPC adds jitter
MAX_TOKEN = 4096  # characters; gRPC servers limit the metadata of a call to 8 KB
_BALANCED_SCHEMES = ("dns:///", "ipv4:", "ipv6:")  # targets that may have several addresses
_TOKEN = re.compile(rf"[\x20-\x7e]{{1,{MAX_TOKEN}}}")
_VARIABLES = {"ca_file": "ERRATA_CA_FILE", "certificate": "ERRATA_CLIENT_CERTIFICATE", "key": "ERRATA_CLIENT_KEY"}
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"  # PKCS #8, and older formats
IDEMPOTENT_METHODS = {  # includes CreateAnalysis and CreateReview, because their requests have IDs
    "errata.v1.AnalysisService": (
        "CreateAnalysis", "GetAnalysis", "ListAnalyses", "CancelAnalysis", "GetVerdict", "ListVerdicts", "ListImages",
        "ExportVerdicts", "ExplainVerdict", "ExplainPrediction", "ComputeBreakdown", "ComputeSlices", "CompareAnalyses",
        "EvaluateGate", "ComputeTrend", "RenderReport",
    ),
    "errata.v1.CatalogService": (
        "GetDataset", "ListDatasets", "GetEvidence", "ListEvidence", "GetClass", "ListClasses", "GetModel",
        "ListModels", "ListErrorTypes",
    ),
    "errata.v1.ReviewService": ("ListReviewQueue", "CreateReview", "GetReview", "ListReviews", "ExportReviews"),
    "errata.v1.EvidenceService": ("BuildEvidence", "SetDefaultEvidence", "ListAuditEvents"),
}  # fmt: skip


def channel_options(server: str, attempts: int = ATTEMPTS) -> list[tuple[str, Any]]:
    """Return the options of a channel.

    Args:
        server: Target of the channel. If the target may have several addresses, such as `dns:///` with the headless
            Service of Kubernetes, calls go to these addresses in turn.
        attempts: Maximum number of attempts of an idempotent call while the service is unavailable, 1 to 5.

    Raises:
        InvalidRequest: If `attempts` is out of range.
    """
    if not 1 <= attempts <= 5:
        raise InvalidRequest(f"attempts is {attempts}. Expected a number from 1 to 5.", field="attempts")
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_retries", int(attempts > 1)),
    ]
    service_config: dict[str, Any] = {}
    if attempts > 1:
        service_config["methodConfig"] = [_retry_config(attempts)]
    if server.startswith(_BALANCED_SCHEMES):
        service_config["loadBalancingConfig"] = [{"round_robin": {}}]
    if service_config:
        options.append(("grpc.service_config", json.dumps(service_config)))
    return options


def channel_credentials(settings: ConnectionSettings) -> grpc.ChannelCredentials | None:
    """Return the credentials of a channel, or None for plain text.

    A certificate file enables TLS even if `settings.tls` is false.

    Raises:
        InvalidRequest: If a file cannot be read or is not PEM, if only one of certificate and key is set, or if the
            key is encrypted or belongs to another certificate.
    """
    if (settings.certificate is None) != (settings.key is None):
        present, missing = ("certificate", "key") if settings.key is None else ("key", "certificate")
        raise InvalidRequest(
            f"The client {present} has no {missing}. Pass both the certificate and the key "
            "(ERRATA_CLIENT_CERTIFICATE and ERRATA_CLIENT_KEY).",
            field=missing,
        )
    if settings.ca_file is None and settings.certificate is None:
        return grpc.ssl_channel_credentials() if settings.tls else None
    contents = [_read_pem(getattr(settings, field), field) for field in ("ca_file", "key", "certificate")]
    if settings.certificate is not None and settings.key is not None:
        _check_key(settings.certificate, settings.key)
    return grpc.ssl_channel_credentials(*contents)


def check_token(token: str | None) -> None:
    """Check that a token can be sent. The message of the error never contains the token.

    Raises:
        InvalidRequest: If the token is too long or contains characters other than printable ASCII.
    """
    if token and _TOKEN.fullmatch(token) is None:
        raise InvalidRequest(
            f"The token ({len(token)} characters) cannot be sent. Expected at most {MAX_TOKEN} printable ASCII "
            "characters. Check ERRATA_TOKEN for line breaks.",
            field="token",
        )


def call_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call: a new request ID, which the logs of the service contain, and the token."""
    request_id = ((REQUEST_ID, uuid.uuid4().hex[:16]),)
    return (*request_id, ("authorization", f"Bearer {token}")) if token else request_id


def request_id_of(metadata: tuple[tuple[str, str], ...]) -> str:
    """Return the request ID in the metadata of a call."""
    return dict(metadata)[REQUEST_ID]


def _read_pem(path: Path | None, field: str) -> bytes | None:
    if path is None:
        return None
    source = f"{field} or {_VARIABLES[field]}"
    try:
        content = read_file(path, MAX_PEM)
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror}. Set {source} to a PEM file.", field=field
        ) from error
    if b"-----BEGIN " not in content:
        raise InvalidRequest(
            f"{path} is not a PEM file ({len(content)} bytes without a PEM header). Set {source} to a PEM file.",
            field=field,
        )
    if field == "key" and any(mark in content for mark in _ENCRYPTED):  # gRPC reports only a failed connection
        raise InvalidRequest(
            f"{path} is encrypted. Set {source} to a decrypted key, for example from `openssl pkey -in KEY -out "
            "DECRYPTED`.",
            field=field,
        )
    return content


def _check_key(certificate: Path, key: Path) -> None:
    """Raise InvalidRequest if a key does not belong to a certificate, for which gRPC has no comprehensible error."""
    if not (certificate.is_file() and key.is_file()):
        return  # a pipe can be read only once
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # accept the same short keys as gRPC
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        is_mismatch = error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")  # another key; another type
        problem = "do not belong together" if is_mismatch else "cannot be used"
        raise InvalidRequest(
            f"The client certificate {certificate} and the key {key} {problem}. Pass a certificate and its unencrypted "
            "key (ERRATA_CLIENT_CERTIFICATE and ERRATA_CLIENT_KEY).",
            field="key",
        ) from error


def _retry_config(attempts: int) -> dict[str, Any]:
    names = [
        {"service": service, "method": method} for service, methods in IDEMPOTENT_METHODS.items() for method in methods
    ]
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": f"{FIRST_BACKOFF}s",
        "maxBackoff": f"{MAX_BACKOFF}s",
        "backoffMultiplier": 2,
        # A service that stops cancels the calls that it has just received. It does not cancel other calls by itself.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    return {"name": names, "retryPolicy": policy}
