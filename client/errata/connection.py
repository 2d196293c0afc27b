"""Addresses of services, and the errors of connections that cannot be established."""

import re

from errata.errors import ErrataError, InvalidRequest, Unavailable

_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
MAX_ADDRESS = 300  # characters; a host name has at most 253
_IPV6_LOOPBACK = "ipv6:%5B::1%5D:"  # in gRPC's description of a failure
_GRPC_SCHEMES = ("unix:", "dns:///", "ipv4:", "ipv6:")  # https://github.com/grpc/grpc/blob/master/doc/naming.md


class ConnectionFailed(Unavailable):
    """Raised when the client cannot connect to a service, so that no service received the call."""

    reason = "CONNECTION_FAILED"


class UnknownMethod(ErrataError):
    """Raised when a service does not have the called method, because the service is older than the client."""

    reason = "UNKNOWN_METHOD"


def check_address(server: str) -> None:
    """Check that an address has the form host:port, before gRPC resolves the name.

    Raises:
        InvalidRequest: If the address has another form.
    """
    if not server.isprintable() or len(server) > MAX_ADDRESS:
        raise InvalidRequest(
            f"Address {server!r:.120} is invalid. Expected host:port with at most {MAX_ADDRESS} printable characters.",
            field="server",
        )
    if server.startswith(_GRPC_SCHEMES):
        return
    if "://" in server:
        problem, example = "has a scheme", server.split("://", 1)[1].split("/", 1)[0]
    else:
        problem, example = "has no port", f"{server}:50051"
    match = _HOST_AND_PORT.fullmatch(server)
    if match is None or not 0 < int(match[1]) < 65536:
        if ":" in server and "://" not in server:
            problem, example = "is invalid", "localhost:50051"
        example = example if _HOST_AND_PORT.fullmatch(example) else "localhost:50051"
        raise InvalidRequest(
            f"Address {server!r:.120} {problem}. Expected host:port, for example {example:.120}.", field="server"
        )


def connection_error(server: str, details: str, request: str = "request", tls: bool = False) -> Unavailable:
    """Return the error for a call that ended with UNAVAILABLE and without error details from the service.

    Args:
        server: The address that the client connects to.
        details: gRPC's description of the failure.
        request: The noun for what the caller sent, for messages.
        tls: Whether the client uses TLS.
    """
    if "Cancelling all calls" in details:  # gRPC's text after the grace period of a server's shutdown
        return Unavailable(f"The service at {server} is shutting down. Send the {request} again.")
    if "errors resolving" in details or "DNS resolution failed" in details:
        host = server.rpartition(":")[0] or server
        return ConnectionFailed(f"Host name {host!r} cannot be resolved. Check the address {server}.")
    if any(sign in details for sign in ("http1.x server", "Failed parsing HTTP/2", "ALPN")):
        return ConnectionFailed(
            f"{server} is not a gRPC port. It may be the service's HTTP port. "
            "Pass the address of the gRPC port (by default port 50051)."
        )
    if "WRONG_VERSION_NUMBER" in details:
        return ConnectionFailed(
            f"The server at {server} does not use TLS. "
            "Connect without TLS and without certificate files, or pass the address of a TLS port."
        )
    if "certificate has expired" in details or "certificate is not yet valid" in details:
        state = "has expired" if "expired" in details else "is not valid yet"
        return ConnectionFailed(
            f"The certificate of {server}, or the one of its certificate authority, {state}. "
            "Ask the operator to renew it, and check the clock of this machine."
        )
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return ConnectionFailed(
            f"The certificate of {server} is not trusted. "
            "Pass the file of its certificate authority (ca_file or ERRATA_CA_FILE)."
        )
    if "Hostname Verification" in details:
        return ConnectionFailed(
            f"The certificate of {server} is for another host name. Pass a host name that the certificate contains."
        )
    if "Failed to create security handshaker" in details:
        return ConnectionFailed(
            f"The certificate files cannot be used for TLS with {server}. Check the files of the certificate "
            "authority, of the client certificate, and of its key (ERRATA_CA_FILE, ERRATA_CLIENT_CERTIFICATE, and "
            "ERRATA_CLIENT_KEY)."
        )
    if "failed to connect" in details.lower():
        if "Connection refused" in details or "No such file" in details:
            message = f"No service at {server}. Start one with 'errata serve --local', or use another address."
            if tls and "[" not in server and _IPV6_LOOPBACK in details:  # gRPC reports only the last address of a name
                message += (
                    " If a service is running there, TLS failed. If it does not use TLS, connect without TLS and "
                    "without certificate files. Otherwise, connect to 127.0.0.1 to get the cause."
                )
            return ConnectionFailed(message)
        if "Socket closed" in details or "Connection reset" in details:
            return ConnectionFailed(
                f"The server at {server} closed the connection. If it requires TLS, connect with TLS "
                "(tls=True or ERRATA_TLS=true). If it requires a client certificate, pass a valid one."
            )
        return ConnectionFailed(
            f"The service at {server} cannot be reached: {details}. Check the address and the network."
        )
    return Unavailable(f"The service at {server} is not available: {details}. Try again later.")
