"""Requests to a URL that an operator configured, protected against server-side request forgery.

A URL must use https and an exact host name, without credentials; IP addresses are refused. Every resolved address must
be public or in a network that the operator allows, and the connection uses that address. Redirects and proxies are
not used, and the size of the response is bounded.
"""

import base64
import dataclasses
import hashlib
import hmac
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from urllib.parse import urlsplit

from errata.errors import InvalidSetting, Unavailable
from errata.proto_json import to_dict

from service import tracing
from service.analyses.write_back import WriteBack
from service.network_addresses import Network, is_allowed, parse_networks
from service.report.messages.gate import reason_lines
from service.wire import to_analysis

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 10.0, 20.0
MAX_RESPONSE = 64 << 10  # bytes
DEFAULT_PORT = 443
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
Resolve = Callable[[str, int], Sequence[str]]


def resolve_host(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host name; raise OSError if it has none."""
    return [str(result[4][0]) for result in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Target:
    """A URL that receives results, signed as in Standard Webhooks."""

    host: str
    port: int
    path: str
    key: bytes = dataclasses.field(repr=False)
    networks: Sequence[Network] = ()  # private networks that the operator allows
    context: ssl.SSLContext = dataclasses.field(default_factory=ssl.create_default_context)
    resolve: Resolve = resolve_host
    clock: Callable[[], float] = time.time

    def send(self, result: WriteBack) -> None:
        """Send a result; raise Unavailable unless the response is a success."""
        ended = result.analysis.end_time or result.analysis.create_time
        document = {
            "type": "errata.analysis.completed",
            "timestamp": ended.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "data": {
                "model": result.model,
                "version": result.version,
                "gate": result.decision.name.lower() if result.decision is not None else None,
                "reasons": reason_lines(result.gate, result.without_baseline),
                "analysis": to_dict(to_analysis(result.analysis)),
            },
        }
        self.post(f"msg_{result.analysis.id}", json.dumps(document, separators=(",", ":")).encode())

    def post(self, message_id: str, body: bytes) -> None:
        """Post a body; raise Unavailable if that fails. A retry has the same message ID and a new signature."""
        timestamp = str(int(self.clock()))
        message = b".".join([message_id.encode(), timestamp.encode(), body])
        signature = base64.b64encode(hmac.new(self.key, message, hashlib.sha256).digest()).decode()
        headers = {
            "Host": self.host if self.port == DEFAULT_PORT else f"{self.host}:{self.port}",
            "Content-Type": "application/json",
            "User-Agent": "errata",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
            **tracing.current_headers(),
        }
        try:
            status = self._request(body, headers)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise Unavailable(
                f"Cannot send the result to {self.host}: {type(error).__name__}: {error!s:.200}"
            ) from error
        if not 200 <= status < 300:
            raise Unavailable(
                f"{self.host} rejected the result with status {status}. Check the url and the secrets of the registry."
            )

    def _request(self, body: bytes, headers: dict[str, str]) -> int:
        address = self._address()
        plain = socket.create_connection((address, self.port), timeout=CONNECT_SECONDS)
        duplicate = plain.dup()  # for the timer: wrap_socket detaches the original
        timer = Timer(TOTAL_SECONDS, _shut_down, [duplicate])  # READ_SECONDS does not limit a server that sends slowly
        timer.start()
        try:
            with duplicate, plain, self.context.wrap_socket(plain, server_hostname=self.host) as secured:
                secured.settimeout(READ_SECONDS)
                connection = http.client.HTTPConnection(self.host, self.port)
                connection.sock = secured
                connection.request("POST", self.path, body, headers)
                response = connection.getresponse()
                response.read(MAX_RESPONSE)
                return response.status
        finally:
            timer.cancel()

    def _address(self) -> str:
        """Return the address to connect to; raise Unavailable if any address of the host is not allowed."""
        addresses = list(dict.fromkeys(self.resolve(self.host, self.port)))
        for address in addresses:
            if not is_allowed(address, self.networks):
                raise Unavailable(
                    f"{self.host} resolves to {address}, which is not public. To allow it, add its network to the "
                    "networks of the registry."
                )
        if not addresses:
            raise Unavailable(f"{self.host} has no IP address. Check the url of the registry and the DNS.")
        return addresses[0]


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it is already closed
        connection.shutdown(socket.SHUT_RDWR)


def make_target(name: str, url: str, key: bytes, ports: Sequence[int] = (), networks: Sequence[str] = ()) -> Target:
    """Return the target of a registry.

    Args:
        name: ID of the registry, for error messages.
        url: The URL.
        key: The key for signatures.
        ports: Allowed ports besides 443.
        networks: Allowed private networks in CIDR notation.

    Returns:
        The target.

    Raises:
        InvalidSetting: The URL or a network is invalid or not allowed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise _invalid_url(name, "Invalid URL. Use the form https://HOST/PATH.") from error
    allowed = parse_networks(name, networks)
    host = (parts.hostname or "").lower()
    if parts.scheme != "https" or parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _invalid_url(name, "The URL has another scheme or a user name. Use https://HOST/PATH.")
    if not _NAME.fullmatch(host):
        raise _invalid_url(
            name, f"Invalid host name {host!r:.120}. Use https://HOST/PATH with a DNS name: IP addresses are refused."
        )
    if port != DEFAULT_PORT and port not in ports:
        raise _invalid_url(name, f"Port {port} is not allowed. Use 443 or add it to {name}.ports.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or re.search(r"[\x00-\x20\x7f]", path):
        raise _invalid_url(name, f"Invalid path {path!r:.120}. Encode spaces and characters beyond ASCII as %XX.")
    return Target(host, port, path, key, allowed)


def _invalid_url(name: str, problem: str) -> InvalidSetting:
    return InvalidSetting(f"ERRATA_REGISTRIES: {name}.url: {problem}", field="ERRATA_REGISTRIES")
