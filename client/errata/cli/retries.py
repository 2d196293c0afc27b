"""Requests that are repeated while the service is unavailable or too busy."""

import time
from collections.abc import Callable
from typing import TypeVar

from errata.errors import TooBusy, Unavailable

POLL_SECONDS = 1.0
RETRY_SECONDS = 60.0  # for a request without a time limit of its own

Response = TypeVar("Response")


def retry(request: Callable[[], Response], end: float | None = None) -> Response:
    """Return the response to a request. Repeat the request while the service is unavailable or too busy.

    Args:
        request: Sends the request.
        end: Time of `time.monotonic` after which the request is not repeated. Default: RETRY_SECONDS from now.
    """
    end = time.monotonic() + RETRY_SECONDS if end is None else end
    while True:
        try:
            return request()
        except (Unavailable, TooBusy) as error:
            delay = (error.retry_after if isinstance(error, TooBusy) else None) or POLL_SECONDS
            if time.monotonic() + delay > end:
                raise
        time.sleep(delay)
