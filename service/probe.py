"""Check whether the process of Errata in the same container is ready, by a request for `/readyz`.

Usage: python3 -I -S probe.py VARIABLE, the setting that has the address of its HTTP listener. Exit status 0: ready.

A container runs this script every few seconds, so it imports only `socket`, and `ssl` if the process uses TLS. It takes
20 ms of CPU time; `errata health`, which imports gRPC, takes 160 ms.
"""

import os
import socket
import sys

TIMEOUT = 3.0  # seconds
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - addresses to connect to
REQUEST = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"


def is_ready(address: str, uses_tls: bool) -> bool:
    """Return whether the process at `address` reports that it is ready."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((WILDCARDS.get(host, host), int(port)), TIMEOUT) as connection:
        if uses_tls:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # the connection does not leave the container, and sends no secret
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection)
        connection.sendall(REQUEST)
        return connection.recv(64).split(b" ")[1:2] == [b"200"]


def main() -> int:
    """Return the exit status."""
    address = os.environ.get(sys.argv[1], "")
    try:
        return int(not is_ready(address, bool(os.environ.get("ERRATA_TLS_CERTIFICATE"))))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{sys.argv[1]} is {address!r}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
