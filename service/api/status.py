"""From an error to a gRPC status: one table, and the details that clients read."""

import grpc
from errata import errors
from errata.errors import ErrataError
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from service.redact import public_message, public_text

DOMAIN = "errata"
MAX_FIELD = 120  # characters of a field's name
MAX_VIOLATIONS = 10  # that an error names
MAX_TEXT = 600  # characters of a message: all details together must fit into 8 KiB of metadata

CODES: dict[type[ErrataError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotReady: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooBusy: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.PermanentError: grpc.StatusCode.FAILED_PRECONDITION,
}


def code_of(error: ErrataError) -> grpc.StatusCode:
    """Return the canonical code of an error: that of its branch of the tree."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), grpc.StatusCode.UNKNOWN)


def status_of(error: ErrataError) -> Status:
    """Return the whole status: code, message, ErrorInfo, BadRequest with fields and lines, RetryInfo."""
    status = Status(code=code_of(error).value[0], message=_bounded(public_message(error)))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    details: list[Any] = [_packed(info)]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=_bounded(violation.field, MAX_FIELD)
                + ("" if violation.line is None else f"[line {violation.line}]"),
                description=_bounded(public_text(error, violation.description)),
            )
            for violation in error.violations[:MAX_VIOLATIONS]
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
        lines = [str(violation.line) for violation in error.violations if violation.line is not None]
        if lines:
            info.metadata["lines"] = ",".join(lines)
            details[0] = _packed(info)
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    status.details.extend(details)
    return status


def internal(request_id: str) -> Status:
    """Return the status of an error that nobody foresaw: its traceback is in the log, under the request's id."""
    status = Status(
        code=grpc.StatusCode.INTERNAL.value[0], message=f"internal error; the log has it under request {request_id}"
    )
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"request_id": request_id})
    status.details.append(_packed(info))
    return status


def _bounded(text: str, most: int = MAX_TEXT) -> str:
    """Return a text that a message can carry: short, and valid Unicode."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _packed(message: object) -> Any:
    packed = Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed
