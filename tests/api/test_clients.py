"""Both clients: responses, errors, TLS, tokens, and retries."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from errata import AsyncClient, Client, errors, pb
from errata.v1 import errata_pb2_grpc
from running_service import MODEL, Running


class Recorder(errata_pb2_grpc.CatalogServiceServicer):
    """A service that is unavailable for the first calls, and records requests."""

    def __init__(self, num_failures: int = 0) -> None:
        self.num_failures = num_failures
        self.calls: list[dict[str, str]] = []

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        self.calls.append(dict(context.invocation_metadata()))
        if len(self.calls) <= self.num_failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return pb.ListModelsResponse()


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, str]]:
    server, recorder = grpc.server(ThreadPoolExecutor(2)), Recorder(num_failures=2)
    errata_pb2_grpc.add_CatalogServiceServicer_to_server(recorder, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield recorder, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    """A self-signed certificate for 127.0.0.1, as a file and as PEM with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "errata")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    file.write_bytes(pem)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return file, pem, key.private_bytes(serialization.Encoding.PEM, form, plain)


@pytest.fixture
def tls_service(certificate: tuple[Path, bytes, bytes]) -> Iterator[tuple[Recorder, str]]:
    server, recorder = grpc.server(ThreadPoolExecutor(2)), Recorder()
    errata_pb2_grpc.add_CatalogServiceServicer_to_server(recorder, server)
    _, pem, key = certificate
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, pem)]))
    server.start()
    yield recorder, f"127.0.0.1:{port}"
    server.stop(None)


def test_an_idempotent_call_is_retried(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    with Client(address) as client:
        client.models()
    assert len(service.calls) == 3


def test_with_one_attempt_no_call_is_retried(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    with Client(address, attempts=1) as client, pytest.raises(errors.Unavailable, match="not now"):
        client.models()
    assert len(service.calls) == 1


def test_the_number_of_attempts_is_limited() -> None:
    with pytest.raises(errors.InvalidRequest, match="expected 1 to 5 attempts, got 6"):
        Client("127.0.0.1:1", attempts=6)


async def test_the_async_client_retries_too(recorder: tuple[Recorder, str]) -> None:
    service, address = recorder
    async with AsyncClient(address, token="t0k3n") as client:
        await client.models()
    assert [call["authorization"] for call in service.calls] == ["Bearer t0k3n"] * 3


def test_tls_with_a_private_ca(tls_service: tuple[Recorder, str], certificate: tuple[Path, bytes, bytes]) -> None:
    service, address = tls_service
    with Client(address, token="t0k3n", ca_file=certificate[0]) as client:
        client.models()
    assert service.calls[0]["authorization"] == "Bearer t0k3n"


async def test_tls_with_the_async_client(
    tls_service: tuple[Recorder, str], certificate: tuple[Path, bytes, bytes]
) -> None:
    service, address = tls_service
    async with AsyncClient(address, ca_file=certificate[0]) as client:
        await client.models()
    assert len(service.calls) == 1


def test_an_untrusted_certificate_is_refused(tls_service: tuple[Recorder, str]) -> None:
    service, address = tls_service
    with Client(address, tls=True, attempts=1) as client, pytest.raises(errors.Unavailable):
        client.models()
    assert service.calls == []


def test_a_ca_file_without_certificates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"nowhere\.pem"):
        Client("127.0.0.1:1", ca_file=tmp_path / "nowhere.pem")


@pytest.mark.parametrize("address", ["https://localhost:50051", "http://127.0.0.1:1", "grpc://errata"])
def test_an_address_with_a_scheme_is_refused_before_name_resolution(address: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(errors.InvalidRequest, match="host:port"):
            kind(address)


def test_a_certificate_without_a_key_and_an_invalid_pem_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    file.write_bytes(b"\x30\x82 no PEM")
    with pytest.raises(errors.InvalidRequest, match="expected a key beside the certificate"):
        Client("127.0.0.1:1", certificate=file)
    with pytest.raises(errors.InvalidRequest, match="expected a certificate beside the key"):
        Client("127.0.0.1:1", key=file)
    with pytest.raises(errors.InvalidRequest, match=r"expected PEM in .*some\.pem, got 9 bytes"):
        Client("127.0.0.1:1", ca_file=file)


async def test_the_async_client_runs_a_model_to_its_end(running: Running) -> None:
    async with AsyncClient(running.addresses.grpc) as client:
        queued = await client.analyze(MODEL, "demo")
        ended = await client.wait(queued.name)
        verdicts = [verdict async for verdict in client.verdicts(queued.name)]
        exported = b"".join([piece async for piece in client.export(queued.name)])
        assert ended.state == pb.STATE_SUCCEEDED
        assert len(verdicts) == len(exported.splitlines()) == 20
        assert queued.name in [item.name async for item in client.list()]
        assert (await client.get(queued.name)).name == queued.name
        assert b"<html" in await client.report(queued.name)
        assert (await client.compare(queued.name, queued.name)).a == queued.name
        await client.delete(queued.name)
        with pytest.raises(errors.AnalysisNotFound):
            await client.get(queued.name)


async def test_the_async_client_uploads(running: Running, demo_csv: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(demo_csv)
    async with AsyncClient(running.addresses.grpc) as client:
        by_path = await client.upload(file, "demo")
        by_content = await client.upload(io.BytesIO(demo_csv), "demo", display_name="other")
        assert (by_path.display_name, by_content.display_name) == ("mine.csv", "other")
        assert by_path.summary.groups["all"].top1_errors == 2
        with pytest.raises(errors.InvalidRow) as refused:
            await client.upload(io.BytesIO(b"file_name,top1\nnowhere.jpg,1\n"), "demo")
        assert refused.value.violations[0].line == 2


async def test_the_async_client_names_the_unreachable_address() -> None:
    async with AsyncClient("127.0.0.1:1", deadline=5) as client:
        with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1"):
            await client.datasets()
