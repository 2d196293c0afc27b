"""The interceptor of all calls: request IDs, metrics, authorization, and the mapping of errors to statuses."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing, asynccontextmanager, nullcontext
from functools import partial
from inspect import isasyncgenfunction
from typing import Any

import grpc
import structlog
from errata.errors import ErrataError, PermissionDenied, TooBusy, TooLarge
from errata.tokens import Scope
from grpc_status import rpc_status

from service import tracing
from service.api.messages import Context, parse_message, write_message
from service.api.status import code_of, internal_status, status_of
from service.authorization import PERMISSIONS, Authorizer
from service.caller import CALLER, Caller
from service.evicting_limiter import EvictingLimiter
from service.quotas import RequestQuota
from service.redact import log_fields
from service.telemetry import REQUEST_ID, REQUEST_IDS, SERVICE_FAULT_CODES, Metrics, new_request_id

AUTHORIZATION = "authorization"
MAX_HEALTH_REQUESTS, MAX_HEALTH_RESPONSES = 32, 256  # concurrent health calls; a further call evicts the oldest
MAX_REFLECTION_STREAMS = 64  # concurrent; a further stream evicts the oldest
HEALTH_REQUEST_SECONDS = 10.0  # timeout for the request message of a health call
READ_SECONDS = 30.0  # time limit to read a message of a stream other than a download
RECHECK_SECONDS = 2.0  # interval between two authorization checks of a stream
MAX_SERVICE = 256  # characters of a service's name
MAX_REQUEST = 1 << 20  # bytes of a request without a file; parsing one of 4 MiB can take 235 MiB
REQUESTS_WITH_FILE = frozenset(  # the methods whose request can contain a file of reference models
    {"/errata.v1.AnalysisService/ComputeTrend", "/errata.v1.AnalysisService/RenderReport"}
)
_log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Counts and authorizes calls, binds a request ID to their logs, and maps their errors to statuses."""

    def __init__(self, metrics: Metrics, authorizer: Authorizer, quota: RequestQuota | None = None) -> None:
        self._metrics = metrics
        self._authorizer = authorizer
        self._quota = quota or RequestQuota()
        self._health_requests = EvictingLimiter(MAX_HEALTH_REQUESTS, HEALTH_REQUEST_SECONDS)
        self._health_responses = EvictingLimiter(MAX_HEALTH_RESPONSES)  # a health watch occupies a slot until it ends
        self._reflection_streams = EvictingLimiter(MAX_REFLECTION_STREAMS)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the handler of an authorized call, or a handler that refuses the call before it receives a message."""
        handler = await continuation(handler_call_details)
        method, metadata = str(handler_call_details.method), handler_call_details.invocation_metadata
        if handler is None:
            return handler
        if PERMISSIONS.get(method) is Scope.OPEN:
            return self._health_handler(handler)
        # The TLS handshake has already checked the client certificate, if one is required.
        check = partial(self._authorizer.check, method, _value(metadata, AUTHORIZATION), certified=True)
        try:
            caller = check()
            await self._quota.count(caller)
        except ErrataError as error:
            return self._refusing_handler(method, error)
        # gRPC does not parse the messages, since it answers UNKNOWN if a deserializer fails. UploadReceiver parses the
        # messages of uploads.
        parse, encode = handler.request_deserializer, handler.response_serializer
        if not handler.stream_unary and method not in REQUESTS_WITH_FILE:
            parse = partial(_parse_limited, parse)
        if handler.stream_stream:
            behavior = _with_parsed_requests(handler.stream_stream, parse)
            reflection = self._wrap_stream(method, caller, check, behavior, self._reflection_slot())
            return grpc.stream_stream_rpc_method_handler(reflection, None, encode)
        if handler.unary_unary:
            unary = self._wrap_unary(method, caller, _with_parsed_request(handler.unary_unary, parse))
            return grpc.unary_unary_rpc_method_handler(unary, None, encode)
        if handler.stream_unary:
            upload = self._wrap_file_transfer(method, caller, check, handler.stream_unary)
            return grpc.stream_unary_rpc_method_handler(upload, None, encode)
        behavior = _with_parsed_request(handler.unary_stream, parse)
        # A download is no generator, since it writes its messages itself.
        wrap = self._wrap_stream if isasyncgenfunction(handler.unary_stream) else self._wrap_file_transfer
        stream = wrap(method, caller, check, behavior)
        return grpc.unary_stream_rpc_method_handler(stream, None, encode)

    def end_streams(self) -> None:
        """End health watches and reflection streams, which would otherwise delay the shutdown."""
        self._health_responses.evict_all()
        self._reflection_streams.evict_all()

    def _refusing_handler(self, method: str, error: ErrataError) -> Any:
        """Return a handler that refuses a call: a stream handler, so that gRPC does not first receive a message."""

        async def refuse(_: Any, context: Context) -> None:
            async with _Call(self._metrics, method, context):
                self._metrics.refused_calls.labels("grpc", error.reason).inc()
                structlog.contextvars.bind_contextvars(peer=context.peer(), why=error.message)
                raise error

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _health_handler(self, handler: Any) -> Any:
        """Wrap a handler of the health service, which needs no token, with limits on concurrency and time."""

        async def call(requests: AsyncIterator[Any], context: Context) -> None:
            try:
                async with self._health_requests.slot():
                    request = await anext(aiter(requests))
                if len(getattr(request, "service", "")) > MAX_SERVICE:
                    await context.abort(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"Service name too long. Expected at most {MAX_SERVICE} characters.",
                    )
                async with self._health_responses.slot():
                    response = await (handler.unary_unary or handler.unary_stream)(request, context)
                if handler.unary_unary:
                    await context.write(response)
            except (TimeoutError, StopAsyncIteration):  # abort also frees the buffer of an incomplete message
                await context.abort(
                    grpc.StatusCode.UNAVAILABLE, "The call took too long or was evicted by newer ones. Try again later."
                )

        return grpc.stream_stream_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)

    @asynccontextmanager
    async def _reflection_slot(self) -> AsyncIterator[None]:
        try:
            async with self._reflection_streams.slot():
                yield
        except TimeoutError as error:
            raise TooBusy(
                "The stream was evicted by newer ones, or the service is shutting down. Open it again.", retry_after=1.0
            ) from error

    def _wrap_unary(self, method: str, caller: Caller, behavior: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            async with _Call(self._metrics, method, context, caller):
                return await behavior(request, context)

        return call

    def _wrap_file_transfer(self, method: str, caller: Caller, check: Callable[[], Caller], behavior: Any) -> Any:
        async def transfer(request: Any, context: Context) -> Any:
            async with _while_authorized(check, caller):
                return await behavior(request, context)

        return self._wrap_unary(method, caller, transfer)

    def _wrap_stream(
        self,
        method: str,
        caller: Caller,
        check: Callable[[], Caller],
        behavior: Any,
        slot: AbstractAsyncContextManager[None] | None = None,
    ) -> Any:
        async def call(request: Any, context: Context) -> None:
            async with (
                _Call(self._metrics, method, context, caller),
                _while_authorized(check, caller),  # also ends a blocked write
                slot or nullcontext(),
                aclosing(behavior(request, context)) as messages,
            ):
                async for message in messages:
                    await _write(context, message)

        return call


async def _write(context: Context, message: object) -> None:
    """Write a message of a stream; raise TooBusy if the client does not read it within READ_SECONDS."""
    try:
        async with asyncio.timeout(READ_SECONDS) as timeout:
            await write_message(context, message)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise TooBusy(
            f"The client read too slowly: no message for {READ_SECONDS:g} seconds. Start the call again, and read its "
            "messages without long pauses.",
            retry_after=1.0,
        ) from error


def _parse_limited(parse: Callable[[bytes], Any], content: bytes) -> Any:
    if len(content) > MAX_REQUEST:
        raise TooLarge(f"The request has {len(content):,} bytes. Send at most {MAX_REQUEST:,} bytes.", field="request")
    return parse(content)


def _with_parsed_request(behavior: Any, parse: Callable[[bytes], Any]) -> Any:
    return lambda request, context: behavior(parse_message(parse, request), context)


def _with_parsed_requests(behavior: Any, parse: Callable[[bytes], Any]) -> Any:
    async def parsed(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for request in requests:
            yield parse_message(parse, request)

    return lambda requests, context: behavior(parsed(requests), context)


@asynccontextmanager
async def _while_authorized(check: Callable[[], Caller], caller: Caller) -> AsyncIterator[None]:
    """Run a block. End it with an error once `check` fails, or its caller may see other analyses than before."""
    loop = asyncio.get_running_loop()
    refusals: list[ErrataError] = []
    timer: asyncio.TimerHandle

    def recheck() -> None:
        nonlocal timer
        try:
            current = check()
            if (current.name, current.visible_owner) != (caller.name, caller.visible_owner):
                raise PermissionDenied("The permissions of the token have changed. Start the call again.")
        except ErrataError as error:
            refusals.append(error)
            timeout.reschedule(loop.time())
        else:
            timer = loop.call_later(RECHECK_SECONDS, recheck)

    timer = loop.call_later(RECHECK_SECONDS, recheck)
    try:
        async with asyncio.timeout(None) as timeout:
            yield
    except TimeoutError as error:
        raise (refusals[0] if timeout.expired() else error) from None
    finally:
        timer.cancel()


class _Call:
    """Measures and logs one call, and aborts it with the status of its error."""

    def __init__(self, metrics: Metrics, method: str, context: Context, caller: Caller | None = None) -> None:
        self._metrics = metrics
        self._method = method.removeprefix("/")
        self._name = method.rsplit("/", 1)[-1]
        self._context = context
        self._caller = caller or Caller()
        self._started_at = 0.0
        self._request_id = ""
        self._span = ExitStack()

    async def __aenter__(self) -> "_Call":
        self._started_at = time.perf_counter()
        parent = tracing.read_context(self._context.invocation_metadata() or ())
        attributes = {"rpc.system.name": "grpc", "rpc.method": self._method}
        self._span.enter_context(tracing.span(self._method, tracing.Kind.SERVER, parent, attributes))
        self._request_id = _request_id(self._context)
        structlog.contextvars.bind_contextvars(request=self._request_id, rpc=self._name)
        self._metrics.rpc_started.labels(self._name).inc()
        self._context.set_trailing_metadata(self._trailers())
        CALLER.set(self._caller)
        if self._caller.name:
            structlog.contextvars.bind_contextvars(caller=self._caller.name)
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        code = "OK"
        try:
            if isinstance(error, ErrataError):
                code = code_of(error).name
                # The descriptions are not logged, since they quote the caller's input.
                places = [f"{violation.field}:{violation.line or ''}" for violation in error.violations]
                _log.info("call refused", code=code, reason=error.reason, places=places, **log_fields(error))
                await self._abort(status_of(error))
            elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                code = "INTERNAL"
                _log.error("call failed", exc_info=error)
                await self._abort(internal_status(self._request_id))
            elif error is not None:
                code = "CANCELLED"
        finally:
            self._metrics.rpc_handled.labels(self._name, code).inc()
            self._metrics.rpc_duration.labels(self._name).observe(time.perf_counter() - self._started_at)
            tracing.set_attributes({"rpc.response.status_code": code})
            if code in SERVICE_FAULT_CODES:
                tracing.set_error(code)
            self._span.close()

    async def _abort(self, status: Any) -> None:
        grpc_status = rpc_status.to_status(status)
        trailers = (*self._trailers(), *grpc_status.trailing_metadata)  # `abort` replaces those that were set before
        await self._context.abort(grpc_status.code, grpc_status.details, trailers)

    def _trailers(self) -> tuple[tuple[str, str], ...]:
        return ((REQUEST_ID, self._request_id),)


def _request_id(context: Context) -> str:
    """Return the request ID that the caller sent if it is valid, or a new one."""
    request_id = _value(context.invocation_metadata(), REQUEST_ID)
    return request_id if REQUEST_IDS.fullmatch(request_id) else new_request_id()


def _value(metadata: Any, name: str) -> str:
    """Return the first value of a metadata key, or an empty string."""
    return next((value for key, value in metadata or () if key == name and isinstance(value, str)), "")
