"""How a service is reached: options, retries by gRPC's own service config, TLS, the token."""

import json
import uuid
from pathlib import Path
from typing import Any

import grpc

from errata.errors import InvalidRequest

REQUEST_ID = "x-request-id"
DEADLINE = 60.0  # seconds of a call that doesn't stream
ATTEMPTS = 4  # of a call that is safe to repeat, while the service is away; gRPC takes at most 5
FIRST_WAIT, LAST_WAIT = 0.2, 2.0  # seconds between attempts, drawn at random below them
SAFE = (  # the same twice does no more than once; CreateAnalysis since the client gives each request an id
    "CreateAnalysis", "GetAnalysis", "ListAnalyses", "CancelAnalysis", "GetBreakdown", "ListVerdicts",
    "CompareAnalyses", "EvaluateGate", "GetTrend", "ExplainVerdict",
)  # fmt: skip
SAFE_CATALOG = ("ListDatasets", "GetEvidence", "ListModels", "ListErrorTypes")


def options(attempts: int = ATTEMPTS) -> list[tuple[str, Any]]:
    """Return the channel's options; with one attempt, nothing is repeated. Raise InvalidRequest beyond 1 to 5."""
    if not 1 <= attempts <= 5:
        raise InvalidRequest(f"expected 1 to 5 attempts, got {attempts}", field="attempts")
    result: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_retries", int(attempts > 1)),
    ]
    if attempts > 1:
        result.append(("grpc.service_config", json.dumps(_service_config(attempts))))
    return result


def check_address(server: str) -> None:
    """Raise InvalidRequest for what can't be a service's address, before gRPC looks such a name up."""
    if "://" in server and not server.startswith("unix://"):
        raise InvalidRequest(f"expected host:port, got {server!r:.120}: an address has no scheme", field="server")


def credentials(
    tls: bool, ca_file: str | Path | None, certificate: str | Path | None = None, key: str | Path | None = None
) -> grpc.ChannelCredentials | None:
    """Return what secures the connection, None for plain text; raise InvalidRequest for a file that can't be read.

    A file secures the connection without `tls` too: who gives a certificate doesn't mean plain text.
    """
    if (certificate is None) != (key is None):
        given, missing = ("certificate", "key") if key is None else ("key", "certificate")
        raise InvalidRequest(f"expected a {missing} beside the {given}, got none", field=missing)
    if ca_file is None and certificate is None:
        return grpc.ssl_channel_credentials() if tls else None
    return grpc.ssl_channel_credentials(
        _content(ca_file, "ca_file"), _content(key, "key"), _content(certificate, "certificate")
    )


def _content(path: str | Path | None, field: str) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"expected PEM in {path}: {error.strerror}", field=field) from error
    if b"-----BEGIN " not in content:
        raise InvalidRequest(f"expected PEM in {path}, got {len(content)} bytes of another form", field=field)
    return content


def metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return what a call carries: an id of its own, by which the service's and the workers' logs name it; the token."""
    call = ((REQUEST_ID, uuid.uuid4().hex[:16]),)
    return (*call, ("authorization", f"Bearer {token}")) if token else call


def id_of(sent: tuple[tuple[str, str], ...]) -> str:
    """Return the id of a call that carries this."""
    return dict(sent)[REQUEST_ID]


def _service_config(attempts: int) -> dict[str, Any]:
    names = [{"service": "errata.v1.AnalysisService", "method": name} for name in SAFE]
    names += [{"service": "errata.v1.CatalogService", "method": name} for name in SAFE_CATALOG]
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": f"{FIRST_WAIT}s",
        "maxBackoff": f"{LAST_WAIT}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {"methodConfig": [{"name": names, "retryPolicy": policy}]}
