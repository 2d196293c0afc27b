"""Conversion of gRPC statuses to Errata's errors."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from errata import errors
from errata.connection import UnknownMethod, connection_error
from errata.errors import ErrataError, Violation

_LINE = re.compile(r"(.*)\[line ([0-9]+)\]", re.DOTALL)  # a field and a line, as the service encodes them


def error_of(
    error: grpc.RpcError, server: str, request_id: str = "", request: str = "request", tls: bool = False
) -> ErrataError:
    """Return the error that the service raised.

    Args:
        error: The failed call.
        server: The address of the service, for messages.
        request_id: The ID of the call, which the service's logs contain.
        request: The noun for what the caller sent, for messages.
        tls: Whether the client uses TLS, for messages.

    Returns:
        An error whose class is determined by the reason in the status. If the status has no reason, the error is
        `ConnectionFailed` if no service received the call, otherwise the class is determined by the status code.
    """
    result = _convert(error, server, request, tls)
    result.request_id = request_id
    return result


def check_serving(response: health_pb2.HealthCheckResponse, server: str) -> None:
    """Check the response of a health check.

    Raises:
        Unavailable: If the service does not accept calls.
    """
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus
        state = status.Name(response.status) if response.status in status.values() else response.status
        raise errors.Unavailable(f"The service at {server} does not accept calls (health: {state}). Try again later.")


def _convert(error: grpc.RpcError, server: str, request: str, tls: bool) -> ErrataError:
    call: Any = error if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None  # both have code and details
    code = call.code() if call is not None else grpc.StatusCode.UNKNOWN
    message = (call.details() if call is not None else None) or str(error)
    reason, violations, retry_after, unit = "", list[Violation](), None, ""
    with suppress(ValueError, DecodeError):  # a proxy or another program can send details of another form
        status: Any = rpc_status.from_call(call) if call is not None else None
        for detail in status.details if status is not None else ():
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                reason, unit = info.reason, info.metadata.get("unit", "")
            elif detail.Unpack(bad):
                violations = [
                    _violation(field_violation.field, field_violation.description)
                    for field_violation in bad.field_violations
                ]
            elif detail.Unpack(retry):
                retry_after = max(0.0, retry.retry_delay.ToMilliseconds() / 1000)
    if unit:
        violations = [replace(violation, unit=unit) for violation in violations]
    error_class = _CLASSES.get(reason)
    if error_class is not None:
        return error_class(message, violations=violations, retry_after=retry_after)
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return connection_error(server, message, request, tls)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.Unavailable(f"The service at {server} did not respond in time. Try again later.")
        case grpc.StatusCode.CANCELLED:
            return errors.Cancelled(message)
        case grpc.StatusCode.UNIMPLEMENTED:
            return UnknownMethod(f"The server at {server} has no such method: {message} Check its address and version.")
        case _:
            return ErrataError(f"{code.name}: {message}")


def _violation(field: str, description: str) -> Violation:
    match = _LINE.fullmatch(field)
    return Violation(match[1], description, int(match[2])) if match else Violation(field, description)


def _subclasses(error_class: type[ErrataError]) -> Iterator[type[ErrataError]]:
    yield error_class
    for subclass in error_class.__subclasses__():
        yield from _subclasses(subclass)


_CLASSES: Mapping[str, type[ErrataError]] = {
    error_class.reason: error_class
    for error_class in _subclasses(ErrataError)
    if error_class.__module__ == errors.__name__  # only errors that a service sends
}
