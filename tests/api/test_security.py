"""Authorization of all RPCs, pages, webhooks, and gates; TLS, client certificates, and rotation."""

import base64
import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from errata import Client
from errata.errors import InvalidSetting, PermissionDenied, TokenMissing, TokenUnknown, Unavailable
from errata.tokens import INCLUDED_SCOPES, Scope, line_of, new_token
from grpc_health.v1 import health_pb2
from http_answer import send
from pki import Authority, Pair
from prometheus_client import CollectorRegistry
from running_service import Running, Start, start_service

from service.analyses.ports import Ports
from service.api.server import SERVICES
from service.authorization import PERMISSIONS
from service.concurrency import make_upload_limit
from service.domain import Observer
from service.predictions.thumbnails import Thumbnails
from service.telemetry import Metrics
from service.web.gates import Gates
from service.web.hooks.endpoint import Hooks
from service.web.pages import Pages
from service.web.pictures import Pictures
from service.web.upload_page import UploadPage

READER, REVIEWER, WRITER, ADMIN, STRANGER = (new_token() for _ in range(5))
TOKENS = {Scope.READ: READER, Scope.REVIEW: REVIEWER, Scope.WRITE: WRITER, Scope.ADMIN: ADMIN}
NAMES = {Scope.READ: "dashboard", Scope.REVIEW: "alice", Scope.WRITE: "ci", Scope.ADMIN: "root"}
RPCS = sorted(what for what in PERMISSIONS if what.startswith(("/errata.", "/grpc.")))
ROUTES = sorted(set(PERMISSIONS) - set(RPCS))
GUARDED = [what for what in RPCS if PERMISSIONS[what] is not Scope.OPEN]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "tokens"
    path.write_text("\n".join(line_of(NAMES[scope], scope, token) for scope, token in TOKENS.items()))
    return path


@pytest.fixture(scope="module")
def token_service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, tokens: Path) -> Iterator[Running]:
    """A service that requires tokens."""

    with start_service(data_dir, tmp_path_factory.mktemp("archive"), tokens=tokens) as service:
        yield service


