"""Pictures of a data set's images. service.report.urls builds the URLs.

/datasets/{dataset}/thumbnails/{image}     a JPEG of at most 256 x 256 pixels
/datasets/{dataset}/pictures/{image}       a JPEG of at most 2,048 x 2,048 pixels

The parameter `v` is the version of the image's file. Browsers keep the picture at a URL with the current version. At
other URLs, they ask whether the picture has changed. For a missing or unreadable image, the response is a placeholder
with the status 404.
"""

import hashlib
from collections.abc import Awaitable, Callable

import structlog
from errata.errors import ErrataError, TooBusy
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.bounded_executor import BoundedExecutor
from service.concurrency import ConcurrencyLimit
from service.predictions.pictures.messages import PictureRequest
from service.predictions.thumbnails import PICTURE, THUMBNAIL, Thumbnails
from service.web.application import ROUTE, retry_header
from service.web.status import status_of

NUM_THREADS = 4
MAX_REQUESTS, RETRY_SECONDS = 512, 1.0  # running and waiting: the grids of eight users, of four with one token
NEVER_CHANGES = "private, max-age=31536000, immutable"
REVALIDATE = "private, no-cache"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
PLACEHOLDER = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="256" height="256">
<rect width="256" height="256" fill="#8883"/>
<path d="M64 80h128v96H64zM64 160l40-36 28 24 24-20 36 32M64 80l128 96" fill="none" stroke="#888" stroke-width="6"/>
</svg>"""
_log = structlog.get_logger()


class Pictures:
    """Serves pictures in threads of its own, with a bound on waiting requests."""

    def __init__(self, thumbnails: Thumbnails) -> None:
        self._thumbnails = thumbnails
        requests = ConcurrencyLimit(MAX_REQUESTS, "requests for pictures", RETRY_SECONDS)
        self._executor = BoundedExecutor(NUM_THREADS, "picture", requests)

    def routes(self) -> list[Route]:
        """Return the routes of the pictures."""
        return [
            Route("/datasets/{dataset}/thumbnails/{image:path}", self._endpoint(THUMBNAIL)),
            Route("/datasets/{dataset}/pictures/{image:path}", self._endpoint(PICTURE)),
        ]

    def stop(self) -> None:
        """Stop the threads."""
        self._executor.stop()

    def _endpoint(self, picture: PictureRequest) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._executor.call(self._respond, picture, request)
            except TooBusy as error:
                return _unavailable(error)

        return endpoint

    def _respond(self, picture: PictureRequest, request: Request) -> Response:
        """Return the picture, or a placeholder. Only the log has the details of unexpected errors."""
        try:
            return self._load(picture, request)
        except ErrataError as error:
            return _unavailable(error)
        except Exception:
            _log.exception("picture failed", path=request.scope.get(ROUTE))
            return _placeholder(500)

    def _load(self, picture: PictureRequest, request: Request) -> Response:
        dataset, name = request.path_params["dataset"], request.path_params["image"]
        content = self._thumbnails.load(dataset, name, picture)
        if content is None:
            return _placeholder(404)
        version = request.query_params.get("v")
        is_current = bool(version) and version == self._thumbnails.version(dataset, name)
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = HEADERS | {"ETag": tag, "Cache-Control": NEVER_CHANGES if is_current else REVALIDATE}
        if _matches(request.headers.get("If-None-Match", ""), tag):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)


def _matches(header: str, tag: str) -> bool:
    """Return whether an If-None-Match header has a tag."""
    return any(part.strip().removeprefix("W/") in (tag, "*") for part in header.split(","))


def _placeholder(status: int) -> Response:
    headers = HEADERS | {"Cache-Control": "private, max-age=60" if status == 404 else "no-store"}
    return Response(PLACEHOLDER, status_code=status, media_type="image/svg+xml", headers=headers)


def _unavailable(error: ErrataError) -> Response:
    response = _placeholder(status_of(error))
    response.headers.update(retry_header(error))
    return response
