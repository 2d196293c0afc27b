"""Exit codes of the `errata` command."""

from collections.abc import Mapping

from errata import errors
from errata.errors import ErrataError

SUCCESS = 0
GATE_FAILED = 1
CHECK_FAILED = 1
BAD_INPUT = 2
UNAVAILABLE = 3  # also a service that cannot accept the call now
ANALYSIS_FAILED = 4
UNDECIDED = 5
BUG = 70
INTERRUPTED = 130
MEANINGS: Mapping[int, str] = {
    SUCCESS: "The command succeeded.",
    GATE_FAILED: "A gate failed, or `errata dataset check` found errors.",
    BAD_INPUT: "The usage or the input is invalid.",
    UNAVAILABLE: "The service is unavailable.",
    ANALYSIS_FAILED: "The analysis failed or was canceled.",
    UNDECIDED: "A gate is undecided or pending, or `errata wait` reached its time limit.",
    BUG: "A bug in Errata.",
    INTERRUPTED: "The command was interrupted.",
}


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