def code_of_call(address: str, method: str, token: str | None) -> grpc.StatusCode:
    """Call a method with one empty message; return the status code."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(method, None, None)(iter([b""]), metadata=metadata, timeout=10)
        try:
            next(call, None)
            call.cancel()
        except grpc.RpcError as error:
            return cast(grpc.Call, error).code()
    return grpc.StatusCode.OK


def get(address: str, path: str, method: str = "GET", authorization: str = "", tls: Any = None) -> tuple[int, Any]:
    """Return the status and headers of a response."""
    connection = (
        http.client.HTTPConnection(address, timeout=10)
        if tls is None
        else http.client.HTTPSConnection(address, timeout=10, context=tls)
    )
    with closing(connection):
        connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers


def path_of(route: str) -> str:
    return (
        route.replace("{model:path}", "m")
        .replace("{image:path}", "i")
        .replace("{kind}", "mlflow")
        .replace("{registry_id}", "prod")
        .replace("{", "")
        .replace("}", "")
    )


def method_of(route: str) -> str:
    has_only_form = PERMISSIONS[route] in (Scope.SIGNED, Scope.ADMIN) or route == "/reviews"
    return "POST" if has_only_form else "GET"


def basic(token: str) -> str:
    return "Basic " + base64.b64encode(f"me:{token}".encode()).decode()


# the permissions are complete


def test_the_permissions_include_every_rpc() -> None:
    methods = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
    health = {
        f"/{service.full_name}/{method.name}"
        for service in health_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    assert {what for what in RPCS if what.startswith("/errata.")} == methods
    assert {what for what in RPCS if what.startswith("/grpc.health.")} == health


def test_the_permissions_include_every_route() -> None:
    ports, metrics = cast(Ports, SimpleNamespace(observer=Observer(), stores=None)), Metrics(CollectorRegistry())
    pages = Pages(ports, metrics)
    families = (
        pages,
        Pictures(Thumbnails({})),
        Gates(ports, ()),
        Hooks(ports, {}, metrics),
        UploadPage(ports, make_upload_limit(1), pages.evidence.refuse_labels),
    )
    routes = {route.path for family in families for route in family.routes()}

    assert set(ROUTES) == routes | {"/livez", "/readyz", "/metrics"}


# every call


@pytest.mark.parametrize("method", GUARDED)
def test_an_rpc_without_a_valid_token_is_rejected(token_service: Running, method: str) -> None:
    assert code_of_call(token_service.addresses.grpc, method, None) is grpc.StatusCode.UNAUTHENTICATED
    assert code_of_call(token_service.addresses.grpc, method, STRANGER) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", GUARDED)
def test_an_rpc_needs_the_scope_in_the_permissions(token_service: Running, method: str) -> None:
    refused = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

    for scope, token in TOKENS.items():
        code = code_of_call(token_service.addresses.grpc, method, token)
        assert (code in refused) == (PERMISSIONS[method] not in INCLUDED_SCOPES[scope]), scope


@pytest.mark.parametrize("method", sorted(set(RPCS) - set(GUARDED)))
def test_health_needs_no_token(token_service: Running, method: str) -> None:
    code = code_of_call(token_service.addresses.grpc, method, None)

    assert code is (grpc.StatusCode.UNIMPLEMENTED if method.endswith("/List") else grpc.StatusCode.OK)


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_needs_the_scope_in_the_permissions(token_service: Running, route: str) -> None:
    address, path, method = token_service.addresses.http, path_of(route), method_of(route)
    without, headers = get(address, path, method)

    if PERMISSIONS[route] is Scope.OPEN:
        assert without == 200
    elif PERMISSIONS[route] is Scope.SIGNED:
        assert without == 404  # no registry is configured; webhooks need a signature instead of a token
    else:
        assert without == 401
        assert headers["WWW-Authenticate"].startswith("Bearer" if route.startswith("/v1/") else "Basic")
        for authorization in (f"Bearer {STRANGER}", basic(STRANGER), basic("")):
            assert get(address, path, method, authorization)[0] == 401
        for authorization in (f"Bearer {READER}", basic(READER)):
            assert get(address, path, method, authorization)[0] != 401
            is_refused = get(address, path, method, authorization)[0] == 403
            assert is_refused == (PERMISSIONS[route] is not Scope.READ)
        if method == "GET":
            assert get(address, path, method, basic(WRITER))[0] not in (401, 403)


@pytest.mark.parametrize("path", ["/analyses/x/delete", "/upload"])
def test_a_form_needs_the_scope_write(token_service: Running, path: str) -> None:
    address = token_service.addresses.http

    assert get(address, path, "POST")[0] == 401
    assert get(address, path, "POST", basic(READER))[0] == 403
    assert get(address, path, "POST", basic(WRITER))[0] == 403, "it does not come from a page of the service"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PROPFIND"])
def test_other_http_methods_are_rejected(token_service: Running, method: str) -> None:
    for path in ("/", "/analyses/x", "/v1/gates/prod/m/1"):
        assert get(token_service.addresses.http, path, method)[0] in (401, 405)


@pytest.mark.parametrize(
    "path", ["//", "/./", "/analyses/", "/ANALYSES/x", "/%61nalyses/x", "/livez/../", "/metrics/x"]
)
def test_other_spellings_of_a_path_are_rejected(token_service: Running, path: str) -> None:
    assert get(token_service.addresses.http, path)[0] in (401, 404)


def test_the_token_name_is_the_owner_of_an_analysis(token_service: Running, demo_csv: bytes, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(demo_csv)
    with Client(token_service.addresses.grpc, WRITER) as client:
        analysis = client.upload(file, dataset="demo")
    with Client(token_service.addresses.grpc, READER) as client:
        assert client.get(analysis.name).owner == "ci"
        with pytest.raises(PermissionDenied):
            client.delete(analysis.name)
    with Client(token_service.addresses.grpc) as client, pytest.raises(TokenMissing):
        client.get(analysis.name)
    with Client(token_service.addresses.grpc, STRANGER) as client, pytest.raises(TokenUnknown):
        client.get(analysis.name)


def test_a_rejected_upload_ends_before_its_file_is_received(token_service: Running, tmp_path: Path) -> None:
    file = tmp_path / "big.csv"
    file.write_bytes(b"x" * (8 << 20))

    with Client(token_service.addresses.grpc, READER) as client, pytest.raises(PermissionDenied):
        client.upload(file, dataset="demo")


@pytest.mark.parametrize(
    ("method", "scope", "content", "code"),
    [
        ("ListAnalyses", Scope.READ, b"", grpc.StatusCode.OK),
        ("GetAnalysis", Scope.READ, b"\n\x0danalyses/none", grpc.StatusCode.NOT_FOUND),
        ("GetAnalysis", Scope.READ, b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("DeleteAnalysis", Scope.READ, b"", grpc.StatusCode.PERMISSION_DENIED),
        ("GetAnalysis", None, b"", grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_each_response_has_the_request_id(
    token_service: Running, method: str, scope: Scope | None, content: bytes, code: grpc.StatusCode
) -> None:
    token = STRANGER if scope is None else TOKENS[scope]
    metadata = (("authorization", f"Bearer {token}"), ("x-request-id", "mine-1"))
    with grpc.insecure_channel(token_service.addresses.grpc) as channel:
        call = channel.unary_unary(f"/errata.v1.AnalysisService/{method}", None, None).future(content, 10, metadata)

        assert call.code() is code
        trailers = dict(call.trailing_metadata())
        assert trailers["x-request-id"] == "mine-1"
        assert ("grpc-status-details-bin" in trailers) == (code is not grpc.StatusCode.OK)


def test_the_series_of_rejected_calls_exist_before_the_first_one(start: Start, tokens: Path) -> None:
    """Prometheus computes no increase for the first sample of a series, so the alert would miss the first burst."""
    registries = {"any": {"kind": "mlflow", "url": "http://127.0.0.1:9", "secrets": ["a secret of the tests"]}}
    with start(tokens=tokens, registries=registries) as service:
        text = send(service.addresses.http, "GET", "/metrics").text

    for reason in ("TOKEN_MISSING", "TOKEN_UNKNOWN", "CERTIFICATE_MISSING", "SCOPE_MISSING"):
        for edge in ("grpc", "http"):
            assert f'errata_refused_calls_total{{edge="{edge}",reason="{reason}"}} 0.0' in text
    assert 'errata_refused_calls_total{edge="hook",reason="UNVERIFIED"} 0.0' in text


def test_rejected_calls_are_counted_by_reason(token_service: Running) -> None:
    code_of_call(token_service.addresses.grpc, GUARDED[0], None)
    get(token_service.addresses.http, "/")
    code_of_call(
        token_service.addresses.grpc, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", STRANGER
    )
    text = send(token_service.addresses.http, "GET", "/metrics").text

    for edge, reason in (("grpc", "TOKEN_MISSING"), ("http", "TOKEN_MISSING"), ("grpc", "TOKEN_UNKNOWN")):
        assert re.search(rf'errata_refused_calls_total{{edge="{edge}",reason="{reason}"}} [1-9]', text)


def test_tokens_are_rotated_without_a_restart(start: Start, tmp_path: Path) -> None:
    file, old, new = tmp_path / "tokens", new_token(), new_token()
    file.write_text(line_of("ci", Scope.WRITE, old))
    with start(tokens=file) as service:
        with Client(service.addresses.grpc, old) as before, Client(service.addresses.grpc, new) as after:
            before.error_types()
            with pytest.raises(TokenUnknown):
                after.error_types()
            file.write_text(line_of("ci", Scope.WRITE, new))
            after.error_types()
            with pytest.raises(TokenUnknown):
                before.error_types()
        assert get(service.addresses.http, "/", authorization=basic(new))[0] == 200


# limits


def test_a_compressed_message_above_the_size_limit_is_rejected(token_service: Running) -> None:
    with grpc.insecure_channel(token_service.addresses.grpc, compression=grpc.Compression.Gzip) as channel:
        call = channel.unary_unary("/errata.v1.AnalysisService/GetAnalysis", None, None)
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(200 << 20), metadata=(("authorization", f"Bearer {READER}"),), timeout=30)  # 200 KB compressed

    assert cast(grpc.Call, refused.value).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with Client(token_service.addresses.grpc, READER) as client:
        assert client.is_serving()


# beyond loopback


def test_beyond_loopback_tokens_are_required(start: Start, tokens: Path) -> None:
    for variable in ("grpc_address", "http_address"):
        with pytest.raises(InvalidSetting, match=variable.upper()), start(**{variable: "0.0.0.0:0"}):
            pass
        with start(**{variable: "0.0.0.0:0"}, tokens=tokens):
            pass


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def server(authority: Authority) -> Pair:
    return authority.issue("server")


def tls_context(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def localhost_address(address: str) -> str:
    return address.replace("127.0.0.1", "localhost")


def tls_settings(pair: Pair, **more: object) -> dict[str, object]:
    return {"tls_certificate": pair.certificate, "tls_key": pair.key} | more


def certificate_serial(address: str, authority: Authority) -> int:
    """Return the serial number of a listener's current certificate."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        tls_context(authority).wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        result = secured.getpeercert()
        assert result is not None
        return int(str(result["serialNumber"]), 16)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_with_a_certificate_both_listeners_require_tls(
    start: Start, authority: Authority, server: Pair, tokens: Path
) -> None:
    with start(**tls_settings(server, tokens=tokens)) as service:
        grpc_address, http_address = (
            localhost_address(service.addresses.grpc),
            localhost_address(service.addresses.http),
        )
        with Client(grpc_address, READER, ca_file=authority.file) as client:
            assert client.is_serving()
            assert len(client.error_types()) == 8
        with Client(grpc_address, READER) as client:
            assert not client.is_serving()
        assert get(http_address, "/livez", tls=tls_context(authority))[0] == 200
        assert get(http_address, "/", authorization=basic(READER), tls=tls_context(authority))[0] == 200
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            get(http_address, "/livez")
        old = ssl.create_default_context(cafile=str(authority.file))
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            get(http_address, "/livez", tls=old)


