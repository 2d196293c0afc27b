"""Reviews of images: stored and refused ones, and the permission to undo."""

import io
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from errata.errors import (
    AlreadyExists,
    DatasetNotFound,
    ErrataError,
    EvidenceNotFound,
    ImageNotFound,
    InvalidRequest,
    ReviewNotFound,
    Unavailable,
)
from fsspec.implementations.memory import MemoryFileSystem

from service.analyses.evidence_versions import set_default, upload_labels
from service.analyses.ports import Stores
from service.analyses.reviews import (
    MAX_CLASSES,
    MAX_COMMENT,
    MAX_REASON,
    MAX_REVIEWER,
    ReviewRequest,
    create_review,
    find_review,
    list_reviews,
)
from service.archive.files import ObjectFiles
from service.archive.record_log import RecordLog
from service.domain import AuditEvent, Review, active_reviews, undone_ids
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository

from .conftest import Backend


@pytest.fixture
def stores(backend: Backend) -> Stores:
    return backend.ports.stores


@pytest.fixture
def image(demo: Bundle) -> str:
    """An image with one label, which is not problematic."""
    evidence = demo.evidence
    row = next(row for row, count in enumerate(evidence.labels.counts) if count == 1 and not evidence.problematic[row])
    return demo.judged_names[row]


@pytest.fixture
def label(demo: Bundle, image: str) -> str:
    """The ID of the only label of the image."""
    return demo.label_space.ids[int(demo.evidence.labels.of(demo.row(image))[0])]


def other_class(demo: Bundle, label: str) -> str:
    return next(id_ for id_ in demo.label_space.ids if id_ != label)


def test_the_token_is_the_reviewer(stores: Stores, demo: Bundle, image: str) -> None:
    review = create_review(stores, ReviewRequest("demo", image, comment="A cat."), caller="alice")
    assert (review.reviewer, review.is_authenticated, review.evidence) == ("alice", True, demo.digest)
    assert list_reviews(stores, "demo", image) == (review,)


def test_without_tokens_a_name_is_required_and_is_not_authenticated(stores: Stores, image: str) -> None:
    review = create_review(stores, ReviewRequest("demo", image, comment="A cat.", reviewer=" bob "))
    assert (review.reviewer, review.is_authenticated) == ("bob", False)
    with pytest.raises(InvalidRequest, match="reviewer is missing"):
        create_review(stores, ReviewRequest("demo", image, comment="A cat.", reviewer=" "))


def test_a_token_cannot_review_as_another_reviewer(stores: Stores, image: str) -> None:
    with pytest.raises(InvalidRequest, match="the token is 'alice'"):
        create_review(stores, ReviewRequest("demo", image, comment="A cat.", reviewer="bob"), caller="alice")


