"""HTTP requests to a model registry, with its token.

Redirects are not followed, because the token would follow them. Responses are bounded in size and time.
"""

import os
import ssl
from collections.abc import Collection, Iterator, Mapping
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
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0  # of one connection attempt, of one read
TOTAL_SECONDS = 30.0  # of one response, except files
MAX_RESPONSE = 16 << 20  # bytes
CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class RegistryAddress:
    """One registry of the operator's configuration."""

    id: str
    url: str
    token: str = field(default="", repr=False)


class RegistryHttp:
    """Connections to one registry. Thread-safe.

    All methods raise ModelNotFound if the response has one of the error codes `missing`, and Unavailable for any other
    error and if the registry cannot be reached.
    """

    def __init__(self, address: RegistryAddress, total_seconds: float = TOTAL_SECONDS) -> None:
        self._address = address
        self._total_seconds = total_seconds
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        retries = urllib3.Retry(connect=1, read=0, status=0, other=0, redirect=False)
        options: dict[str, Any] = {"timeout": timeout, "retries": retries, "maxsize": 4}
        parsed = urlparse(address.url)
        if parsed.scheme == "https":
            options["ssl_context"] = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE"))
        proxy = None if proxy_bypass(parsed.netloc) else getproxies().get(parsed.scheme)
        self._trace_attributes = {"url.scheme": parsed.scheme, "server.address": parsed.hostname or ""}
        self._pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)

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

    @contextmanager
    def open(
        self,
        verb: str,
        path: str,
        missing: Collection[str] = (),
        parameters: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield a successful response, whose content is not yet read."""
        url = f"{self._address.url.rstrip('/')}/{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        headers = {"Authorization": f"Bearer {self._address.token}"} if self._address.token else {}
        headers["Content-Type"] = "application/octet-stream" if verb == "PUT" else "application/json"
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

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        content = bytearray()
        timer = Timer(self._total_seconds, response.shutdown)  # the timeout of a read does not limit many short reads
        timer.start()
        try:
            for chunk in response.stream(CHUNK):
                content += chunk
                if len(content) > MAX_RESPONSE:
                    raise self.unavailable(f"answered with more than {MAX_RESPONSE:,} bytes")
        finally:
            timer.cancel()
        return bytes(content)

    def _error(self, response: urllib3.BaseHTTPResponse, missing: Collection[str]) -> ErrataError:
        if response.status < 400:
            return self.unavailable(f"redirects to another address (HTTP {response.status}); configure that address")
        content = self._read(response)
        try:
            fields = parse_json(content)
            code, message = str(fields["error_code"]), str(fields.get("message", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            code, message = f"HTTP {response.status}", ""
        if code in missing or (response.status == 404 and code.startswith("HTTP")):
            return ModelNotFound(
                f"Model not found in registry {self._address.id}: {message or code:.200}. Check its name and version.",
                field="model",
            )
        return self.unavailable(f"answered {code}", message)

    def unavailable(self, problem: str, detail: str = "") -> Unavailable:
        """Return the error for a registry that `problem`, a verb phrase, describes."""
        message = f"Registry {self._address.id} {problem}. Try again later."
        return Unavailable(message, retry_after=RETRY_AFTER, detail=f"{detail:.200}")
