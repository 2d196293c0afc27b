# Generated from errata/_async/calls.py by client/generate_sync.py. Do not edit.
"""Calls of a service: deadlines, metadata, pages, uploads, and errors."""

import asyncio
import builtins
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import grpc

from errata import errors
from errata._sync.platform import open_file, upload_messages
from errata.channel import call_metadata, request_id_of
from errata.requests import PAGE_SIZE
from errata.status import error_of
from errata.tracing import PACKAGE, trace_call
from errata.uploads import converted_read_errors, task_is_cancelled

MAX_TIMEOUT = 1e9  # seconds; gRPC cannot represent much longer ones


class Calls:
    """The calls that the methods of a client make."""

    _server: str
    _tls: bool
    _token: str | None
    _deadline: float
    _method_names: Mapping[Any, str]
    _is_closed = False

    def _all(self, method: Callable[..., Any], request: Any, field: str) -> builtins.list[Any]:
        """Return the items of all pages of a list."""
        return list(self._each(method, request, field))

    def _each(self, method: Callable[..., Any], request: Any, field: str) -> Iterator[Any]:
        """Yield the items of all pages of a list. Pages are as large as possible unless the request sets a size."""
        request.page_size = request.page_size or PAGE_SIZE
        while True:
            page = self._call(method, request)
            yield from getattr(page, field)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def _first(self, method: Callable[..., Any], request: Any, field: str, most: int | None) -> Any:
        """Return the first `most` items of a list as one response, with the other fields of the last page."""
        items: builtins.list[Any] = []
        while True:
            request.page_size = PAGE_SIZE if most is None else max(1, min(most - len(items), PAGE_SIZE))
            page = self._call(method, request)
            items.extend(getattr(page, field))
            request.page_token = page.next_page_token
            if not request.page_token or (most is not None and len(items) >= most):
                break
        del getattr(page, field)[:]
        getattr(page, field).extend(items if most is None else items[: max(most, 0)])
        return page

    def _send_file(
        self, method: Callable[..., Any], message: type[Any], header: Any, file: str | Path | BinaryIO
    ) -> Any:
        """Send the header unless it is None, then a file, and return the response."""
        if not isinstance(file, str | Path):
            return self._send_content(method, message, header, file)
        opened = open_file(file)
        try:
            return self._send_content(method, message, header, opened)
        finally:
            opened.close()

    def _send_content(self, method: Callable[..., Any], message: type[Any], header: Any, content: BinaryIO) -> Any:
        with converted_read_errors(content) as failures:
            messages = upload_messages(message, header, content, failures)
            return self._call(method, messages, deadline=None, request="upload")

    def _call(
        self,
        method: Callable[..., Any],
        message: object,
        deadline: float | None = -1.0,
        request: str = "request",
    ) -> Any:
        """Send a unary request. A `deadline` of None means no limit; -1 means the client's deadline."""
        timeout = _limited(self._deadline if deadline == -1.0 else deadline)
        with self._converted_errors(method, request) as metadata:
            return method(message, timeout=timeout, metadata=metadata)

    def _stream(self, method: Callable[..., Any], message: object, deadline: float | None = None) -> Iterator[Any]:
        with self._converted_errors(method) as metadata:
            call = method(message, timeout=_limited(deadline), metadata=metadata)
            try:
                yield from call
            finally:
                call.cancel()  # if the caller has not read all responses: an abandoned call of asyncio never ends

    @contextmanager
    def _converted_errors(self, method: object, request: str = "request") -> Iterator[tuple[tuple[str, str], ...]]:
        """Provide the metadata of a call, and convert the gRPC errors of the block to Errata's errors."""
        metadata, name = call_metadata(self._token), self._method_names.get(method, PACKAGE)
        with self._converted_call_errors(request_id_of(metadata), request), trace_call(name) as trace_metadata:
            yield (*metadata, *trace_metadata)

    @contextmanager
    def _converted_call_errors(self, request_id: str = "", request: str = "request") -> Iterator[None]:
        self._check_open()
        try:
            yield
        except grpc.RpcError as error:
            raise error_of(error, self._server, request_id, request, self._tls) from error
        except asyncio.CancelledError as error:
            if not self._is_closed or task_is_cancelled():
                raise
            raise errors.Cancelled("The client was closed during the call. Create another client.") from error

    def _check_open(self) -> None:
        """Raise RuntimeError if the client is closed."""
        if self._is_closed:
            raise RuntimeError("Cannot send a request, because the client is closed. Create another client.")


def _limited(seconds: float | None) -> float | None:
    """Return a timeout for gRPC, for which a very long timeout has already expired; None: no timeout."""
    return None if seconds is None or seconds > MAX_TIMEOUT else seconds
