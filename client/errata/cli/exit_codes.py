"""Exit codes of the `errata` command."""

from errata import errors
from errata.errors import ErrataError

SUCCESS = 0
GATE_FAILED = 1
BAD_INPUT = 2
UNAVAILABLE = 3  # no service, or a service that cannot accept the call now
ANALYSIS_FAILED = 4  # or cancelled
UNDECIDED = 5  # a gate without a decision, or an analysis that has not finished in time
BUG = 70
INTERRUPTED = 130


def exit_code_of(error: ErrataError) -> int:
    """Return the exit code for an error."""
    match error:
        case errors.Unavailable() | errors.TooBusy():
            return UNAVAILABLE
        case errors.PermanentError() | errors.Cancelled():
            return ANALYSIS_FAILED
        case errors.InvalidInput() | errors.NotFound() | errors.AlreadyExists() | errors.NotReady() | errors.TooLarge():
            return BAD_INPUT
        case errors.Unauthenticated() | errors.PermissionDenied():
            return BAD_INPUT
        case _:
            return UNAVAILABLE
