"""Check whether the process of Errata in the same container is ready, by a request for `/readyz`.

Usage: `python3 -I -S probe.py VARIABLE`. VARIABLE is the setting with the address of the HTTP listener of the process.
The exit status is 0 if the process is ready. Otherwise, the script prints the status line of the response, or why there
is no response.

A container runs this script every few seconds, so it imports only `socket`, and `ssl` if the process uses TLS. The
script takes 20 ms of CPU time; `errata health`, which imports gRPC, takes 160 ms.
"""

import os
import socket
import sys
import time

TIMEOUT = 3.0  # seconds
MAX_BYTES = 1024  # of the status line
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - addresses to connect to
REQUEST = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"


def request_status(host: str, port: int, uses_tls: bool) -> str:
    """Return the first line of the response, which is empty if the process closes the connection."""
    deadline = time.monotonic() + TIMEOUT
    with socket.create_connection((WILDCARDS.get(host, host), port), TIMEOUT) as connection:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        if uses_tls:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # the connection does not leave the container, and sends no secret
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection)
        connection.sendall(REQUEST)
        line, block = b"", b" "
        while block and b"\n" not in line and len(line) < MAX_BYTES:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            block = connection.recv(MAX_BYTES)
            line += block
    return line.partition(b"\n")[0].decode("ascii", "replace").strip()


def find_problem(address: str, uses_tls: bool) -> str:
    """Return why the process at `address` is not ready, or an empty string if it is."""
    host, _, port = address.rpartition(":")
    try:
        line = request_status(host.strip("[]"), int(port), uses_tls)
    except OSError as error:
        return f"no response: {error}"
    except ValueError:
        return "no valid address. Set it to HOST:PORT, for example 127.0.0.1:8080."
    if line.startswith("HTTP/") and line.split(" ")[1:2] == ["200"]:
        return ""
    return f"expected a response with status 200 to /readyz, got {line[:100]!r}"


def main() -> int:
    """Return the exit status."""
    address = os.environ.get(sys.argv[1], "")
    problem = find_problem(address, bool(os.environ.get("ERRATA_TLS_CERTIFICATE")))
    if problem:
        sys.stderr.write(f"{sys.argv[1]} is {address!r}: {problem}\n")
    return int(bool(problem))


if __name__ == "__main__":
    sys.exit(main())
