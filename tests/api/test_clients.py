"""Both clients over real sockets: results, errors, TLS, tokens, retries, and data frames."""

import asyncio
import errno
import io
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from errata import AsyncClient, Client, ConnectionFailed, errors, pb
from errata.v1 import analysis_service_pb2_grpc, catalog_service_pb2_grpc
from google.protobuf import json_format
from google.protobuf.json_format import MessageToDict
from running_service import MODEL, Running, Start, wait_for_metric

from service.evidence.bundle import Bundle


class Recorder(catalog_service_pb2_grpc.CatalogServiceServicer):
    """A service that is unavailable for the first calls, and records the metadata of all calls."""

    def __init__(self, unavailable: int = 0) -> None:
        self.unavailable = unavailable
        self.code = grpc.StatusCode.UNAVAILABLE
        self.calls: list[dict[str, str]] = []

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        self.calls.append(dict(context.invocation_metadata()))
        if len(self.calls) <= self.unavailable:
            context.abort(self.code, "try later")
        return pb.ListModelsResponse()


class Exporter(analysis_service_pb2_grpc.AnalysisServiceServicer):
    """A service that is unavailable for the first two exports, and after the first chunk of the third."""

    num_calls = 0

    def ExportVerdicts(
        self, request: pb.ExportVerdictsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.FileChunk]:
        self.num_calls += 1
        if self.num_calls > 2:
            yield pb.FileChunk(chunk=b"first")
        context.abort(grpc.StatusCode.UNAVAILABLE, "try later")


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, str]]:
    server, recorder = grpc.server(ThreadPoolExecutor(2)), Recorder(unavailable=2)
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(recorder, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield recorder, f"127.0.0.1:{port}"
    server.stop(None)


def make_certificate(folder: Path, end: timedelta) -> tuple[Path, bytes, bytes]:
    """Return a self-signed certificate of 127.0.0.1 as a file, and with its key as PEM.

    Args:
        folder: The folder of the file.
        end: Time from now at which the certificate expires.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "errata")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    file = folder / "ca.pem"
    file.write_bytes(pem)
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return file, pem, key.private_bytes(serialization.Encoding.PEM, form, encryption)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    """A valid certificate."""
    return make_certificate(tmp_path_factory.mktemp("tls"), timedelta(days=1))


@pytest.fixture
def tls_service(certificate: tuple[Path, bytes, bytes]) -> Iterator[tuple[Recorder, str]]:
    server, recorder = grpc.server(ThreadPoolExecutor(2)), Recorder()
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(recorder, server)
    _, pem, key = certificate
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, pem)]))
    server.start()
    yield recorder, f"127.0.0.1:{port}"
    server.stop(None)


# retries and tokens


def test_a_call_that_is_safe_to_repeat_is_repeated(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    with Client(address) as client:
        client.models()
    assert len(service.calls) == 3


def test_calls_of_a_target_with_two_addresses_go_to_both() -> None:
    servers, recorders, ports = [grpc.server(ThreadPoolExecutor(1)) for _ in range(2)], [Recorder(), Recorder()], []
    for server, recorder in zip(servers, recorders, strict=True):
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(recorder, server)
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        server.start()

    with Client(f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}") as client:
        for _ in range(200):  # the first calls may find only one connection
            client.models()

    assert all(len(recorder.calls) > 50 for recorder in recorders)
    for server in servers:
        server.stop(None)


def test_a_target_with_a_name_in_dns_is_called(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    with Client(f"dns:///{address.replace('127.0.0.1', 'localhost')}") as client:
        client.models()
    assert len(service.calls) == 3  # repeated like calls of other targets


def test_a_call_that_the_service_cancels_is_repeated(recorder: tuple[Recorder, str]) -> None:
    """The service cancels the calls that it receives in the moment in which it stops."""
    service, address = recorder
    service.code = grpc.StatusCode.CANCELLED
    with Client(address) as client:
        client.models()
    assert len(service.calls) == 3


def test_a_stream_is_repeated_only_before_its_first_message() -> None:
    server, exporter = grpc.server(ThreadPoolExecutor(1)), Exporter()
    analysis_service_pb2_grpc.add_AnalysisServiceServicer_to_server(exporter, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    with Client(f"127.0.0.1:{port}") as client:
        chunks = client.export("analyses/a")
        assert next(chunks) == b"first"
        with pytest.raises(errors.Unavailable, match="try later"):
            next(chunks)

    assert exporter.num_calls == 3
    server.stop(None)


def test_with_one_attempt_no_call_is_repeated(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    with Client(address, attempts=1) as client, pytest.raises(errors.Unavailable, match="try later") as raised:
        client.models()
    assert len(service.calls) == 1
    assert not isinstance(raised.value, ConnectionFailed)


def test_attempts_are_bounded() -> None:
    with pytest.raises(errors.InvalidRequest, match=r"attempts is 6\. Expected a number from 1 to 5"):
        Client("127.0.0.1:1", attempts=6)


async def test_the_async_client_repeats_calls_and_sends_the_token(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    async with AsyncClient(address, token="t0k3n") as client:
        await client.models()
    assert [call["authorization"] for call in service.calls] == ["Bearer t0k3n"] * 3


def test_without_arguments_the_environment_configures_a_client(
    recorder: tuple[Recorder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, address = recorder
    monkeypatch.setenv("ERRATA_SERVER", address)
    monkeypatch.setenv("ERRATA_TOKEN", "from-environment")
    with Client() as client:
        client.models()
    with Client(token="explicit") as client:
        client.models()
    assert [call["authorization"] for call in service.calls[-2:]] == ["Bearer from-environment", "Bearer explicit"]


def test_the_token_of_the_environment_is_not_sent_to_an_explicit_server(
    recorder: tuple[Recorder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, address = recorder
    monkeypatch.setenv("ERRATA_SERVER", "errata.example:443")
    monkeypatch.setenv("ERRATA_TOKEN", "from-environment")
    monkeypatch.setenv("ERRATA_TLS", "true")
    with Client(address) as client:
        client.models()
    assert "authorization" not in service.calls[-1]


# TLS


def test_tls_with_an_own_certificate_authority(
    tls_service: tuple[Recorder, str], certificate: tuple[Path, bytes, bytes]
) -> None:
    service, address = tls_service
    with Client(address, token="t0k3n", ca_file=certificate[0]) as client:
        client.models()
    assert service.calls[0]["authorization"] == "Bearer t0k3n"


async def test_tls_of_the_async_client(
    tls_service: tuple[Recorder, str], certificate: tuple[Path, bytes, bytes]
) -> None:
    service, address = tls_service
    async with AsyncClient(address, ca_file=str(certificate[0])) as client:
        await client.models()
    assert len(service.calls) == 1


def test_a_certificate_that_is_not_trusted_is_rejected(tls_service: tuple[Recorder, str]) -> None:
    service, address = tls_service
    with Client(address, tls=True, attempts=1) as client, pytest.raises(ConnectionFailed, match="is not trusted"):
        client.models()
    assert service.calls == []


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"missing\.pem cannot be read"):
        Client("127.0.0.1:1", ca_file=tmp_path / "missing.pem")


def test_a_certificate_needs_its_key_and_both_are_pem(tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    file.write_bytes(b"\x30\x82 no PEM")
    with pytest.raises(errors.InvalidRequest, match="The client certificate has no key"):
        Client("127.0.0.1:1", certificate=file)
    with pytest.raises(errors.InvalidRequest, match="The client key has no certificate"):
        Client("127.0.0.1:1", key=file)
    with pytest.raises(errors.InvalidRequest, match=r"some\.pem is not a PEM file"):
        Client("127.0.0.1:1", ca_file=file)


async def test_a_call_of_a_closed_client_is_an_error(running: Running) -> None:
    client, async_client = Client(running.addresses.grpc), AsyncClient(running.addresses.grpc)
    client.models()
    client.close()
    await async_client.close()

    for call in (client.is_serving, client.models, lambda: client.upload(io.BytesIO(), "demo")):
        with pytest.raises(RuntimeError, match="the client is closed"):
            call()
    for coroutine in (async_client.is_serving(), async_client.models(), async_client.wait("analyses/a")):
        with pytest.raises(RuntimeError, match="the client is closed"):
            await coroutine


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A socket that accepts connections but does not answer."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.setblocking(False)
        yield silent


@pytest.mark.parametrize("method", ["models", "watch", "check", "analyze_all"])
async def test_a_call_during_which_the_client_is_closed_fails_as_cancelled(
    silent_server: socket.socket, method: str
) -> None:
    client = AsyncClient(f"127.0.0.1:{silent_server.getsockname()[1]}")

    async def run() -> None:
        if method == "watch":
            await anext(client.watch("analyses/a"))
        elif method == "check":
            await client.check(30)
        elif method == "analyze_all":
            await client.analyze_all(MODEL)
        else:
            await client.models()

    call = asyncio.create_task(run())
    connection, _ = await asyncio.get_running_loop().sock_accept(silent_server)
    with connection:
        await client.close()
        with pytest.raises(errors.Cancelled, match="The client was closed during the call"):
            await call


async def test_a_task_that_is_cancelled_before_its_client_is_closed_stays_cancelled(
    silent_server: socket.socket,
) -> None:
    client = AsyncClient(f"127.0.0.1:{silent_server.getsockname()[1]}")
    call = asyncio.create_task(client.models())
    connection, _ = await asyncio.get_running_loop().sock_accept(silent_server)
    with connection:
        call.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_a_key_of_another_certificate_is_refused_before_the_connection(
    certificate: tuple[Path, bytes, bytes], tmp_path: Path
) -> None:
    file, _, key = certificate
    _, _, other_key = make_certificate(tmp_path, timedelta(days=1))
    own, other = tmp_path / "own.key", tmp_path / "other.key"
    own.write_bytes(key)
    other.write_bytes(other_key)

    Client("127.0.0.1:1", certificate=file, key=own).close()
    with pytest.raises(errors.InvalidRequest, match=r"the key \S+other\.key do not belong together\. Pass"):
        Client("127.0.0.1:1", certificate=file, key=other)
    rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    other.write_bytes(rsa_key)
    with pytest.raises(errors.InvalidRequest, match=r"the key \S+other\.key do not belong together\. Pass"):
        Client("127.0.0.1:1", certificate=file, key=other)
    with pytest.raises(errors.InvalidRequest, match=r"own\.key and the key \S+ cannot be used\. Pass"):
        Client("127.0.0.1:1", certificate=own, key=file)


def test_an_expired_certificate_of_a_server_is_reported_with_the_remedy(tmp_path: Path) -> None:
    file, pem, key = make_certificate(tmp_path, timedelta(hours=-1))
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, pem)]))
    server.start()
    with (
        Client(f"127.0.0.1:{port}", ca_file=file, attempts=1) as client,
        pytest.raises(ConnectionFailed, match=r"has expired\. Ask the operator to renew it"),
    ):
        client.models()
    server.stop(None)


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused(
    certificate: tuple[Path, bytes, bytes], tmp_path: Path, form: serialization.PrivateFormat
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "my.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    with pytest.raises(errors.InvalidRequest, match=r"my\.key is encrypted"):
        Client("127.0.0.1:1", certificate=certificate[0], key=tmp_path / "my.key")


# connections that fail


async def test_a_missing_service_is_reported_with_its_address_and_the_remedy() -> None:
    message = r"No service at 127\.0\.0\.1:1\. Start one with 'errata serve --local', or use another address\."
    with Client("127.0.0.1:1", deadline=5) as client, pytest.raises(ConnectionFailed, match=message):
        client.datasets()
    async with AsyncClient("127.0.0.1:1", deadline=5) as client:
        with pytest.raises(ConnectionFailed, match=message):
            await client.datasets()
        assert not await client.is_serving()


def test_the_http_port_is_recognized(running: Running) -> None:
    with Client(running.addresses.http, attempts=1) as client, pytest.raises(ConnectionFailed, match="not a gRPC port"):
        client.models()


def test_tls_to_a_plain_text_port_is_recognized(running: Running) -> None:
    with (
        Client(running.addresses.grpc, tls=True, attempts=1) as client,
        pytest.raises(ConnectionFailed, match="does not use TLS"),
    ):
        client.models()


def test_tls_to_a_plain_text_port_of_a_name_with_two_addresses_is_recognized(running: Running) -> None:
    address = running.addresses.grpc.replace("127.0.0.1", "localhost")
    for _ in range(10):  # the order in which gRPC tries 127.0.0.1 and [::1] changes
        with Client(address, tls=True, attempts=1) as client:
            for call in (client.models, client.check):
                with pytest.raises(ConnectionFailed, match="does not use TLS"):
                    call()


def test_plain_text_to_a_tls_port_is_recognized(tls_service: tuple[Recorder, str]) -> None:
    with Client(tls_service[1], attempts=1) as client, pytest.raises(ConnectionFailed, match="connect with TLS"):
        client.models()


def test_a_server_that_does_not_answer_is_no_failed_connection() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, deadline=0.5) as client, pytest.raises(errors.Unavailable, match="in time") as raised:
            client.models()
    assert not isinstance(raised.value, ConnectionFailed)


class Slow(io.RawIOBase):
    """Content that has a first part, and no end until an event is set."""

    def __init__(self, end: threading.Event, start_service: threading.Event) -> None:
        self.end, self.start_service = end, start_service

    def read(self, size: int = -1) -> bytes:
        if not self.start_service.is_set():
            self.start_service.set()
            return b"file_name,top1\n"
        self.end.wait(30)
        return b""


def test_error_of_an_upload_during_shutdown_advises_a_retry(start: Start) -> None:
    end, begun = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with start() as service:
            client = Client(service.addresses.grpc)
            upload = pool.submit(client.upload, Slow(end, begun), "demo")
            assert begun.wait(10)
            # A call that has not reached its handler when the service stops has another status.
            wait_for_metric(service, 'errata_rpc_started_total{method="UploadPredictions"} 1.0')
        try:
            with pytest.raises(errors.Unavailable, match=r"is shutting down\. Send the upload again\."):
                upload.result(30)
        finally:
            end.set()
            client.close()


# the asyncio client


async def test_the_async_client_runs_a_model_to_its_end(running: Running) -> None:
    async with AsyncClient(running.addresses.grpc) as client:
        queued = await client.analyze(MODEL, "demo")
        ended = await client.wait(queued)
        verdicts = [verdict async for verdict in client.verdicts(queued)]
        exported = b"".join([chunk async for chunk in client.export(queued)])
        assert ended.state == pb.Analysis.STATE_SUCCEEDED
        assert len(verdicts) == len(exported.splitlines()) == 20
        assert queued.name in [analysis.name async for analysis in client.list()]
        assert (await client.get(queued)).name == queued.name
        assert b"<html" in await client.report(queued)
        assert (await client.compare(queued, queued)).a == queued.name
        await client.delete(queued)
        with pytest.raises(errors.AnalysisNotFound):
            await client.get(queued)


async def test_the_async_client_uploads(running: Running, demo_csv: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(demo_csv)
    async with AsyncClient(running.addresses.grpc) as client:
        by_path = await client.upload(file, "demo")
        by_content = await client.upload(io.BytesIO(demo_csv), "demo", display_name="other")
        assert (by_path.display_name, by_content.display_name) == ("mine.csv", "other")
        assert by_path.summary.groups["all"].top1_errors == 2
        with pytest.raises(errors.InvalidRow) as rejected:
            await client.upload(io.BytesIO(b"file_name,top1\nnowhere.jpg,1\n"), "demo")
        assert rejected.value.violations[0].line == 2


class Unreadable(io.RawIOBase):
    """A stream that fails after its first chunk."""

    def __init__(self, content: bytes) -> None:
        self.chunks = [content]

    def read(self, size: int = -1, /) -> bytes:
        if self.chunks:
            return self.chunks.pop()
        raise OSError(errno.EIO, "x")


UNREADABLE = r"Cannot read the content of the upload: Input/output error\."
NOT_BYTES = (
    r"Cannot read the content of the upload: its read\(\) returned str, expected bytes\. Open it in binary mode\."
)


def test_an_upload_that_cannot_be_read_is_bad_input(client: Client, demo_csv: bytes) -> None:
    with pytest.raises(errors.InvalidInput, match=UNREADABLE) as raised:
        client.upload(Unreadable(demo_csv), "demo")  # type: ignore[arg-type]
    assert isinstance(raised.value.__cause__, OSError)
    with pytest.raises(errors.InvalidInput, match=NOT_BYTES):
        client.upload(io.StringIO(demo_csv.decode()), "demo")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput, match=r"Cannot read /proc/self/mem: Input/output error\."):
        client.upload("/proc/self/mem", "demo")


async def test_an_upload_of_the_async_client_that_cannot_be_read_is_bad_input(
    running: Running, demo_csv: bytes
) -> None:
    async with AsyncClient(running.addresses.grpc) as client:
        with pytest.raises(errors.InvalidInput, match=UNREADABLE) as raised:
            await client.upload(Unreadable(demo_csv), "demo")  # type: ignore[arg-type]
        assert isinstance(raised.value.__cause__, OSError)
        with pytest.raises(errors.InvalidInput, match=NOT_BYTES):
            await client.upload_labels(io.StringIO("text"), "demo")  # type: ignore[arg-type]


async def test_an_upload_that_the_caller_cancels_is_cancelled(running: Running) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as content, open(writer, "wb", buffering=0) as source:
        async with AsyncClient(running.addresses.grpc) as client:
            upload = asyncio.create_task(client.upload(content, "demo"))
            await asyncio.sleep(0.2)
            upload.cancel()
            source.close()  # the read ends
            with pytest.raises(asyncio.CancelledError):
                await upload


async def test_a_cancellation_has_priority_over_an_error_of_reading(running: Running, demo_csv: bytes) -> None:
    class CancelsAndFails(Unreadable):
        def read(self, size: int = -1, /) -> bytes:
            loop.call_soon_threadsafe(upload.cancel)
            raise OSError(errno.EIO, "x")

    loop = asyncio.get_running_loop()
    async with AsyncClient(running.addresses.grpc) as client:
        upload = asyncio.create_task(client.upload(CancelsAndFails(demo_csv), "demo"))  # type: ignore[arg-type]
        with pytest.raises(asyncio.CancelledError):
            await upload


async def test_both_clients_return_the_same_results(running: Running, demo_csv: bytes, demo: Bundle) -> None:
    blocking = running.client
    analysis = blocking.upload(io.BytesIO(demo_csv), "demo")
    image = demo.judged_names[0]
    async with AsyncClient(running.addresses.grpc) as client:
        assert await client.wait(analysis) == blocking.wait(analysis)
        assert await client.breakdown(analysis, by="superclass") == blocking.breakdown(analysis, by="superclass")
        assert await client.explain(analysis, image) == blocking.explain(analysis, image)
        assert await client.explain_prediction("demo", image, 1) == blocking.explain_prediction("demo", image, 1)
        assert await client.some_verdicts(analysis, most=3) == blocking.some_verdicts(analysis, most=3)
        assert await client.evidence("demo") == blocking.evidence("demo")
        assert await client.error_types() == blocking.error_types()
        assert await client.comparison_report(analysis, analysis) == blocking.comparison_report(analysis, analysis)
        assert await client.trend(analyses=[analysis]) == blocking.trend(analyses=[analysis])
        assert b"<html" in await client.trend_report(analyses=[analysis])
        again = await client.reanalyze(analysis)
        assert again.name != analysis.name
        assert again.summary == analysis.summary


# arguments


@pytest.fixture(scope="module")
def analysis(running: Running, demo_csv: bytes) -> pb.Analysis:
    return running.client.upload(io.BytesIO(demo_csv), "demo")


def test_enumerations_are_accepted_as_text(client: Client, analysis: pb.Analysis) -> None:
    def exported(form: str | int) -> bytes:
        return b"".join(client.export(analysis, form))

    assert exported("parquet") == exported(pb.VERDICT_FORMAT_PARQUET)
    assert client.breakdown(analysis, "superclass") == client.breakdown(analysis, pb.BREAKDOWN_BY_SUPERCLASS)
    wrong = [verdict.file_name for verdict in client.verdicts(analysis) if verdict.predicted != verdict.target]
    types = ["fine_grained", "spurious_correlation", "model_failure"]
    assert [verdict.file_name for verdict in client.verdicts(analysis, error_types=types)] == wrong
    assert client.some_verdicts(analysis, error_types=types).total_size == 2
    assert b"".join(client.export(analysis, error_types=types)).count(b"\n") == 2
    assert analysis.name in [listed.name for listed in client.list(states=["succeeded"], dataset="demo")]


@pytest.mark.parametrize("most", [0, 3])
def test_a_limited_list_of_verdicts_has_the_number_of_all(client: Client, analysis: pb.Analysis, most: int) -> None:
    response = client.some_verdicts(analysis, most=most)

    assert (len(response.verdicts), response.total_size) == (most, 20)


def test_unknown_text_is_rejected_before_a_call(client: Client, analysis: pb.Analysis) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"Unknown row_order 'name'\. Expected one of: path, file_name"):
        client.upload(io.BytesIO(), "demo", row_order="name")
    with pytest.raises(TypeError, match="gate_polcy"):
        client.upload(io.BytesIO(), "demo", gate_polcy="")  # type: ignore[call-arg]


def test_an_unknown_error_type_is_rejected_by_the_service(client: Client, analysis: pb.Analysis) -> None:
    expected = r"Unknown error type 'failure'\. Expected one of: correct, .*, model_failure\."
    with pytest.raises(errors.InvalidRequest, match=expected) as rejected:
        list(client.verdicts(analysis, error_types="failure"))
    assert [violation.field for violation in rejected.value.violations] == ["filter.error_types"]


# data frames


def test_a_data_frame_has_the_listed_verdicts(client: Client, analysis: pb.Analysis) -> None:
    frame = client.verdicts(analysis).to_pandas()

    listed = [*client.verdicts(analysis)]
    assert list(frame["file_name"]) == [verdict.file_name for verdict in listed]
    assert list(frame["target"]) == [verdict.target for verdict in listed]
    assert list(frame["predicted_name"]) == [verdict.predicted_name for verdict in listed]
    assert list(frame["error_type"]) == [verdict.error_type for verdict in listed]
    groups = [" ".join(verdict.groups) for verdict in listed]
    assert list(frame["groups"]) == groups


def test_a_data_frame_with_evidence_has_the_listed_evidence(client: Client, analysis: pb.Analysis) -> None:
    frame = client.verdicts(analysis, with_evidence=True).to_pandas()

    for row, verdict in zip(frame.itertuples(), client.verdicts(analysis, with_evidence=True), strict=True):
        evidence = MessageToDict(
            verdict.evidence, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name in ("labels", "shared_superclasses", "co_occurrences"):
            assert list(getattr(row, name)) == evidence[name]
        assert ("" if pd.isna(row.overlap) else row.overlap) == evidence["overlap"]
        outcomes = [value for name, value in row._asdict().items() if name.startswith("rule_") and not pd.isna(value)]
        assert [f"OUTCOME_{outcome.upper()}" for outcome in outcomes] == [step["outcome"] for step in evidence["trace"]]


def test_filters_and_limits_apply_to_a_data_frame(client: Client, analysis: pb.Analysis) -> None:
    everything = client.verdicts(analysis).to_pandas()

    organisms = client.verdicts(analysis, group="organism").to_pandas()
    assert 0 < len(organisms) < len(everything)
    assert set(organisms["file_name"]) == set(everything[everything["groups"].str.contains("organism")]["file_name"])
    assert len(client.verdicts(analysis, most=3, with_evidence=True).to_pandas()) == 3
    nothing = client.verdicts(analysis, error_types="class_overlap", with_evidence=True).to_pandas()
    assert len(nothing) == 0
    assert "labels" in nothing.columns


async def test_a_data_frame_of_the_async_client(running: Running, analysis: pb.Analysis) -> None:
    async with AsyncClient(running.addresses.grpc) as client:
        frame = await client.verdicts(analysis, with_evidence=True).to_pandas()

    pd.testing.assert_frame_equal(frame, running.client.verdicts(analysis, with_evidence=True).to_pandas())


def test_parquet_has_the_columns_of_the_evidence(client: Client, analysis: pb.Analysis) -> None:
    content = b"".join(client.export(analysis, "parquet", with_evidence=True))

    frame = pd.read_parquet(io.BytesIO(content))
    assert {"labels", "shared_superclasses", "vocabulary", "rule_model_failure"} <= set(frame.columns)
    assert frame["error_type"].iloc[-1] == "correct"


def test_jsonl_has_the_evidence_of_listed_verdicts(client: Client, analysis: pb.Analysis) -> None:
    lines = b"".join(client.export(analysis, "jsonl", with_evidence=True)).decode().splitlines()

    listed = [*client.verdicts(analysis, with_evidence=True)]
    for verdict in listed:
        verdict.name = ""
    assert [json_format.Parse(line, pb.Verdict()) for line in lines] == listed


def test_csv_with_evidence_is_rejected(client: Client, analysis: pb.Analysis) -> None:
    with pytest.raises(errors.InvalidRequest, match="A CSV file cannot contain evidence"):
        list(client.export(analysis, "csv", with_evidence=True))


def test_results_are_tables_and_charts(client: Client, analysis: pb.Analysis) -> None:
    result = client.get(analysis)

    assert result.to_pandas()["count"].sum() > 0
    for item in (result, client.compare(analysis, analysis), client.trend(analyses=[analysis])):
        assert "<table>" in item._repr_html_()
        assert item.plot().to_dict()
