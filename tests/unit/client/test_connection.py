"""Addresses, and the errors of connections that cannot be established."""

import pytest
from errata import AsyncClient, Client, ConnectionFailed, errors
from errata.connection import check_address, connection_error

FAILED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "


@pytest.mark.parametrize(
    "address",
    [
        "localhost:50051",
        "127.0.0.1:1",
        "[::1]:50051",
        "errata.example:443",
        "unix:///run/errata.sock",
        "unix:errata.sock",
        "dns:///errata.example:443",
        "ipv4:10.0.0.1:50051,10.0.0.2:50051",
    ],
)
def test_addresses_that_grpc_accepts_are_valid(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    ("address", "problem", "example"),
    [
        ("foo", "'foo' has no port", "foo:50051"),
        ("", "'' has no port", "localhost:50051"),
        ("https://localhost:50051", "has a scheme", "localhost:50051"),
        ("http://127.0.0.1:8080/path", "has a scheme", "127.0.0.1:8080"),
        ("grpc://errata", "has a scheme", "localhost:50051"),
        ("errata:", "'errata:' is invalid", "localhost:50051"),
        ("errata:0", "'errata:0' is invalid", "localhost:50051"),
        ("errata:65536", "'errata:65536' is invalid", "localhost:50051"),
        ("errata:grpc", "'errata:grpc' is invalid", "localhost:50051"),
        ("two words:50051", "'two words:50051' is invalid", "localhost:50051"),
    ],
)
def test_other_addresses_are_rejected_before_a_name_is_resolved(address: str, problem: str, example: str) -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(errors.InvalidRequest) as rejected:
            client(address)
        assert problem in rejected.value.message
        assert rejected.value.message.endswith(f"Expected host:port, for example {example}.")


@pytest.mark.parametrize(
    ("details", "message"),
    [
        (f"{FAILED}Failed to connect to remote host: Connection refused", "No service at errata:1. Start one with"),
        ("errors resolving errata:1: [field:hostname lookup error: not found]", "'errata' cannot be resolved"),
        ("DNS resolution failed for errata:1: C-ares status is not ARES_SUCCESS", "'errata' cannot be resolved"),
        (f"{FAILED}Failed parsing HTTP/2 (Trying to connect an http1.x server)", "errata:1 is not a gRPC port"),
        (f"{FAILED}Tls handshake failed: OPENSSL_internal:WRONG_VERSION_NUMBER", "does not use TLS"),
        (f"{FAILED}OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self signed", "is not trusted"),
        (
            f"{FAILED}CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
            "of its certificate authority, has expired.",
        ),
        (f"{FAILED}CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", "authority, is not valid yet. Ask"),
        (f"{FAILED}Failed to create security handshaker.", "certificate files cannot be used for TLS with errata:1."),
        (f"{FAILED}UNAUTHENTICATED: Hostname Verification Check failed.", "is for another host name"),
        (f"{FAILED}Socket closed", "If it requires TLS, connect with TLS"),
        (f"{FAILED}No route to host", "cannot be reached: failed to connect"),
    ],
)
def test_a_failed_connection_names_its_cause(details: str, message: str) -> None:
    error = connection_error("errata:1", details)

    assert isinstance(error, ConnectionFailed)
    assert message in error.message


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ("Cancelling all calls", "The service at errata:1 is shutting down. Send the upload again."),
        ("Socket closed", "The service at errata:1 is not available: Socket closed. Try again later."),
    ],
)
def test_a_call_that_reached_the_service_is_no_failed_connection(details: str, message: str) -> None:
    error = connection_error("errata:1", details, "upload")

    assert not isinstance(error, ConnectionFailed)
    assert error.message == message


@pytest.mark.parametrize(
    ("server", "tls", "names_tls"),
    [("localhost:1", True, True), ("localhost:1", False, False), ("[::1]:1", True, False)],
)
def test_a_refused_connection_to_one_of_two_addresses_names_tls(server: str, tls: bool, names_tls: bool) -> None:
    """With TLS to a plain-text port of 127.0.0.1, gRPC may report only that [::1] refused the connection."""
    last = FAILED.replace("ipv4:127.0.0.1", "ipv6:%5B::1%5D")

    error = connection_error(server, f"{last}Failed to connect to remote host: Connection refused", tls=tls)

    assert error.message.startswith(f"No service at {server}. Start one with")
    assert ("connect without TLS" in error.message) == names_tls
