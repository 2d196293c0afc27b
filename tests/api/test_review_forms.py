"""The form of a review: what a browser sends after the reviewer went back, and undo."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import quote, urlencode

import pytest
from errata import Client
from running_service import Running, Start

from service.evidence.bundle import Bundle

from .test_forms import SAME_ORIGIN, Answer, FormClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def running(start: Start) -> Iterator[Running]:
    """A service without tokens, and without reviews."""
    with start() as service:
        yield service


@pytest.fixture
def client(running: Running) -> Client:
    return running.client


def hidden_fields(text: str) -> list[tuple[str, str]]:
    """Return the hidden fields of a form."""
    return [
        (name, unescape(value)) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', text)
    ]


def review_fields(page: Answer) -> list[tuple[str, str]]:
    """Return the hidden fields of the form of a review."""
    return hidden_fields(page.text.partition("data-review")[2].partition("</form>")[0])


def send(browser: FormClient, fields: list[tuple[str, str]]) -> Answer:
    return browser.send("POST", "/reviews", urlencode(fields).encode(), SAME_ORIGIN | FORM)


def test_a_form_that_is_changed_after_it_was_sent_adds_a_review(running: Running, client: Client, demo: Bundle) -> None:
    image = demo.judged_names[0]
    browser = FormClient(running)
    fields = review_fields(browser.get(f"/review/demo/{quote(image)}"))
    assert "request_id" in dict(fields)
    first = [*fields, ("reviewer", "ann"), ("problematic", "yes")]
    second = [*fields, ("reviewer", "ann"), ("problematic", "no")]

    answers = [send(browser, content) for content in (first, first, second)]

    assert [answer.status for answer in answers] == [303] * 3
    assert [review.problematic for review in client.list_reviews("demo", image)] == [False, True]  # newest first