def test_ids_of_classes_are_stored(stores: Stores, demo: Bundle, image: str, label: str) -> None:
    space = demo.label_space
    added = other_class(demo, label)
    index = str(space.ids.index(label))
    request = ReviewRequest("demo", image, rejected=(index, label), added=(added.upper(),))
    review = create_review(stores, request, "alice")
    assert (review.rejected, review.added, review.confirmed) == ((label,), (added,), ())


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({}, "review", "is empty"),
        ({"added": ("no such class",)}, "added", "Unknown class 'no such class'"),
        ({"added": ("crane",)}, "added", "2 classes match"),
        ({"confirmed": ("LABEL",), "rejected": ("LABEL",)}, "confirmed", "both confirmed and rejected"),
        ({"added": ("OTHER",), "rejected": ("OTHER",)}, "added", "both added and rejected"),
        ({"confirmed": ("OTHER",)}, "confirmed", "Add it instead"),
        ({"added": ("LABEL",)}, "added", "Confirm it instead"),
        ({"reason": "blurred"}, "reason", "Mark it"),
        ({"reason": "blurred", "problematic": False}, "reason", "Mark it"),
        ({"problematic": True, "reason": "x" * (MAX_REASON + 1)}, "reason", "201 characters; use at most 200"),
        ({"comment": "x" * (MAX_COMMENT + 1)}, "comment", "2,001 characters; use at most 2,000"),
        ({"comment": "x", "reviewer": "x" * (MAX_REVIEWER + 1)}, "reviewer", "use at most 100"),
        ({"comment": "a\x1b[31mb"}, "comment", "control character U\\+001B"),
        ({"comment": "a\u202eb"}, "comment", "control character U\\+202E"),
        ({"comment": "\ud800"}, "comment", "not valid Unicode"),
        ({"problematic": True, "reason": "a\nb"}, "reason", "control character U\\+000A"),
        ({"comment": "x", "reviewer": "a\x00b"}, "reviewer", "control character U\\+0000"),
        ({"comment": "x", "reviewer": "al\u200bice"}, "reviewer", "invisible character U\\+200B"),
        ({"comment": "x", "request_id": "x" * 257}, "request_id", "use at most 256"),
        ({"rejected": ("0",) * (MAX_CLASSES + 1)}, "added", "1,001 classes"),
        ({"undoes": "0" * 32, "comment": "x"}, "undoes", "cannot have other content"),
        ({"undoes": "0" * 32, "problematic": False}, "undoes", "cannot have other content"),
    ],
)
def test_invalid_reviews_are_refused_with_the_field_and_not_stored(
    stores: Stores, demo: Bundle, image: str, label: str, changes: dict[str, object], field: str, message: str
) -> None:
    texts = {"LABEL": label, "OTHER": other_class(demo, label)}
    fields = {
        name: tuple(texts.get(text, text) for text in value) if isinstance(value, tuple) else value
        for name, value in changes.items()
    }
    request = replace(ReviewRequest("demo", image, reviewer="bob"), **fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=message) as error:
        create_review(stores, request)
    assert error.value.violations[0].field == field
    assert list_reviews(stores, "demo") == ()


@pytest.mark.parametrize(
    ("dataset", "image", "evidence", "error"),
    [
        ("nothing", "", "", DatasetNotFound),
        ("demo", "../../etc/passwd", "", ImageNotFound),
        ("demo", "\x1b[31m" + "x" * 10_000, "", ImageNotFound),
        ("demo", "", "ffffffffffff0", EvidenceNotFound),
    ],
)
def test_a_review_of_an_unknown_resource_is_refused_with_a_short_message(
    stores: Stores, dataset: str, image: str, evidence: str, error: type[ErrataError]
) -> None:
    with pytest.raises(error) as caught:
        create_review(stores, ReviewRequest(dataset, image, evidence, comment="x", reviewer="bob"))
    assert len(caught.value.message) < 400
    assert "\x1b" not in caught.value.message


def test_a_comment_can_have_lines(stores: Stores, image: str) -> None:
    comment = "One\n\ttwo <script>alert(1)</script> 'three' ; =HYPERLINK()"
    create_review(stores, ReviewRequest("demo", image, comment=comment, reviewer="bob"))
    assert list_reviews(stores, "demo")[0].comment == comment


def test_an_undo_can_be_undone_and_repeated(stores: Stores, image: str, label: str) -> None:
    def undo(review: Review, caller: str = "alice") -> Review:
        return create_review(stores, ReviewRequest("demo", image, undoes=review.id), caller)

    first = create_review(stores, ReviewRequest("demo", image, rejected=(label,)), "alice")
    second = undo(first)
    assert active_reviews(list_reviews(stores, "demo", image)) == []
    assert undone_ids(list_reviews(stores, "demo", image)) == {first.id}
    assert undo(first) == second
    redo = undo(second)
    assert active_reviews(list_reviews(stores, "demo", image)) == [first]
    assert undone_ids(list_reviews(stores, "demo", image)) == {second.id}
    third = undo(first)
    assert active_reviews(list_reviews(stores, "demo", image)) == []
    assert list_reviews(stores, "demo", image) == (first, second, redo, third)


def test_a_request_id_has_no_effect_on_an_undo(stores: Stores, image: str) -> None:
    first = create_review(stores, ReviewRequest("demo", image, comment="x", request_id="r1"), "alice")
    undo = create_review(stores, ReviewRequest("demo", image, undoes=first.id, request_id="r2"), "alice")
    for request_id in ("r1", "r2", "r3", ""):
        request = ReviewRequest("demo", image, undoes=first.id, request_id=request_id)
        assert create_review(stores, request, "alice") == undo
    assert list_reviews(stores, "demo") == (first, undo)


