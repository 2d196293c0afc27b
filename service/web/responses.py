"""Responses of the HTML pages, and parameters of their requests."""

from errata.errors import AnalysisNotFound
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from service import wire
from service.report.render import content_security_policy

HEADERS = {
    "Content-Security-Policy": content_security_policy(site=True) + "; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # no-referrer would remove the origin from forms, which they need
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache, private",
}


def html_page(html: str, status: int = 200) -> Response:
    """Return a page."""
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def path_id(request: Request, name: str) -> str:
    """Return the ID of an analysis in the path; raise AnalysisNotFound if it cannot be an ID."""
    value = str(request.path_params[name])
    if not wire.is_id(value):
        raise AnalysisNotFound(f"Analysis {value!r:.80} not found.", field=name)
    return value
