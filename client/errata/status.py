"""From a gRPC status to the error that the service raised."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from errata import errors
from errata.errors import ErrataError, Violation

_LINE = re.compile(r"(.*)\[line ([0-9]+)\]", re.DOTALL)  # as api/status.py writes it


def error_of(error: grpc.RpcError, server: str, request_id: str = "") -> ErrataError:
    """Return the error that the service raised, by the reason in the status' details; it knows its call's id."""
    result = _error_of(error, server)
    result.request_id = request_id
    return result


def check_serving(said: health_pb2.HealthCheckResponse, server: str) -> None:
    """Raise Unavailable for a service that answers, but takes no calls."""
    if said.status != health_pb2.HealthCheckResponse.SERVING:
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(said.status)
        raise errors.Unavailable(f"expected a service at {server} that serves, got one that is {state}")


def _error_of(error: grpc.RpcError, server: str) -> ErrataError:
    call: Any = error if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None  # both say code and details
    code = call.code() if call is not None else grpc.StatusCode.UNKNOWN
    message = (call.details() if call is not None else None) or str(error)
    reason, violations, retry_after = "", list[Violation](), None
    status: Any = rpc_status.from_call(call) if call is not None else None
    for detail in status.details if status is not None else ():
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            violations = [
                _violation(field_violation.field, field_violation.description)
                for field_violation in bad.field_violations
            ]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    kind = _KINDS.get(reason)
    if kind is not None:
        return kind(message, violations=violations, retry_after=retry_after)
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return errors.Unavailable(f"the service at {server} can't be reached: {message}")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.Unavailable(f"the service at {server} did not answer in time")
        case grpc.StatusCode.CANCELLED:
            return errors.Cancelled(message)
        case _:
            return ErrataError(f"{code.name}: {message}")


def _violation(field: str, description: str) -> Violation:
    match = _LINE.fullmatch(field)
    return Violation(match[1], description, int(match[2])) if match else Violation(field, description)


def _all_kinds(kind: type[ErrataError]) -> Iterator[type[ErrataError]]:
    yield kind
    for item in kind.__subclasses__():
        yield from _all_kinds(item)


_KINDS: Mapping[str, type[ErrataError]] = {kind.reason: kind for kind in _all_kinds(ErrataError)}
