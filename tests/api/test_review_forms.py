"""The form of a review: what a browser sends after the reviewer went back, and undo."""

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from errata import Client
from http_answer import Answer
from running_service import Running, Start

from service.evidence.bundle import Bundle

from .test_evidence_forms import street_service
from .test_forms import SAME_ORIGIN, FormClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def running(start: Start) -> Iterator[Running]:
    """A service without tokens, and without reviews."""
    with start() as service:
        yield service


def hidden_fields(text: str) -> list[tuple[str, str]]:
    """Return the hidden fields of a form."""
    return [
        (name, unescape(value)) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', text)
    ]


def review_fields(page: Answer) -> list[tuple[str, str]]:
    """Return the hidden fields of the form of a review."""
    return hidden_fields(page.text.partition("data-review ")[2].partition("</form>")[0])


def skip_url(page: Answer) -> str:
    """Return the link to the next image."""
    return unescape(page.text.rpartition('" data-next')[0].rpartition('"')[2])


def undo_form(page: Answer) -> str:
    """Return the text and the form with which the last review is undone."""
    return page.text.partition("data-undo>")[2].partition("</form>")[0]


def send(browser: FormClient, fields: list[tuple[str, str]]) -> Answer:
    return browser.send("POST", "/reviews", urlencode(fields).encode(), SAME_ORIGIN | FORM)


def test_a_form_that_is_changed_after_it_was_sent_adds_a_review(running: Running, client: Client, demo: Bundle) -> None:
    image = demo.judged_names[0]
    browser = FormClient(running)
    fields = review_fields(browser.get(f"/review/demo/{quote(image)}"))
    assert "request_id" in dict(fields)
    first = [*fields, ("reviewer", "ann"), ("problematic", "yes")]
    second = [*fields, ("reviewer", "ann"), ("problematic", "no")]

    answers = [send(browser, content) for content in (first, first, second, second)]

    assert [answer.status for answer in answers] == [303] * 4
    assert [review.problematic for review in client.list_reviews("demo", image)] == [False, True]  # newest first


def test_the_last_of_several_statements_with_one_form_is_the_newest_review(
    running: Running, client: Client, demo: Bundle
) -> None:
    image = demo.judged_names[0]
    browser = FormClient(running)
    fields = [*review_fields(browser.get(f"/review/demo/{quote(image)}")), ("reviewer", "ann")]

    for value in ("yes", "no", "no", "yes", "yes"):
        assert send(browser, [*fields, ("problematic", value)]).status == 303
    reviews = [*client.list_reviews("demo", image)]
    client.create_review("demo", image, "ann", undoes=reviews[0].name)
    assert send(browser, [*fields, ("problematic", "yes")]).status == 303

    assert [review.problematic for review in reviews] == [True, False, True]  # newest first
    newest, undo, *_ = client.list_reviews("demo", image)
    assert (newest.problematic, newest.undone, undo.undoes) == (True, False, reviews[0].name)


def test_a_double_click_after_going_back_to_an_earlier_statement_adds_one_review(
    running: Running, client: Client, demo: Bundle
) -> None:
    browser = FormClient(running)
    for image in demo.judged_names[:8]:  # the two requests do not always overlap
        fields = [*review_fields(browser.get(f"/review/demo/{quote(image)}")), ("reviewer", "ann")]
        for value in ("yes", "no"):
            assert send(browser, [*fields, ("problematic", value)]).status == 303

        with ThreadPoolExecutor(2) as pool:
            clicks = [pool.submit(send, browser, [*fields, ("problematic", "yes")]) for _ in range(2)]

        assert [click.result().status for click in clicks] == [303, 303]
        assert [review.problematic for review in client.list_reviews("demo", image)] == [True, False, True]


def test_a_review_of_an_image_that_is_no_longer_evaluated_can_be_undone(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path) as running:
        client, browser = running.client, FormClient(running)
        for comment in ("first", "second", "third"):
            client.create_review("street", "a.jpg", "ann", comment=comment)
        labels = client.upload_labels(io.BytesIO(b"file_name,labels\nb.jpg,dog\nc.jpg,owl\n"), "street")
        client.set_default_evidence("street", labels.digest)
        third, second, first = client.list_reviews("street", "a.jpg")
        assert browser.get("/review/street/a.jpg?reviewer=ann").status == 404

        last = undo_form(browser.get("/review/street/b.jpg?reviewer=ann"))
        assert "a.jpg" in last and "<a" not in last
        answer = send(browser, hidden_fields(last))
        selection = undo_form(browser.get("/review/street/b.jpg?reviewer=ann&selection=1&next=c.jpg"))
        selected = send(browser, hidden_fields(selection))
        undo = client.create_review("street", "a.jpg", "ann", undoes=first.name)

        assert (answer.status, answer.headers["Location"]) == (303, "/review?dataset=street&reviewer=ann")
        assert selected.headers["Location"] == "/review/street/b.jpg?reviewer=ann&selection=1&next=c.jpg"
        assert browser.get(answer.headers["Location"]).status == 200
        undone = {review.name for review in client.list_reviews("street") if review.undone}
        assert (undone, undo.undoes) == ({first.name, second.name, third.name}, first.name)
        assert undo_form(browser.get("/review/street/b.jpg?reviewer=ann")) == ""


