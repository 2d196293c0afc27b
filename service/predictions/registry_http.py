"""HTTP requests to a model registry, with its token.

Redirects are not followed, because the token would be sent to their target. Responses are limited in size and time.
"""

import base64
import os
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Timer
from typing import Any
from urllib.parse import urlencode, urlparse
from urllib.request import getproxies, proxy_bypass

import urllib3
from errata.errors import ErrataError, ModelNotFound, Unavailable
from errata.json_input import parse_json

from service import tracing

RETRY_AFTER = 15.0  # seconds
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0  # time limits of one connection attempt, and of one read
TOTAL_SECONDS = 30.0  # time limit of one response, except for files
MAX_RESPONSE = 16 << 20  # bytes
CHUNK = 1 << 16  # bytes
SLOW_SECONDS = 60.0  # duration of a download after which MIN_RATE is required
MIN_RATE = 10_000.0  # bytes per second, on average


@dataclass(frozen=True)
class RegistryAddress:
    """One registry of the operator's configuration."""

    id: str
    url: str
    token: str = field(default="", repr=False)
    kind: str = "mlflow"
    networks: Sequence[str] = ()  # for `wandb`: private networks (CIDR) that may have files of the registry

    @property
    def authorization(self) -> Mapping[str, str]:
        """Return the headers that authenticate requests. W&B expects its API key as a password."""
        if not self.token:
            return {}
        if self.kind == "wandb":
            return {"Authorization": "Basic " + base64.b64encode(f"api:{self.token}".encode()).decode()}
        return {"Authorization": f"Bearer {self.token}"}


def create_pool(scheme: str, host: str, connect_retries: int, **options: Any) -> urllib3.PoolManager:
    """Return connections to a host, through the operator's proxy if there is one.

    The connections have time limits, few retries, and the operator's certificates.
    """
    options["timeout"] = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    options["retries"] = urllib3.Retry(connect=connect_retries, read=0, status=0, other=0, redirect=False)
    if scheme == "https":
        options["ssl_context"] = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE"))
    proxy = None if proxy_bypass(host) else getproxies().get(scheme)
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


class RegistryHttp:
    """Connections to one registry. Thread-safe.

    All methods raise ModelNotFound if the response has one of the error codes in `missing`, or without such codes if a
    file does not exist. They raise Unavailable for any other error, such as the 404 of a proxy, and if the registry
    cannot be reached.
    """

    def __init__(self, address: RegistryAddress, total_seconds: float = TOTAL_SECONDS) -> None:
        self._address = address
        self._total_seconds = total_seconds
        parsed = urlparse(address.url)
        self._trace_attributes = {"url.scheme": parsed.scheme, "server.address": parsed.hostname or ""}
        self._pool = create_pool(parsed.scheme, parsed.netloc, connect_retries=1, maxsize=4)

    def request(self, verb: str, path: str, missing: Collection[str] = (), **options: Any) -> Mapping[str, Any]:
        """Return the JSON object of a response."""
        with self.open(verb, path, missing, **options) as response:
            content = self._read(response)
        try:
            fields = parse_json(content)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise self.unavailable(f"did not answer {path} with a JSON object")
        return fields

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file; raise Unavailable if it is longer than `limit` bytes."""
        with self.open("GET", path) as response:
            return self._read(response, limit)

    def stream(self, response: urllib3.BaseHTTPResponse, decode_content: bool = True) -> Iterator[bytes]:
        """Yield the parts of a file as they arrive; raise Unavailable if it is slower than MIN_RATE."""
        started, size = time.monotonic(), 0
        # Unlike `stream`, `read1` does not wait until the chunk is complete.
        while chunk := response.read1(CHUNK, decode_content):
            size += len(chunk)
            yield chunk
            seconds = time.monotonic() - started
            if seconds > SLOW_SECONDS and size < seconds * MIN_RATE:
                raise self.unavailable(f"sends a file with {size / seconds:,.0f} bytes per second")

    @contextmanager
    def open(
        self,
        verb: str,
        path: str,
        missing: Collection[str] = (),
        parameters: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield a successful response. The caller reads its content."""
        url = f"{self._address.url.rstrip('/')}/{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        headers = {**self._address.authorization, "Content-Type": content_type}
        try:
            with tracing.child_span(verb, tracing.Kind.CLIENT, self._trace_attributes | {"http.request.method": verb}):
                headers |= tracing.current_headers()
                response = self._pool.request(
                    verb, url, headers=headers, body=body, preload_content=False, redirect=False
                )
                tracing.set_attributes({"http.response.status_code": response.status})
            try:
                if response.status >= 300:
                    raise self._error(response, missing)
                yield response
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise self.unavailable("cannot be reached", repr(error)) from error

    def _read(self, response: urllib3.BaseHTTPResponse, limit: int = MAX_RESPONSE) -> bytes:
        content = bytearray()
        timer = Timer(self._total_seconds, response.shutdown)  # a read timeout does not limit many short reads
        timer.start()
        try:
            for chunk in response.stream(CHUNK):
                content += chunk
                if len(content) > limit:
                    raise self.unavailable(f"answered with more than {limit:,} bytes")
        finally:
            timer.cancel()
        return bytes(content)

    def _error(self, response: urllib3.BaseHTTPResponse, missing: Collection[str]) -> ErrataError:
        if response.status < 400:
            return self.unavailable(f"redirects to another address (HTTP {response.status}); configure that address")
        content = self._read(response)
        try:
            fields = parse_json(content)
            code = str(fields.get("error_code", f"HTTP {response.status}"))
            message = str(fields.get("message") or fields.get("error") or "")
        except (ValueError, AttributeError):
            code, message = f"HTTP {response.status}", ""
        if code in missing or (not missing and code == "HTTP 404"):
            return ModelNotFound(
                f"Model not found in registry {self._address.id}: {message or code:.200}. Check its name and version.",
                field="model",
            )
        return self.unavailable(f"answered {code}", message)

    def unavailable(self, problem: str, detail: str = "") -> Unavailable:
        """Return the error for a registry. `problem` is a verb phrase whose subject is the registry."""
        message = f"Registry {self._address.id} {problem}. Try again later."
        return Unavailable(message, retry_after=RETRY_AFTER, detail=f"{detail:.200}")
