"""The reference of error reasons, from errata.errors."""

import re
from collections.abc import Iterator

from errata.errors import ErrataError

from docs_site.tables import as_sentence, format_table
from service.api.status import code_of

INTRODUCTION = """# Error reasons

A failed call returns a canonical gRPC code and a `google.rpc.ErrorInfo` (domain `errata`) with one of the reasons
below. Invalid input adds a `google.rpc.BadRequest` with the field and, for an upload, the line. A call that can succeed
later adds a `google.rpc.RetryInfo` with the delay. The Python clients raise the exception of the same row from
`errata.errors`.

An unexpected error has the code `INTERNAL`. Its message contains the request id; search the service's log for that id.

This page is generated from `client/errata/errors.py`.

"""


def iterate_errors(base: type[ErrataError] = ErrataError) -> Iterator[type[ErrataError]]:
    """Yield all subclasses of the base, each followed by its own subclasses."""
    for error in base.__subclasses__():
        yield error
        yield from iterate_errors(error)


def render() -> str:
    """Return the page as Markdown."""
    rows = [
        (
            f'<span id="{error.reason.lower()}"></span>`{error.reason}`',
            f"`{code_of(error('')).name}`",
            f"`{error.__name__}`",
            as_sentence(re.sub(r"^Raised when\s+", "", error.__doc__ or "")),
        )
        for error in iterate_errors()
    ]
    return INTRODUCTION + format_table(("reason", "gRPC code", "exception", "meaning"), rows)