def test_only_own_reviews_of_the_same_image_can_be_undone(stores: Stores, demo: Bundle, image: str) -> None:
    other_image = next(name for name in demo.judged_names if name != image)
    first = create_review(stores, ReviewRequest("demo", image, comment="x"), "alice")
    with pytest.raises(InvalidRequest, match="Undo only your own"):
        create_review(stores, ReviewRequest("demo", image, undoes=first.id), "bob")
    with pytest.raises(InvalidRequest, match="Undo only your own"):  # the same name, but without a token
        create_review(stores, ReviewRequest("demo", image, undoes=first.id, reviewer="alice"))
    with pytest.raises(ReviewNotFound):
        create_review(stores, ReviewRequest("demo", other_image, undoes=first.id), "alice")
    with pytest.raises(ReviewNotFound, match="not found"):
        create_review(stores, ReviewRequest("demo", image, undoes="<b>\x00" * 40), "alice")


def test_an_undo_is_newer_than_the_review_even_if_the_clock_goes_back(backend: Backend, image: str) -> None:
    stores = backend.ports.stores
    first = create_review(stores, ReviewRequest("demo", image, comment="x"), "alice")
    backend.now -= 1000
    undo = create_review(stores, ReviewRequest("demo", image, undoes=first.id), "alice")
    assert undo.time > first.time
    assert active_reviews(list_reviews(stores, "demo", image)) == []


def test_a_request_id_makes_a_review_idempotent(stores: Stores, demo: Bundle, image: str) -> None:
    request = ReviewRequest("demo", image, comment="x", request_id="r1")
    review = create_review(stores, request, "alice")
    assert create_review(stores, request, "alice") == review
    with pytest.raises(AlreadyExists):
        create_review(stores, replace(request, comment="y"), "alice")
    assert create_review(stores, request, "bob").id != review.id
    assert len(list_reviews(stores, "demo")) == 2