def test_a_certificate_is_replaced_without_a_restart(start: Start, authority: Authority, server: Pair) -> None:
    with start(**tls_settings(server)) as service:
        before = {
            address: certificate_serial(address, authority)
            for address in (service.addresses.grpc, service.addresses.http)
        }
        authority.issue("server", into=server)

        for address, serial in before.items():
            assert certificate_serial(address, authority) != serial
        with Client(localhost_address(service.addresses.grpc), ca_file=authority.file) as client:
            assert client.is_serving()


def test_an_incomplete_replacement_keeps_the_previous_certificate(
    start: Start, authority: Authority, server: Pair
) -> None:
    with start(**tls_settings(server)) as service:
        before = certificate_serial(service.addresses.http, authority)
        server.key.write_text("no key")

        assert certificate_serial(service.addresses.http, authority) == before
        assert certificate_serial(service.addresses.grpc, authority) == before


@pytest.mark.parametrize(
    "make_key",
    [partial(rsa.generate_private_key, 65537, 2048), partial(ec.generate_private_key, ec.SECP384R1())],
    ids=["RSA", "P-384"],
)
def test_certificates_with_usable_key_types_serve_calls_and_pages(
    start: Start, authority: Authority, make_key: Callable[[], CertificateIssuerPrivateKeyTypes]
) -> None:
    with start(**tls_settings(authority.issue("server", key=make_key()))) as service:
        with Client(localhost_address(service.addresses.grpc), ca_file=authority.file) as client:
            assert client.is_serving()
        assert get(localhost_address(service.addresses.http), "/livez", tls=tls_context(authority))[0] == 200


