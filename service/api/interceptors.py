"""Around every call: its id, its metrics, who may make it, and its errors, translated once."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from service.access import CALLER, NEEDS, Access, Need
from service.api.status import code_of, internal, status_of
from service.errors import ErrataError, InvalidRequest
from service.telemetry import REQUEST_ID, REQUEST_IDS, Metrics, new_request_id

AUTHORIZATION = "authorization"
_log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Counts calls, binds a request id to their logs, admits them, and turns what they raise into a status."""

    def __init__(self, metrics: Metrics, access: Access) -> None:
        self._metrics = metrics
        self._access = access

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call; of methods that aren't Errata's only who may call them is checked."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None:
            return handler
        if not method.startswith("/errata."):
            return self._foreign(method, handler, handler_call_details.invocation_metadata)
        name = method
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._single(name, handler.unary_unary),
                _decoding(handler.request_deserializer),
                handler.response_serializer,
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                self._single(name, handler.stream_unary),
                _decoding(handler.request_deserializer),
                handler.response_serializer,
            )
        return grpc.unary_stream_rpc_method_handler(
            self._stream(name, handler.unary_stream),
            _decoding(handler.request_deserializer),
            handler.response_serializer,
        )

    def _foreign(self, method: str, handler: Any, metadata: Any) -> Any:
        """Return the handler of health or reflection, or one that refuses."""
        if NEEDS.get(method) is Need.OPEN:
            return handler
        try:
            self._access.check(method, _value(metadata, AUTHORIZATION), certified=True)
        except ErrataError as refused:
            error = refused
        else:
            return handler
        self._metrics.refused_calls.labels("grpc", error.reason).inc()
        _log.info("call refused", rpc=method, code=code_of(error).name, reason=error.reason)

        async def refuse(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await _abort(context, status_of(error))

        for streams, make in (
            ((False, False), grpc.unary_unary_rpc_method_handler),
            ((True, False), grpc.stream_unary_rpc_method_handler),
            ((False, True), grpc.unary_stream_rpc_method_handler),
        ):
            if streams == (handler.request_streaming, handler.response_streaming):
                return make(refuse)
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _single(self, name: str, behavior: Any) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with _Call(self._metrics, name, context) as entered:
                entered.admit(self._access)
                return await behavior(_decoded(request), context)

        return call

    def _stream(self, name: str, behavior: Any) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with _Call(self._metrics, name, context) as entered:
                entered.admit(self._access)
                async for message in behavior(_decoded(request), context):
                    yield message

        return call


class _Garbage:
    """Stands for a message that doesn't parse; gRPC itself would answer UNKNOWN."""


def _decoding(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def decode(content: bytes) -> Any:
        assert deserialize is not None, "this is a bug: the generated code has a deserializer for each method"
        try:
            return deserialize(content)
        except DecodeError:
            return _Garbage()

    return decode


def _decoded(request: Any) -> Any:
    """Return a request, or a stream of them, that raises InvalidRequest for what doesn't parse."""
    return _each_decoded(request) if isinstance(request, AsyncIterator) else _checked(request)


async def _each_decoded(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


def _checked(request: Any) -> Any:
    if isinstance(request, _Garbage):
        raise InvalidRequest("expected a message of errata.v1, got bytes that don't parse", field="request")
    return request


class _Call:
    """One call, from its start to its end."""

    def __init__(self, metrics: Metrics, method: str, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        self._metrics = metrics
        self._method = method
        self._name = method.rsplit("/", 1)[-1]
        self._context = context
        self._started = 0.0
        self._request_id = ""

    async def __aenter__(self) -> "_Call":
        self._started = time.perf_counter()
        self._request_id = _request_id(self._context)
        structlog.contextvars.bind_contextvars(request=self._request_id, rpc=self._name)
        self._metrics.rpc_started.labels(self._name).inc()
        self._context.set_trailing_metadata(((REQUEST_ID, self._request_id),))
        return self

    def admit(self, access: Access) -> None:
        """Let the call go on, in its caller's name; raise Unauthenticated or PermissionDenied."""
        authorization = _value(self._context.invocation_metadata(), AUTHORIZATION)
        try:  # without a client certificate, where one is asked for, there would be no connection
            caller = access.check(self._method, authorization, certified=True)
        except ErrataError as error:
            self._metrics.refused_calls.labels("grpc", error.reason).inc()
            structlog.contextvars.bind_contextvars(peer=self._context.peer(), why=error.message)
            raise
        CALLER.set(caller)
        if caller:
            structlog.contextvars.bind_contextvars(caller=caller)

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        code = "OK"
        try:
            if isinstance(error, ErrataError):
                code = code_of(error).name
                places = [f"{each.field}:{each.line or ''}" for each in error.violations]  # no word of what was sent
                _log.info("call refused", code=code, reason=error.reason, places=places)
                await _abort(self._context, status_of(error))
            elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                code = "INTERNAL"
                _log.error("call failed", exc_info=error)
                await _abort(self._context, internal(self._request_id))
            elif error is not None:
                code = "CANCELLED"
        finally:
            self._metrics.rpc_handled.labels(self._name, code).inc()
            self._metrics.rpc_duration.labels(self._name).observe(time.perf_counter() - self._started)


async def _abort(context: "grpc.aio.ServicerContext[Any, Any]", status: Any) -> None:
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)


def _request_id(context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """Return the id that the caller gave the call, or a new one."""
    given = _value(context.invocation_metadata(), REQUEST_ID)
    return given if REQUEST_IDS.fullmatch(given) else new_request_id()


def _value(metadata: Any, name: str) -> str:
    """Return the first value of a call's metadata under a name; empty if there is none."""
    return next((value for key, value in metadata or () if key == name and isinstance(value, str)), "")