def test_a_repeated_request_adds_the_event_that_the_first_one_lacks(
    stores: Stores, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = RecordLog(ObjectFiles(MemoryFileSystem(), f"/{uuid.uuid4().hex}"), AuditEvent)
    stores = replace(stores, events=events)
    create = stores.reviews.create

    def store_and_fail(review: Review) -> NoReturn:
        create(review)
        raise Unavailable("The archive could not be read.")

    request = ReviewRequest("demo", image, comment="x", request_id="r1")
    with monkeypatch.context() as patch:
        patch.setattr(stores.reviews, "create", store_and_fail)
        with pytest.raises(Unavailable):
            create_review(stores, request, "alice")
    assert events.all() == ()

    for _ in range(2):
        review = create_review(stores, request, "alice")
    undos = {create_review(stores, ReviewRequest("demo", image, undoes=review.id), "alice").id for _ in range(2)}
    assert [event.details["review"] for event in events.all()] == [review.id, *undos]


def test_a_request_id_of_another_image_is_refused(stores: Stores, demo: Bundle, street: Bundle, tmp_path: Path) -> None:
    repository = EvidenceRepository({"demo": [demo.path], "street": [street.path]}, tmp_path)
    stores = replace(stores, evidence=repository)
    review = create_review(stores, ReviewRequest("demo", demo.judged_names[0], comment="x", request_id="r1"), "alice")
    for dataset, image in (("demo", demo.judged_names[1]), ("street", "a")):
        with pytest.raises(AlreadyExists, match="'r1' was used for another review") as error:
            create_review(stores, ReviewRequest(dataset, image, comment="x", request_id="r1"), "alice")
        assert error.value.violations[0].field == "request_id"
    assert [*stores.reviews.all()] == [review]


def change_default(stores: Stores, labels: str) -> Bundle:
    """Make a bundle with the labels of a CSV file the default."""
    bundle = upload_labels(stores, "street", io.BytesIO(labels.encode()), "root")
    set_default(stores, "street", bundle.digest, "root")
    return bundle


@pytest.mark.parametrize("labels", ["a,owl", "b,dog"], ids=["other labels", "image not evaluated"])
def test_a_request_can_be_repeated_after_the_default_evidence_has_changed(
    street: Bundle, tmp_path: Path, labels: str
) -> None:
    stores = Backend(EvidenceRepository({"street": [street.path]}, tmp_path)).ports.stores
    request = ReviewRequest("street", "a", confirmed=("cat",), request_id="r1")
    review = create_review(stores, request, "ann")
    undo_request = ReviewRequest("street", "a", undoes=review.id, request_id="r2")
    undo = create_review(stores, undo_request, "ann")

    change_default(stores, f"file_name,labels\n{labels}\n")

    assert create_review(stores, request, "ann") == review
    assert create_review(stores, undo_request, "ann") == undo
    assert (review.evidence, undo.evidence) == (street.digest, street.digest)
    with pytest.raises(AlreadyExists):
        create_review(stores, replace(request, confirmed=(), rejected=("cat",)), "ann")
    assert [*stores.reviews.all()] == [review, undo]


def test_a_request_with_other_evidence_is_not_repeated(street: Bundle, tmp_path: Path) -> None:
    stores = Backend(EvidenceRepository({"street": [street.path]}, tmp_path)).ports.stores
    request = ReviewRequest("street", "a", comment="x", request_id="r1")
    review = create_review(stores, request, "ann")
    other = change_default(stores, "file_name,labels\na,owl\n")

    assert create_review(stores, replace(request, evidence=street.digest[:12]), "ann") == review
    with pytest.raises(AlreadyExists):
        create_review(stores, replace(request, evidence=other.digest), "ann")


def test_a_request_is_repeated_while_the_default_evidence_changes(
    street: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = Backend(EvidenceRepository({"street": [street.path]}, tmp_path)).ports.stores
    request = ReviewRequest("street", "a", comment="x", request_id="r1")
    review = create_review(stores, request, "ann")
    change_default(stores, "file_name,labels\na,owl\n")
    monkeypatch.setattr(stores.reviews, "find", lambda key: ())  # the other process has not seen it yet

    assert create_review(stores, request, "ann") == review


def test_reviews_are_listed_by_image_and_reviewer(stores: Stores, demo: Bundle) -> None:
    for number, reviewer in enumerate(["alice", "bob", "alice", "carol"]):
        create_review(stores, ReviewRequest("demo", demo.judged_names[number % 2], comment=str(number)), reviewer)
    comments = [review.comment for review in list_reviews(stores, "demo")]
    assert comments == ["0", "1", "2", "3"]
    assert [review.comment for review in list_reviews(stores, "demo", demo.judged_names[1])] == ["1", "3"]
    assert [review.comment for review in list_reviews(stores, "demo", reviewer="alice")] == ["0", "2"]
    assert [review.comment for review in list_reviews(stores, "demo", demo.judged_names[0], "bob")] == []
    with pytest.raises(DatasetNotFound):
        list_reviews(stores, "nothing")


def test_a_review_is_found_by_its_id(stores: Stores, image: str) -> None:
    review = create_review(stores, ReviewRequest("demo", image, comment="x"), "alice")
    assert find_review(stores, "demo", image, review.id) == review
    with pytest.raises(ReviewNotFound):
        find_review(stores, "demo", image, "0" * 32)


def test_the_largest_review_fits_into_a_record(stores: Stores, demo: Bundle, image: str) -> None:
    classes = tuple(str(index) for index in range(MAX_CLASSES))
    request = ReviewRequest("demo", image, rejected=classes, comment="\U0001f600" * MAX_COMMENT)
    review = create_review(stores, request, "a" * MAX_REVIEWER)
    assert list_reviews(stores, "demo") == (review,)
    assert json.dumps(review.rejected)


def test_of_concurrent_reviews_with_one_request_id_the_first_stays(
    stores: Stores, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create_review(stores, ReviewRequest("demo", image, comment="a", reviewer="ann", request_id="r"))
    monkeypatch.setattr(stores.reviews, "find", lambda key: ())  # the other process has not seen it yet
    same = ReviewRequest("demo", image, comment="a", reviewer="ann", request_id="r")

    assert create_review(stores, same) == first
    with pytest.raises(AlreadyExists):
        create_review(stores, replace(same, comment="b"))
    assert [review.comment for review in stores.reviews.all()] == ["a"]