def test_a_search_of_classes_without_scripts_keeps_the_statements(
    running: Running, client: Client, demo: Bundle
) -> None:
    image, label = demo.judged_names[2], int(demo.evidence.targets[2])
    browser = FormClient(running)
    fields = review_fields(browser.get(f"/review/demo/{quote(image)}"))
    statements = [(f"class-{label}", "no"), ("comment", "my comment"), ("reviewer", "ann")]

    searched = send(browser, [*fields, *statements, ("search", "goldfish")])
    saved = send(browser, [*review_fields(searched), *statements, ("search", "")])

    assert searched.status == 200 and "Classes that contain “goldfish”: goldfish." in searched.text
    assert f'name="class-{label}" value="no" checked' in searched.text
    assert ">my comment</textarea>" in searched.text and 'value="ann"' in searched.text
    assert 'name="class-1" value="yes"' in searched.text
    assert saved.status == 303
    (review,) = client.list_reviews("demo", image)
    assert review.comment == "my comment"


def test_a_page_with_many_reviewed_classes_has_those_of_the_search_and_the_form(
    running: Running, client: Client, demo: Bundle
) -> None:
    image, ids = demo.judged_names[2], demo.label_space.ids
    for start in range(100, 160, 20):
        client.create_review("demo", image, f"r{start}", added=ids[start : start + 20])
    browser = FormClient(running)
    fields = review_fields(browser.get(f"/review/demo/{quote(image)}"))

    searched = send(browser, [*fields, ("class-900", "yes"), ("search", "goldfish")])

    assert 'name="class-1" value="yes"' in searched.text
    assert 'name="class-900" value="yes" checked' in searched.text


def test_a_form_is_refused_only_if_the_labels_of_its_image_changed(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path) as running:
        client, browser = running.client, FormClient(running)
        forms = {
            image: [*review_fields(browser.get(f"/review/street/{image}")), ("reviewer", "ann"), ("comment", "x")]
            for image in ("a.jpg", "b.jpg")
        }
        labels = client.upload_labels(io.BytesIO(b"file_name,labels\na.jpg,cat;owl\nb.jpg,dog\nc.jpg,owl\n"), "street")
        client.set_default_evidence("street", labels.digest)

        answers = {image: send(browser, fields) for image, fields in forms.items()}

        assert {image: answer.status for image, answer in answers.items()} == {"a.jpg": 409, "b.jpg": 303}
        assert "The labels of this image have changed since you opened the page." in answers["a.jpg"].text
        assert [review.file_name for review in client.list_reviews("street")] == ["b.jpg"]


def test_a_form_whose_analysis_was_deleted_is_stored(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path) as running:
        client, browser = running.client, FormClient(running)
        predictions = io.BytesIO(b"file_name,top1\na.jpg,1\nb.jpg,2\nc.jpg,2\n")
        analysis = client.upload(predictions, "street", accept_implausible=True)
        client.create_review("street", "c.jpg", "ann", comment="first")
        query = f"analysis={analysis.name.removeprefix('analyses/')}&reviewer=ann"
        page = browser.get(f"/review/street/a.jpg?{query}")
        selection = browser.get(f"/review/street/b.jpg?{query}&selection=1&next=c.jpg")
        client.delete(analysis)

        answers = [send(browser, hidden_fields(undo_form(page)))]
        for form, comment in ((page, "from a queue"), (selection, "from a selection")):
            answers.append(send(browser, [*review_fields(form), ("reviewer", "ann"), ("comment", comment)]))

        assert [answer.headers["Location"] for answer in answers] == [
            "/review/street/c.jpg?reviewer=ann",
            "/review/street/b.jpg?reviewer=ann",
            "/review/street/c.jpg?reviewer=ann&selection=1",
        ]
        reviews = {review.comment: review.undone for review in client.list_reviews("street") if not review.undoes}
        assert reviews == {"from a queue": False, "from a selection": False, "first": True}


def test_a_page_whose_analysis_was_deleted_finds_classes_and_leads_to_the_next_image(
    start: Start, tmp_path: Path
) -> None:
    with street_service(start, tmp_path) as running:
        client, browser = running.client, FormClient(running)
        predictions = io.BytesIO(b"file_name,top1\na.jpg,1\nb.jpg,2\nc.jpg,2\n")
        analysis = client.upload(predictions, "street", accept_implausible=True)
        url = f"/review/street/a.jpg?analysis={analysis.name.removeprefix('analyses/')}&reviewer=ann"
        page = browser.get(url)
        client.delete(analysis)

        search = browser.get(f"{url}&search=ow")  # as the script of the page does
        following = browser.get(skip_url(page))

        assert search.status == 200 and "Classes that contain “ow”: owl." in search.text
        assert following.status == 200 and dict(review_fields(following))["image"] == "b.jpg"


@pytest.fixture
def queue(client: Client, demo: Bundle) -> list[str]:
    """Three images on which two reviewers disagree, in the order of the queue."""
    for image in demo.judged_names[:3]:
        client.create_review("demo", image, "ann", problematic=True, reason="blurred")
        client.create_review("demo", image, "bob", problematic=False)
    return [item.file_name for item in client.list_review_queue("demo").items]


def test_the_next_image_is_that_of_the_page_after_another_reviewer_reviewed_the_image(
    running: Running, queue: list[str]
) -> None:
    """Otherwise the second reviewer would be back at the first image of the queue."""
    browsers = [FormClient(running), FormClient(running)]
    forms = [review_fields(browser.get(f"/review/demo/{quote(queue[1])}")) for browser in browsers]

    answers = [
        send(browser, [*fields, ("reviewer", name), ("problematic", "no")])
        for browser, fields, name in zip(browsers, forms, ("cyd", "eve"), strict=True)
    ]

    targets = [answer.headers["Location"].partition("?")[0] for answer in answers]
    assert targets == [f"/review/demo/{quote(queue[2])}"] * 2


def test_a_page_after_the_end_of_the_queue_shows_the_last_images(running: Running, queue: list[str]) -> None:
    page = FormClient(running).get("/review?dataset=demo&page=9")

    assert f"Images 1 to {len(queue)} of {len(queue)}," in page.text
