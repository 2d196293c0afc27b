"""Forms are accepted only from a page of this service, with the browser's token, and bounded."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from errata.errors import ErrataError, InvalidRequest, PermissionDenied, TooLarge
from starlette.requests import Request
from starlette.responses import Response

from service.report.listing_view import PendingView
from service.web import forms
from service.web.forms import form_page, form_token, read_form, require_same_origin

TOKEN = "t" * 43
SAME = {"sec-fetch-site": "same-origin", "host": "errata:8080", "cookie": f"errata_form={TOKEN}"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def request(headers: dict[str, str], *chunks: bytes, scheme: str = "http", ends: bool = True) -> Request:
    messages: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + ([{"type": "http.request", "body": b"", "more_body": False}] if ends else [])
    )

    async def receive() -> dict[str, Any]:
        if (message := next(messages, None)) is None:
            await asyncio.sleep(60)
        assert message is not None
        return message

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "scheme": scheme, "query_string": b"", "headers": raw}
    return Request(scope, receive)


def page(request: Request) -> Response:
    view = PendingView("a1", "net", "demo", "analyses/a1", "succeeded", "", 0, 0, "", is_live=False)
    return form_page(request, "delete.html", view=view)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"origin": "http://errata:8080", "host": "errata:8080"},
        {"origin": "https://Errata.example", "host": "errata.example"},  # TLS ends at a proxy
    ],
)
def test_a_page_of_the_service_may_send_a_form(headers: dict[str, str]) -> None:
    require_same_origin(request(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "errata:8080"},
        {"sec-fetch-site": "cross-site", "origin": "http://errata:8080", "host": "errata:8080"},
        {"sec-fetch-site": "same-site", "origin": "http://errata:8080", "host": "errata:8080"},
        {"sec-fetch-site": "none", "host": "errata:8080"},
        {"sec-fetch-site": ""},
        {"origin": "null", "host": "errata:8080"},
        {"origin": "http://[::1", "host": "errata:8080"},
        {"origin": "http://errata:8080@evil.example", "host": "errata:8080"},
        {"origin": "http://evil.example/errata:8080", "host": "errata:8080"},
        {"origin": "null", "host": ""},
        {"origin": "http://evil.example", "host": "errata:8080"},
        {"origin": "http://errata:9090", "host": "errata:8080"},
        {"origin": "http://errata:8080.evil.example", "host": "errata:8080"},
        {"referer": "http://errata:8080/", "host": "errata:8080"},
    ],
)
def test_another_site_may_not_send_a_form(headers: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied, match="another site"):
        require_same_origin(request(headers))


async def test_form_has_its_fields_also_repeated_ones() -> None:
    body = f"form_token={TOKEN}&label=a%3Db&label=%C3%A9&empty=".encode()

    form = await read_form(request(SAME | FORM, body[:50], body[50:]))

    assert form.getlist("label") == ["a=b", "é"]
    assert form["empty"] == ""


@pytest.mark.parametrize(
    ("cookie", "body"),
    [
        (f"errata_form={TOKEN}", ""),
        (f"errata_form={TOKEN}", "form_token="),
        (f"errata_form={TOKEN}", "form_token=" + "u" * 43),
        (f"errata_form={TOKEN}", "form_token=%C3%A9"),
        ("", f"form_token={TOKEN}"),
        ("", "form_token="),
        ("errata_form=short", "form_token=short"),
        ("errata_form=", "form_token="),
    ],
)
async def test_form_without_the_token_of_the_cookie_is_refused(cookie: str, body: str) -> None:
    with pytest.raises(PermissionDenied, match="expired"):
        await read_form(request(SAME | FORM | {"cookie": cookie}, body.encode()))


async def test_form_of_another_site_is_refused_before_its_body_is_read() -> None:
    with pytest.raises(PermissionDenied, match="another site"):
        await read_form(request(SAME | FORM | {"sec-fetch-site": "cross-site"}, ends=False))


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({"content-type": "multipart/form-data"}, b"", InvalidRequest),
        ({"content-type": "application/json"}, b"{}", InvalidRequest),
        (FORM, b"x" * (forms.MAX_FORM + 1), TooLarge),
        (FORM, b"&".join([b"a=1"] * (forms.MAX_FIELDS + 1)), InvalidRequest),
        (FORM, b"name=%FF", InvalidRequest),
        (FORM, b"name=\xff", InvalidRequest),
    ],
)
async def test_invalid_forms_are_refused(headers: dict[str, str], body: bytes, error: type[ErrataError]) -> None:
    with pytest.raises(error):
        await read_form(request(SAME | headers, body))


async def test_slow_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "FORM_SECONDS", 0.05)

    with pytest.raises(InvalidRequest, match="too slow"):
        await read_form(request(SAME | FORM, b"form_token=", ends=False))


def test_browser_keeps_its_token_and_gets_a_new_one_otherwise() -> None:
    assert form_token(request(SAME)) == TOKEN
    new, other = form_token(request({})), form_token(request({"cookie": "errata_form=<script>"}))
    assert new != other and len(new) == len(other) == 43


@pytest.mark.parametrize(("scheme", "is_secure"), [("http", False), ("https", True)])
def test_cookie_is_hidden_from_scripts_and_other_sites(scheme: str, is_secure: bool) -> None:
    response = page(request({}, scheme=scheme))

    cookie = response.headers["set-cookie"]
    (token,) = re.findall(r'name="form_token" value="([^"]+)"', bytes(response.body).decode())
    assert cookie.startswith(f"errata_form={token};")
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and ("Secure" in cookie) == is_secure
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in page(request(SAME)).headers
