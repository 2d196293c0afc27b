"""Reviews through the API: creation, lists with pages, files, the queue, and permissions."""

import csv
import io
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import pytest
from errata import Client, pb
from errata.errors import (
    AlreadyExists,
    DatasetNotFound,
    ImageNotFound,
    InvalidPageToken,
    InvalidRequest,
    InvalidRow,
    PermissionDenied,
    ReviewNotFound,
    TokenMissing,
)
from errata.tokens import Scope, line_of, new_token
from errata.v1 import review_service_pb2_grpc
from running_service import Running, Start, start_service

from service.evidence.bundle import Bundle

from .test_forms import SAME_ORIGIN, FormClient

FORM = "application/x-www-form-urlencoded"
TOKENS = {name: new_token() for name in ("alice", "bob", "reader", "ci", "root")}
SCOPES = {"alice": Scope.REVIEW, "bob": Scope.REVIEW, "reader": Scope.READ, "ci": Scope.WRITE, "root": Scope.ADMIN}


@pytest.fixture
def running(start: Start) -> Iterator[Running]:
    """A service without tokens, and without reviews."""
    with start() as service:
        yield service


@pytest.fixture(scope="module")
def guarded(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with tokens."""
    file = tmp_path_factory.mktemp("secrets") / "tokens"
    file.write_text("\n".join(line_of(name, SCOPES[name], token) for name, token in TOKENS.items()))
    with start_service(data_dir, tmp_path_factory.mktemp("archive"), tokens=file) as service:
        yield service


def client_of(service: Running, name: str) -> Client:
    return Client(service.addresses.grpc, TOKENS[name])


def first_image(demo: Bundle) -> tuple[str, str]:
    """Return an image that is not problematic, and the ID of its first label."""
    row = next(row for row, aside in enumerate(demo.evidence.problematic.tolist()) if not aside)
    return demo.judged_names[row], demo.label_space.ids[int(demo.evidence.labels.of(row)[0])]


def test_a_review_has_all_fields(client: Client, demo: Bundle) -> None:
    image, label = first_image(demo)
    review = client.create_review(
        "demo", image, "ann", confirmed=[label], added=["tabby"], rejected=[282], problematic=True, reason="blurred",
        comment="two\nlines",
    )  # fmt: skip

    assert review.name.startswith(f"datasets/demo/images/{image}/reviews/")
    assert (review.file_name, review.evidence) == (image, f"datasets/demo/evidence/{demo.digest}")
    assert (review.reviewer, review.authenticated, review.undone, review.undoes) == ("ann", False, False, "")
    assert [*review.confirmed_classes] == [label]
    assert [*review.added_classes] == [demo.label_space.ids[281]]
    assert [*review.rejected_classes] == [demo.label_space.ids[282]]
    assert (review.problematic, review.reason, review.comment) == (True, "blurred", "two\nlines")
    assert review.HasField("create_time")
    assert client.get_review(review.name) == review
    assert [*client.list_reviews("demo", image)] == [review]
    assert not client.create_review("demo", image, "ann", comment="x").HasField("problematic")


def test_after_an_undo_a_selection_continues_with_the_current_image(
    client: Client, running: Running, demo: Bundle
) -> None:
    first, second, third, fourth = demo.judged_names[:4]
    browser = FormClient(running)
    for image in (first, second):
        client.create_review("demo", image, "ann", comment="x")

    page = browser.get(f"/review/demo/{third}?{urlencode({'reviewer': 'ann', 'selection': '1', 'next': fourth})}")
    last = page.text.partition("data-undo")[2].partition("</form>")[0]
    fields = re.findall(r'name="([^"]+)" value="([^"]*)"', last)
    answer = browser.send("POST", "/reviews", urlencode(fields).encode(), SAME_ORIGIN | {"Content-Type": FORM})

    target = answer.headers["Location"]
    assert target == f"/review/demo/{second}?reviewer=ann&selection=1&next={third}&next={fourth}"
    assert f'<a href="{escape(target)}">{second}</a>' in last
    # On that page, the review before it can be undone, too.
    last = browser.get(target).text.partition("data-undo")[2].partition("</form>")[0]
    assert re.findall(r'name="(?:image|next)" value="([^"]*)"', last) == [second, third, fourth, first]


def test_an_undo_marks_its_review_as_undone(client: Client, demo: Bundle) -> None:
    image, _ = first_image(demo)
    review = client.create_review("demo", image, "ann", comment="x")
    undo = client.create_review("demo", image, "ann", undoes=review.name)

    assert undo.undoes == review.name
    assert [(item.name, item.undone) for item in client.list_reviews("demo")] == [
        (undo.name, False),
        (review.name, True),
    ]
    assert client.get_review(review.name).undone
    with pytest.raises(InvalidRequest, match="Undo only your own"):
        client.create_review("demo", image, "bob", undoes=undo.name)
    with pytest.raises(InvalidRequest, match="of another image"):
        client.create_review("demo", demo.judged_names[-1], "ann", undoes=review.name)


def test_errors_have_a_reason_and_a_field(client: Client, demo: Bundle) -> None:
    image, label = first_image(demo)
    with pytest.raises(InvalidRequest) as error:
        client.create_review("demo", image, comment="x")
    assert error.value.violations[0].field == "reviewer"
    with pytest.raises(InvalidRequest) as error:
        client.create_review("demo", image, "ann", confirmed=[label], rejected=[label])
    assert error.value.violations[0].field == "confirmed"
    with pytest.raises(ImageNotFound):
        client.create_review("demo", "nothing.jpg", "ann", comment="x")
    with pytest.raises(DatasetNotFound):
        client.create_review("nothing", image, "ann", comment="x")
    with pytest.raises(ReviewNotFound):
        client.get_review(f"datasets/demo/images/{image}/reviews/{'0' * 32}")
    for name in ("", "x", "datasets/demo", "datasets/demo/images/x", "datasets/demo/reviews/x"):
        with pytest.raises(InvalidRequest, match="Invalid name"):
            client.get_review(name)
    with pytest.raises(InvalidRequest, match="data set is missing"):
        list(client.list_reviews(""))
    with pytest.raises(InvalidRequest, match="data set is missing"):
        client._call(client._reviews.ListReviews, pb.ListReviewsRequest())
    with pytest.raises(InvalidRequest, match="one class"):
        client.create_review("demo", image, "ann", added="tabby")  # type: ignore[typeddict-item]
    assert [*client.list_reviews("demo")] == []


def test_a_request_id_makes_the_call_idempotent(client: Client, demo: Bundle) -> None:
    image, _ = first_image(demo)
    first = client.create_review("demo", image, "ann", comment="x", request_id="r")

    assert client.create_review("demo", image, "ann", comment="x", request_id="r") == first
    with pytest.raises(AlreadyExists):
        client.create_review("demo", image, "ann", comment="y", request_id="r")


def test_pages_neither_repeat_nor_hide_reviews(running: Running, client: Client, demo: Bundle) -> None:
    image, _ = first_image(demo)
    expected = [client.create_review("demo", image, "ann", comment=str(number)).name for number in range(5)]
    stub = review_service_pb2_grpc.ReviewServiceStub(client._channel)
    request = pb.ListReviewsRequest(parent="datasets/demo", page_size=2, reviewer="ann")
    names, num_pages = [], 0
    while True:
        page = stub.ListReviews(request)
        names += [review.name for review in page.reviews]
        client.create_review("demo", image, "ann", comment="new")  # between two pages
        num_pages += 1
        request.page_token = page.next_page_token
        if not request.page_token:
            break

    assert names == expected[::-1]
    assert num_pages == 3
    assert len([*client.list_reviews("demo", reviewer="ann")]) == 5 + num_pages
    assert [*client.list_reviews("demo", reviewer="bob")] == []


@pytest.mark.parametrize("token", ["x", "W10=", "WyJ4IiwgIngiLCAieCJd", "ÿ"])
def test_page_tokens_of_others_are_refused(client: Client, token: str) -> None:
    with pytest.raises(InvalidPageToken):
        client._call(client._reviews.ListReviews, pb.ListReviewsRequest(parent="datasets/demo", page_token=token))


def test_exported_reviews_can_be_imported(client: Client, demo: Bundle, start: Start, tmp_path: Path) -> None:
    image, label = first_image(demo)
    client.create_review("demo", image, "ann", rejected=[label], added=["tabby"], comment="✓ \N{GRINNING FACE}")
    content = b"".join(client.export_reviews("demo"))
    rows = [*csv.DictReader(io.StringIO(b"".join(client.export_reviews("demo", "labels-csv")).decode()))]
    lines = b"".join(client.export_reviews("demo", "labels_jsonl", only_reviewed=True)).splitlines()

    assert json.loads(content)["comment"] == "✓ \N{GRINNING FACE}"
    assert len(rows) == len(demo.judged_names)
    assert [json.loads(line)["file_name"] for line in lines] == [image]
    assert demo.label_space.ids[281] in json.loads(lines[0])["labels"]
    with pytest.raises(InvalidRequest, match="Unknown format"):
        list(client.export_reviews("demo", "xml"))
    with pytest.raises(InvalidRequest, match="at least 1"):
        list(client.export_reviews("demo", "labels_csv", min_reviews=-1))

    (tmp_path / "reviews.jsonl").write_bytes(content)
    result = client.import_reviews(tmp_path / "reviews.jsonl", "demo")
    assert (result.num_added, result.num_existing) == (0, 1)
    other = json.dumps(json.loads(content) | {"id": "", "reviewer": "bob"}).encode()
    assert client.import_reviews(io.BytesIO(other), "demo").num_added == 1
    with pytest.raises(InvalidRow) as error:
        client.import_reviews(io.BytesIO(content + b"{}\n"), "demo")
    assert error.value.violations[0].line == 2
    events = [*client.audit_events("demo", "import")]
    assert [(event.actor, event.details["num_reviews"]) for event in events] == [("unauthenticated", "1")]


def test_the_queue_loses_reviewed_images(client: Client, demo: Bundle, demo_csv: bytes) -> None:
    client.upload(io.BytesIO(demo_csv), "demo")
    before = [*client.review_queue("demo")]
    assert before
    assert {item.reason for item in before} == {pb.ReviewQueueItem.REASON_SEVERE_ERROR}
    item = before[0]
    assert item.predicted_class_id == demo.label_space.ids[item.predicted]
    assert [*client.review_queue("demo", most=1)] == [item]
    assert [*client.review_queue("demo", most=0)] == []

    client.create_review("demo", item.file_name, "ann", added=[item.predicted])
    assert item.file_name not in [other.file_name for other in client.review_queue("demo")]
    client.create_review("demo", item.file_name, "bob", rejected=[item.predicted])
    conflict = next(iter(client.review_queue("demo")))
    assert (conflict.file_name, conflict.reason) == (item.file_name, pb.ReviewQueueItem.REASON_CONFLICT)


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_lists_have_the_fields_of_the_response(
    client: Client, demo: Bundle, demo_csv: bytes, page_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("errata._sync.calls.PAGE_SIZE", page_size)
    analysis = client.upload(io.BytesIO(demo_csv), "demo").name
    queue = [*client.review_queue("demo")]

    for most, num_images in ((0, 0), (1, 1), (2, 2), (3, 2), (None, 2)):
        response = client.list_review_queue("demo", analysis, most)
        assert [*response.items] == queue[:num_images]
        assert (response.total_size, response.analysis) == (len(queue), analysis)
        assert bool(response.next_page_token) == (num_images < len(queue))
    assert client.list_review_queue("demo").analysis == analysis  # the newest one
    assert [*client.review_queue("demo", min_agreement=1)] == queue  # the suggestions are severe errors, too
    with pytest.raises(InvalidRequest, match="min_agreement is -1"):
        client.list_review_queue("demo", min_agreement=-1)

    image, _ = first_image(demo)
    reviews = [client.create_review("demo", image, "ann", comment=str(number)) for number in range(5)][::-1]
    for most, num_reviews in ((1, 1), (3, 3), (5, 5), (None, 5)):
        response = client.some_reviews("demo", image, "ann", most)
        assert [*response.reviews] == reviews[:num_reviews]
        assert bool(response.next_page_token) == (num_reviews < 5)
    assert [*client.some_reviews("demo", reviewer="bob").reviews] == []


def test_reviewed_labels_become_evidence(client: Client, demo: Bundle, demo_csv: bytes) -> None:
    client.upload(io.BytesIO(demo_csv), "demo")
    item = next(client.review_queue("demo"))
    client.create_review("demo", item.file_name, "ann", added=[item.predicted])

    evidence = client.build_evidence("demo")
    assert evidence.digest != demo.digest
    assert client.set_default_evidence("demo", evidence.digest).digest == evidence.digest
    assert client.dataset("demo").default_evidence == evidence.name
    actions = [pb.AuditEvent.Action.Name(event.action) for event in client.audit_events("demo")]
    assert actions == ["ACTION_SET_DEFAULT", "ACTION_BUILD", "ACTION_REVIEW", "ACTION_CREATE"]


def test_the_token_is_the_reviewer(guarded: Running, demo: Bundle) -> None:
    image, _ = first_image(demo)
    with client_of(guarded, "alice") as alice, client_of(guarded, "bob") as bob:
        review = alice.create_review("demo", image, comment="x")
        assert (review.reviewer, review.authenticated) == ("alice", True)
        with pytest.raises(InvalidRequest, match="the token is 'alice'"):
            alice.create_review("demo", image, "bob", comment="x")
        with pytest.raises(InvalidRequest, match="Undo only your own"):
            bob.create_review("demo", image, undoes=review.name)


@pytest.mark.parametrize(("name", "permitted"), [("reader", False), ("ci", False), ("alice", True), ("root", True)])
def test_reviews_need_the_scope_review(guarded: Running, demo: Bundle, name: str, permitted: bool) -> None:
    image, _ = first_image(demo)
    with client_of(guarded, name) as client:
        list(client.list_reviews("demo"))
        list(client.export_reviews("demo"))
        if permitted:
            client.create_review("demo", image, comment="x")
            return
        with pytest.raises(PermissionDenied, match="scope review"):
            client.create_review("demo", image, comment="x")


@pytest.mark.parametrize("name", ["reader", "ci", "alice"])
def test_imports_and_evidence_need_the_scope_admin(guarded: Running, name: str) -> None:
    with client_of(guarded, name) as client:
        with pytest.raises(PermissionDenied, match="scope admin"):
            client.import_reviews(io.BytesIO(b""), "demo")
        with pytest.raises(PermissionDenied, match="scope admin"):
            client.set_default_evidence("demo", "x")
        with pytest.raises(PermissionDenied, match="scope admin"):
            client.upload_evidence(io.BytesIO(b"x" * (3 << 20)))
    with Client(guarded.addresses.grpc) as client, pytest.raises(TokenMissing):
        list(client.list_reviews("demo"))


def test_an_administrator_imports_in_the_name_of_others(guarded: Running, demo: Bundle) -> None:
    image, _ = first_image(demo)
    line = {"image": image, "reviewer": "carol", "time": "2023-01-01T00:00:00Z", "comment": "x"}
    with client_of(guarded, "root") as root:
        root.import_reviews(io.BytesIO(json.dumps(line | {"is_authenticated": True}).encode()), "demo")
        assert [review.authenticated for review in root.list_reviews("demo", reviewer="carol")] == [False]
        assert next(root.audit_events("demo", "import")).actor == "root"


HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE reviews; --",
    '=HYPERLINK("http://x")',
    "{{7*7}} %s %n",
    "[bold red]x[/]",
    "\N{ARABIC LETTER ALEF}" * 100,
    "x" * 2000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_comments_are_stored_as_they_are(client: Client, demo: Bundle, text: str) -> None:
    image, _ = first_image(demo)
    client.create_review("demo", image, text[:100], comment=text, problematic=True, reason=text[:200])
    review = next(client.list_reviews("demo"))

    assert (review.reviewer, review.comment, review.reason) == (text[:100], text, text[:200])
    rows = [*csv.DictReader(io.StringIO(b"".join(client.export_reviews("demo", "labels_csv")).decode()))]
    assert {row["file_name"]: row["problematic"] for row in rows}[image] == text[:200]


@pytest.mark.parametrize("text", ["\x00", "\x1b[2J", "\x7f", "\u2028", "\u202e", "\r\n", "a" * 2001])
def test_hostile_texts_are_refused(client: Client, demo: Bundle, text: str) -> None:
    image, _ = first_image(demo)
    for fields in ({"comment": text}, {"problematic": True, "reason": text}, {"comment": "x", "undoes": text}):
        with pytest.raises((InvalidRequest, ReviewNotFound)) as error:
            client.create_review("demo", image, "ann", **fields)  # type: ignore[arg-type]
        assert text not in error.value.message
    with pytest.raises(InvalidRequest):
        client.create_review("demo", image, f"a{text}b", comment="x")
    with pytest.raises((ImageNotFound, InvalidRequest)):
        client.create_review("demo", text, "ann", comment="x")
    assert [*client.list_reviews("demo")] == []
