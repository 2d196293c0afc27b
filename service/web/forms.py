"""Forms that change something, protected against cross-site request forgery (CSRF).

Another site can make a browser send requests to this service. The browser adds the password of Basic authentication to
these requests, and it can reach a service on the same computer. A form is therefore accepted only if both conditions
hold (docs/adr/0072-forms.md):

1. The browser says that a page of this service sent it: `Sec-Fetch-Site`, or `Origin` if that header is missing.
2. Its hidden field FIELD equals the cookie COOKIE. Other sites can neither read nor set the cookie.

    return form_page(request, "delete.html", view=view)  # the page with the form

    form = await read_form(request)                      # its target: raises PermissionDenied

A template contains the field with `{{ form_token_field(form_token) }}` of macros.html.
"""

import asyncio
import hmac
import re
import secrets
from typing import Any
from urllib.parse import parse_qsl

from errata.errors import InvalidRequest, PermissionDenied, TooLarge
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.report.render import render
from service.web.responses import html_page

COOKIE = "errata_form"
FIELD = "form_token"
MAX_FORM = 64 << 10  # bytes of a form without files
MAX_FIELDS = 256
FORM_SECONDS = 30.0  # time limit for the body of a form without files
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 random bits in base 64
_REMEDY = "Open the page with the form on this service, and send the form again."


def form_token(request: Request) -> str:
    """Return the token for the forms of a page: that of the browser's cookie, or else a new one."""
    token = request.cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else secrets.token_urlsafe(32)


def form_page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page with forms. The template gets `form_token`. The response sets the cookie if it is missing."""
    token = form_token(request)
    response = html_page(render(template, site=True, form_token=token, **values), status)
    if request.cookies.get(COOKIE) != token:
        is_secure = request.scope["scheme"] == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=is_secure)
    response.headers["Cache-Control"] = "no-store"
    return response


def require_same_origin(request: Request) -> None:
    """Check that a page of this service caused a request that changes something.

    Raises:
        PermissionDenied: Another site caused it, or the browser does not say which site did.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_same = site == "same-origin"
    else:  # the service has no HTTPS and is not on this computer, or the browser is old
        origin, host = request.headers.get("origin", "").lower(), request.headers.get("host", "").lower()
        is_same = bool(host) and origin in (f"http://{host}", f"https://{host}")
    if not is_same:
        raise PermissionDenied(f"The form was sent by another site. {_REMEDY}")


def require_form_token(request: Request, token: str) -> None:
    """Check the hidden field of a form.

    Args:
        request: The request.
        token: The value of FIELD; empty if the form has none.

    Raises:
        PermissionDenied: The field is missing, or differs from the browser's cookie.
    """
    cookie = request.cookies.get(COOKIE, "")
    if not _TOKEN.fullmatch(cookie) or not hmac.compare_digest(cookie.encode(), token.encode()):
        raise PermissionDenied(f"The form has expired, or the browser refuses cookies. {_REMEDY}")


async def read_form(request: Request) -> "ImmutableMultiDict[str, str]":
    """Return the fields of a form without files, from a page of this service.

    Raises:
        PermissionDenied: The form does not come from a page of this service.
        InvalidRequest: The body is not a form, or arrives too slowly.
        TooLarge: The body is too large, or has too many fields.
    """
    require_same_origin(request)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise InvalidRequest(f"Unexpected content type {content_type!r:.80}. Send a form of this service.")
    try:
        async with asyncio.timeout(FORM_SECONDS):
            body = await _read_body(request)
    except TimeoutError as error:
        raise InvalidRequest(f"Form too slow. Send it within {FORM_SECONDS:g} seconds.") from error
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:  # also UnicodeDecodeError
        raise InvalidRequest(f"Invalid form. Send at most {MAX_FIELDS} fields, as UTF-8.") from error
    form = ImmutableMultiDict(pairs)
    require_form_token(request, form.get(FIELD, ""))
    return form


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM:
                raise TooLarge(f"Form too large. Send at most {MAX_FORM} bytes.")
    except ClientDisconnect as error:
        raise InvalidRequest("Connection closed before the end of the form. Send it again.") from error
    return bytes(body)
