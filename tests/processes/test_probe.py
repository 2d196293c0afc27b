"""The probe of the containers' health check, against a process that is ready, not ready, or silent."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_server import RegistryServer, registry_server

import service

PROBE = Path(service.__file__).parent / "probe.py"


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


def probe(address: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(PROBE), "ERRATA_HTTP_ADDRESS"]
    return subprocess.run(
        command, env={"ERRATA_HTTP_ADDRESS": address, **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (404, 1)])
def test_the_exit_status_is_that_of_readyz(server: RegistryServer, status: int, expected: int) -> None:
    server.responses["/readyz"] = (status, {"ready": status == 200})
    port = server.url.rpartition(":")[2]

    for host in ("127.0.0.1", "0.0.0.0"):
        assert probe(f"{host}:{port}").returncode == expected
    assert [path for _, path, _, _ in server.requests] == ["/readyz"] * 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "", "nonsense", "127.0.0.1:x"])
def test_no_process_is_not_ready(address: str) -> None:
    done = probe(address)

    assert done.returncode == 1
    assert "ERRATA_HTTP_ADDRESS" in done.stderr
    assert "Traceback" not in done.stderr


def test_plain_text_is_not_ready_where_the_process_should_use_tls(server: RegistryServer) -> None:
    server.responses["/readyz"] = {"ready": True}

    assert probe(server.url.removeprefix("http://"), ERRATA_TLS_CERTIFICATE="/etc/errata/tls.crt").returncode == 1
