"""From an error to an HTTP status: one table."""

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
    errors.Unavailable: 503,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.Cancelled: 409,
    errors.PermanentError: 409,
}
STATUS_WORDS: Mapping[int, str] = {
    400: "This can't be asked",
    401: "Who are you?",
    403: "This token may not",
    404: "There is no such thing",
    409: "Not in this state",
    413: "Too large",
    500: "Something is wrong",
    503: "Not now",
}


def status_of(error: ErrataError) -> int:
    """Return the HTTP status of an error: that of its branch of the tree."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
