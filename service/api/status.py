"""The gRPC status of an error: its code and the details that clients read."""

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
MAX_VIOLATIONS = 10  # field violations in one status
MAX_TEXT = 600  # characters of a message; all details together must fit into 8 KiB of metadata

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
    """Return the gRPC code of an error: the code of its nearest base class in CODES."""
    return next((CODES[base] for base in type(error).__mro__ if base in CODES), grpc.StatusCode.UNKNOWN)


def status_of(error: ErrataError) -> Status:
    """Return the status of an error: code, message, ErrorInfo, BadRequest with fields and lines, and RetryInfo."""
    status = Status(code=code_of(error).value[0], message=_truncate(public_message(error)))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    details: list[Any] = [_pack(info)]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=_truncate(violation.field, MAX_FIELD)
                + ("" if violation.line is None else f"[line {violation.line}]"),
                description=_truncate(public_text(error, violation.description)),
            )
            for violation in error.violations[:MAX_VIOLATIONS]
        ]
        details.append(_pack(error_details_pb2.BadRequest(field_violations=violations)))
        lines = [str(violation.line) for violation in error.violations if violation.line is not None]
        if lines:
            info.metadata["lines"] = ",".join(lines)
            if (unit := error.violations[0].unit) != "line":
                info.metadata["unit"] = unit
            details[0] = _pack(info)
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    status.details.extend(details)
    return status


def internal_status(request_id: str) -> Status:
    """Return the status of an unexpected error, whose traceback is in the log."""
    status = Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message=f"Internal error. Search the service's log for the request ID {request_id}.",
    )
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"request_id": request_id})
    status.details.append(_pack(info))
    return status


def _truncate(text: str, max_length: int = MAX_TEXT) -> str:
    """Truncate a text, and escape surrogates, which UTF-8 can't encode."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def _pack(message: object) -> Any:
    packed = Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed
