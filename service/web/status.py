"""HTTP statuses of errors, and the titles of error pages."""

from collections.abc import Mapping

from errata import errors
from errata.errors import ErrataError

STATUSES: Mapping[type[ErrataError], int] = {
    errors.InvalidInput: 400,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.NotReady: 409,
    errors.TooLarge: 413,
    errors.TooBusy: 503,
    errors.QuotaExceeded: 429,
    errors.Unavailable: 503,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.Cancelled: 409,
    errors.PermanentError: 409,
}
STATUS_TITLES: Mapping[int, str] = {
    400: "Invalid request",
    401: "Authentication required",
    403: "Permission denied",
    404: "Page not found",
    405: "Method not permitted",
    409: "Conflict with the current state",
    413: "Request too large",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}


def status_of(error: ErrataError) -> int:
    """Return the HTTP status of an error: that of its nearest base class in STATUSES."""
    return next((STATUSES[base] for base in type(error).__mro__ if base in STATUSES), 500)