@pytest.mark.parametrize(
    ("key_type", "make_key"),
    [
        ("ed25519", ed25519.Ed25519PrivateKey.generate),
        ("ed448", ed448.Ed448PrivateKey.generate),
        ("secp521r1", partial(ec.generate_private_key, ec.SECP521R1())),
        ("secp256k1", partial(ec.generate_private_key, ec.SECP256K1())),
    ],
)
def test_a_certificate_with_a_key_type_that_grpc_cannot_use_is_refused(
    start: Start,
    authority: Authority,
    server: Pair,
    key_type: str,
    make_key: Callable[[], CertificateIssuerPrivateKeyTypes],
) -> None:
    unusable = authority.issue("unusable", key=make_key())
    with (
        pytest.raises(InvalidSetting, match=rf"type {key_type}\. Use one of RSA, P-256, P-384"),
        start(**tls_settings(unusable)),
    ):
        pass
    with start(**tls_settings(server)) as service:
        before = certificate_serial(service.addresses.http, authority)
        authority.issue("server", into=server, key=make_key())

        assert certificate_serial(service.addresses.http, authority) == before
        assert certificate_serial(service.addresses.grpc, authority) == before


def test_an_encrypted_key_is_refused_without_a_prompt(start: Start, authority: Authority, server: Pair) -> None:
    encrypted = authority.issue("encrypted", passphrase=b"secret")
    with pytest.raises(InvalidSetting, match="ERRATA_TLS_KEY: the key is encrypted"), start(**tls_settings(encrypted)):
        pass
    with start(**tls_settings(server)) as service:
        before = certificate_serial(service.addresses.http, authority)
        authority.issue("server", into=server, passphrase=b"secret")

        assert certificate_serial(service.addresses.http, authority) == before
        assert certificate_serial(service.addresses.grpc, authority) == before


def test_with_a_client_ca_callers_need_a_certificate(
    start: Start, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    clients, strangers = Authority(tmp_path / "clients", "clients"), Authority(tmp_path / "strangers", "strangers")
    mine, theirs = clients.issue("me"), strangers.issue("they")
    with start(**tls_settings(server, tls_client_ca=clients.file)) as service:
        grpc_address, http_address = (
            localhost_address(service.addresses.grpc),
            localhost_address(service.addresses.http),
        )
        for pair, served in ((mine, True), (theirs, False), (None, False)):
            pair_options = {} if pair is None else {"certificate": pair.certificate, "key": pair.key}
            with Client(grpc_address, ca_file=authority.file, attempts=1, **pair_options) as client:  # type: ignore[arg-type]
                assert client.is_serving() == served

        assert get(http_address, "/", tls=tls_context(authority, mine))[0] == 200
        assert get(http_address, "/", tls=tls_context(authority))[0] == 401
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            get(http_address, "/", tls=tls_context(authority, theirs))
        for path in ("/livez", "/readyz", "/metrics"):  # probes and scrapers have no certificate
            assert get(http_address, path, tls=tls_context(authority))[0] == 200
        assert get(http_address, "/v1/hooks/mlflow/prod", "POST", tls=tls_context(authority))[0] == 404


def test_the_client_ca_is_replaced_without_a_restart(
    start: Start, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    first, second = Authority(tmp_path / "first", "first"), Authority(tmp_path / "second", "second")
    old, new = first.issue("me"), second.issue("me")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(first.file.read_bytes())
    with start(**tls_settings(server, tls_client_ca=trusted)) as service:
        for valid, other in ((old, new), (new, old)):
            for pair, served in ((valid, True), (other, False)):
                with Client(
                    localhost_address(service.addresses.grpc),
                    ca_file=authority.file,
                    attempts=1,
                    certificate=pair.certificate,
                    key=pair.key,
                ) as client:
                    assert client.is_serving() == served
            assert get(localhost_address(service.addresses.http), "/", tls=tls_context(authority, valid))[0] == 200
            with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
                get(localhost_address(service.addresses.http), "/", tls=tls_context(authority, other))
            trusted.write_bytes(second.file.read_bytes())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_sessions_end_when_the_client_ca_is_replaced(
    start: Start, authority: Authority, server: Pair, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    first, second = Authority(tmp_path / "first", "first"), Authority(tmp_path / "second", "second")
    mine = first.issue("me")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(first.file.read_bytes())
    context = tls_context(authority, mine)
    context.minimum_version = context.maximum_version = version

    def call(address: str, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        host, _, port = address.rpartition(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as secured,
        ):
            secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = secured.recv(64)
            if not answer:  # the connection was closed before the client read why
                raise ConnectionResetError
            return answer.split(b"\r\n")[0], secured.session

    with start(**tls_settings(server, tls_client_ca=trusted)) as service:
        address = localhost_address(service.addresses.http)
        if version is ssl.TLSVersion.TLSv1_2:  # clients can resume these sessions
            with pytest.raises((ssl.SSLError, OSError)):
                call(address, None)
            return
        answer, session = call(address, None)
        assert answer.endswith(b"200 OK")
        trusted.write_bytes(second.file.read_bytes())
        with pytest.raises((ssl.SSLError, OSError)):
            call(address, session)


def test_mismatched_certificate_files_prevent_the_start(
    start: Start, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    other = authority.issue("other")
    wrong = [
        {"tls_certificate": server.certificate},
        {"tls_key": server.key},
        {"tls_client_ca": authority.file},
        tls_settings(Pair(server.certificate, other.key)),
        tls_settings(Pair(tmp_path / "missing.pem", server.key)),
        tls_settings(server, tls_client_ca=server.key),
    ]
    for settings in wrong:
        with pytest.raises(InvalidSetting, match="ERRATA_TLS_"), start(**settings):
            pass


def test_a_file_that_only_grpc_refuses_is_not_reported_as_an_address_in_use(
    start: Start, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    (tmp_path / "clients.pem").write_bytes(authority.revocation_list())  # Python accepts it as the file of a CA
    with (
        pytest.raises(Unavailable, match="gRPC cannot use a file of the ERRATA_TLS_ variables"),
        start(**tls_settings(server, tls_client_ca=tmp_path / "clients.pem")),
    ):
        pass


def test_a_rejected_gate_request_has_the_format_of_gates(token_service: Running) -> None:
    body = send(token_service.addresses.http, "GET", "/v1/gates/prod/m/1").json

    assert body["gate"]["decision"] == "error"
    assert "token" in body["gate"]["reasons"][0]
