"""Around every call: its id, its metrics, who may make it, and its errors, translated once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import grpc
import structlog
from errata.errors import ErrataError, InvalidRequest
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from service.api.status import code_of, internal, status_of
from service.authorization import CALLER, PERMISSIONS, Authorizer, Scope
from service.evicting_limiter import EvictingLimiter
from service.redact import log_fields
from service.telemetry import REQUEST_ID, REQUEST_IDS, Metrics, new_request_id

AUTHORIZATION = "authorization"
MOST_RECEIVING, MOST_ANSWERING = 32, 256  # calls of health at once; one more takes the place of the oldest
RECEIVE_SECONDS = 10.0  # that their message may take
RECHECK_SECONDS = 2.0  # between two checks whether the caller of a stream is still allowed
MAX_SERVICE = 256  # characters of a service's name
_log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Counts calls, binds a request id to their logs, admits them, and turns what they raise into a status."""

    def __init__(self, metrics: Metrics, access: Authorizer) -> None:
        self._metrics = metrics
        self._access = access
        self._receiving = EvictingLimiter(
            MOST_RECEIVING, RECEIVE_SECONDS
        )  # calls of health that wait for their message
        self._answering = EvictingLimiter(MOST_ANSWERING)  # and those that are answered, for long if they watch

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the handler of a call that may be made; for another, one that refuses before it takes a message."""
        handler = await continuation(handler_call_details)
        method, metadata = str(handler_call_details.method), handler_call_details.invocation_metadata
        if handler is None:
            return handler
        if PERMISSIONS.get(method) is Scope.OPEN:
            return self._open(handler)
        # without a client certificate, where one is asked for, there would be no connection
        check = partial(self._access.check, method, _value(metadata, AUTHORIZATION), certified=True)
        try:
            caller = check()
        except ErrataError as error:
            return self._refusing(method, error)
        if not method.startswith("/errata."):  # reflection
            return handler
        decode, encode = _decoding(handler.request_deserializer), handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._single(method, caller, handler.unary_unary), decode, encode
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                self._upload(method, caller, check, handler.stream_unary), decode, encode
            )
        return grpc.unary_stream_rpc_method_handler(
            self._stream(method, caller, check, handler.unary_stream), decode, encode
        )

    def end_watches(self) -> None:
        """End the watches of health, which would wait for as long as the service stands."""
        self._answering.evict_all()

    def _refusing(self, method: str, error: ErrataError) -> Any:
        """Return a handler that refuses: one of streams, for which gRPC receives no message by itself."""

        async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with _Call(self._metrics, method, context):
                self._metrics.refused_calls.labels("grpc", error.reason).inc()
                structlog.contextvars.bind_contextvars(peer=context.peer(), why=error.message)
                raise error

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _open(self, handler: Any) -> Any:
        """Return health's handler, which anybody may call: with a bound on what is received, and for how long."""

        async def call(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                async with self._receiving.slot():
                    request = await anext(aiter(requests))
                if len(getattr(request, "service", "")) > MAX_SERVICE:
                    await context.abort(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"Service name too long. Expected at most {MAX_SERVICE} characters.",
                    )
                async with self._answering.slot():
                    answer = await (handler.unary_unary or handler.unary_stream)(request, context)
                if handler.unary_unary:
                    await context.write(answer)
            except (TimeoutError, StopAsyncIteration):  # abort ends the stream, and frees what came of a message
                await context.abort(
                    grpc.StatusCode.UNAVAILABLE, "The call took too long or was evicted by newer ones. Try again later."
                )

        return grpc.stream_stream_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)

    def _single(self, method: str, caller: str, behavior: Any) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with _Call(self._metrics, method, context, caller):
                return await behavior(_decoded(request), context)

        return call

    def _upload(self, method: str, caller: str, check: Callable[[], object], behavior: Any) -> Any:
        async def receive(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with _while_allowed(check):
                return await behavior(request, context)

        return self._single(method, caller, receive)

    def _stream(self, method: str, caller: str, check: Callable[[], object], behavior: Any) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with (
                _Call(self._metrics, method, context, caller),
                _while_allowed(check),
                aclosing(behavior(_decoded(request), context)) as messages,
            ):
                async for message in messages:
                    await context.write(message)  # inside _while_allowed, which ends a write that waits, too

        return call


@asynccontextmanager
async def _while_allowed(check: Callable[[], object]) -> AsyncIterator[None]:
    """Run a block; end it with the error that `check` raises once its caller is not allowed any more."""
    loop = asyncio.get_running_loop()
    refusals: list[ErrataError] = []
    timer: asyncio.TimerHandle

    def recheck() -> None:
        nonlocal timer
        try:
            check()
        except ErrataError as error:
            refusals.append(error)
            end.reschedule(loop.time())
        else:
            timer = loop.call_later(RECHECK_SECONDS, recheck)

    timer = loop.call_later(RECHECK_SECONDS, recheck)
    try:
        async with asyncio.timeout(None) as end:
            yield
    except TimeoutError as error:
        raise (refusals[0] if end.expired() else error) from None
    finally:
        timer.cancel()


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

    def __init__(
        self, metrics: Metrics, method: str, context: "grpc.aio.ServicerContext[Any, Any]", caller: str = ""
    ) -> None:
        self._metrics = metrics
        self._name = method.rsplit("/", 1)[-1]
        self._context = context
        self._caller = caller  # the name of its token
        self._started = 0.0
        self._request_id = ""

    async def __aenter__(self) -> "_Call":
        self._started = time.perf_counter()
        self._request_id = _request_id(self._context)
        structlog.contextvars.bind_contextvars(request=self._request_id, rpc=self._name)
        self._metrics.rpc_started.labels(self._name).inc()
        self._context.set_trailing_metadata(((REQUEST_ID, self._request_id),))
        CALLER.set(self._caller)
        if self._caller:
            structlog.contextvars.bind_contextvars(caller=self._caller)
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        code = "OK"
        try:
            if isinstance(error, ErrataError):
                code = code_of(error).name
                places = [
                    f"{violation.field}:{violation.line or ''}" for violation in error.violations
                ]  # no word of what was sent
                _log.info("call refused", code=code, reason=error.reason, places=places, **log_fields(error))
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
