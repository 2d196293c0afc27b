"""Responses with HTML pages: headers, error pages, and downloads."""

from collections.abc import Callable, Sequence

import structlog
from errata.errors import AnalysisNotFound, ErrataError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from service import wire
from service.redact import log_fields, public_message, public_text
from service.report.render import content_security_policy, render
from service.web.application import ROUTE, challenge, peer_of, retry_header
from service.web.status import STATUS_TITLES, status_of

HEADERS = {
    "Content-Security-Policy": content_security_policy(site=True) + "; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # no-referrer would remove the Origin header, which forms need
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache, private",
}
_log = structlog.get_logger()


def refusal(error: ErrataError) -> Response:
    """Return the page for a request that is not authorized; a browser asks the user for the token as a password."""
    response = error_page(error)
    response.headers.update(challenge(error, "Basic"))
    return response


def http_error(status: int, method: str, path: str) -> Response:
    """Return the page for a request without a route.

    Args:
        status: 404 or 405.
        method: The HTTP method.
        path: The path of the URL.

    Returns:
        The error page.
    """
    message = f"Method {method} is not permitted for this page." if status == 405 else f"No page at {path!r:.120}."
    return message_page(status, message)


def handle(handler: Callable[[Request], Response], request: Request) -> Response:
    """Return the page of a handler, or an error page. Only the log has the details of unexpected errors."""
    try:
        return handler(request)
    except ErrataError as error:
        if details := log_fields(error):
            _log.warning("page refused", path=request.scope.get(ROUTE), reason=error.reason, **details)
        return error_page(error)
    except Exception:
        _log.exception("page failed", path=request.scope.get(ROUTE))
        return message_page(500, "The server log contains the details.")


def error_page(error: ErrataError) -> Response:
    """Return the page of an error, with its status and the time after which a client may retry."""
    response = message_page(status_of(error), public_message(error), unstated_problems(error))
    response.headers.update(retry_header(error))
    return response


def unstated_problems(error: ErrataError) -> tuple[str, ...]:
    """Return the problems that the message of an error does not contain, with their lines in a file."""
    details = []
    for violation in error.unstated_violations:
        place = violation.place.capitalize() if violation.line else violation.place
        details.append(f"{place}: {public_text(error, violation.description)}")
    return tuple(details)


def refused_form(request: Request, error: ErrataError) -> Response:
    """Return the page of a form that is not accepted."""
    _log.info("form refused", path=request.scope.get(ROUTE), reason=error.reason, peer=peer_of(request))
    return closing(error_page(error))


def closing(response: Response) -> Response:
    """Add the header that closes the connection, because the rest of the body may not have been read."""
    response.headers["Connection"] = "close"
    return response


def message_page(status: int, message: str, details: Sequence[str] = ()) -> Response:
    """Return a page with a message and further lines."""
    lines = [line for line in details if line != message]
    html = render("message.html", site=True, title=STATUS_TITLES[status], message=message, details=lines)
    return html_page(html, status)


def html_page(html: str, status: int = 200) -> Response:
    """Return a page."""
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def path_id(request: Request, name: str) -> str:
    """Return the ID of an analysis in the path; raise AnalysisNotFound if it cannot be an ID."""
    value = str(request.path_params[name])
    if not wire.is_id(value):
        raise AnalysisNotFound(f"Analysis {value!r:.80} not found.", field=name)
    return value


def download(html: str, name: str) -> Response:
    """Return a stand-alone page as a file with a name."""
    headers = HEADERS | {"Content-Security-Policy": content_security_policy(site=False) + "; frame-ancestors 'none'"}
    return HTMLResponse(html, headers=headers | {"Content-Disposition": f'attachment; filename="{name}"'})
