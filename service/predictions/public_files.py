"""Downloads from addresses that a registry returns, such as signed addresses of an object store.

No credentials are sent, and redirects are not followed. The host must be the registry's host, a public host, or a host
in a network that the operator allows.
"""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import urllib3
from errata.errors import ModelRefused, Unavailable
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from service.network_addresses import is_allowed
from service.predictions.registry_http import RETRY_AFTER, RegistryAddress, create_pool

MAX_URL = 8192  # characters


class PublicFiles:
    """Downloads the files of one registry from other hosts."""

    def __init__(self, address: RegistryAddress) -> None:
        self._address = address
        self._networks = [ipaddress.ip_network(network) for network in address.networks]

    @contextmanager
    def open(self, url: str) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield a successful response. The caller reads its content.

        Raises:
            ModelRefused: The address has a scheme other than https, a user name, or an internal host.
            Unavailable: The host cannot be reached, or does not send the file.
        """
        try:
            parsed = urlsplit(url)
            host, port = parsed.hostname or "", parsed.port
        except ValueError:
            raise self._refused(url) from None
        registry = urlsplit(self._address.url)
        is_registry = (parsed.scheme, host, port) == (registry.scheme, registry.hostname, registry.port)
        if parsed.scheme not in ("https", registry.scheme) or not host or "@" in parsed.netloc or len(url) > MAX_URL:
            raise self._refused(url)
        try:
            response = self._pool(parsed.scheme, host, is_registry).request(
                "GET", url, preload_content=False, redirect=False
            )
            try:
                if response.status != 200:
                    raise self._unavailable(host, f"answered HTTP {response.status}")
                yield response
            finally:
                response.close()
        except _AddressRefused as error:
            raise self._refused(url) from error
        except urllib3.exceptions.HTTPError as error:
            if isinstance(getattr(error, "reason", None), _AddressRefused):
                raise self._refused(url) from error
            raise self._unavailable(host, "cannot be reached") from error

    def _pool(self, scheme: str, host: str, is_registry: bool) -> urllib3.PoolManager:
        pool = create_pool(scheme, host, connect_retries=0)
        has_proxy = isinstance(pool, urllib3.ProxyManager)  # the operator's proxy decides which hosts can be reached
        if not is_registry and not has_proxy:
            pool.pool_classes_by_scheme = self._checked_pools()
        return pool

    def _checked_pools(self) -> Any:
        """Return connection pools that refuse a host with a forbidden address before they send anything."""
        networks = self._networks

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _check_peer(self, super()._new_conn())

        class Secured(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _check_peer(self, super()._new_conn())

        def _check_peer(connection: HTTPConnection, peer: socket.socket) -> socket.socket:
            if not is_allowed(str(peer.getpeername()[0]), networks):
                peer.close()
                raise _AddressRefused(connection, "the address is not public")
            return peer

        plain = type("PlainPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": Plain})
        secured = type("SecuredPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": Secured})
        return {"http": plain, "https": secured}

    def _refused(self, url: str) -> ModelRefused:
        return ModelRefused(
            f"Registry {self._address.id} stores a file at {url.partition('?')[0]!r:.120}, which is no public address "
            "with https. Ask the operator to add its network to `networks` of the registry."
        )

    def _unavailable(self, host: str, problem: str) -> Unavailable:
        return Unavailable(
            f"The host {host:.120} with files of registry {self._address.id} {problem}. Try again later.",
            retry_after=RETRY_AFTER,
        )


class _AddressRefused(NewConnectionError):
    """Raised when the address of a host is not allowed."""
