"""The fields of a review's form, and the review that they describe."""

from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import ANY

import pytest
from errata.errors import InvalidRequest
from starlette.datastructures import ImmutableMultiDict, QueryParams

from service.analyses.reviews import add_classes
from service.bootstrap.build import Inputs, build_evidence
from service.domain import Review
from service.evidence.bundle import Bundle
from service.web.review_form import MAX_NEXT, ReviewForm, check_choices, parse_form, parse_link
from service.web.review_view import form_url, next_url


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Classes whose IDs are the indices of other classes."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "classes.csv").write_text("id,name\n2,cat\n0,dog\n1,bird\n")
    (folder / "labels.csv").write_text("file_name,labels\na.jpg,cat\nb.jpg,dog;bird\n")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    return build_evidence("street", inputs, folder / "bundle")


def form(*fields: tuple[str, str]) -> ReviewForm:
    return parse_form(ImmutableMultiDict([("dataset", "street"), ("image", "b.jpg"), *fields]))


def test_yes_confirms_a_label_and_adds_another_class(bundle: Bundle) -> None:
    sent = form(("class-0", "yes"), ("class-1", "yes"), ("class-2", "no"), ("added", " fish "), ("added", " "))

    request = sent.to_request(bundle, "")

    assert (request.confirmed, request.added, request.rejected) == (("0",), ("2", "fish"), ("1",))
    assert (request.dataset, request.image, request.evidence) == ("street", "b.jpg", bundle.digest)


def test_a_form_has_ids_even_if_they_are_the_indices_of_other_classes(bundle: Bundle) -> None:
    sent = form(("class-0", "no"), ("class-1", "yes"), ("added", "bird"))
    review = Review("0" * 32, "street", "b.jpg", bundle.digest, "ann", False, datetime(2026, 1, 31, tzinfo=UTC))

    with pytest.raises(InvalidRequest, match="'1' is already a label"):  # the ID of the bird
        add_classes(review, replace(sent, added=("1",)).to_request(bundle, ""), bundle)
    review = add_classes(replace(review, image="a.jpg"), replace(sent, image="a.jpg").to_request(bundle, ""), bundle)
    assert (review.confirmed, review.added, review.rejected) == ((), ("0", "1"), ("2",))


def test_no_statement_and_unknown_values_say_nothing(bundle: Bundle) -> None:
    sent = form(("class-0", ""), ("class-1", "maybe"), ("class-x", "yes"), ("class-", "yes"), ("problematic", "maybe"))

    assert (sent.choices, sent.problematic) == ({}, None)


@pytest.mark.parametrize(("value", "expected"), [("yes", True), ("no", False), ("", None)])
def test_an_image_is_problematic_usable_or_neither(value: str, expected: bool | None) -> None:
    assert form(("problematic", value)).problematic is expected


def test_the_name_of_a_reviewer_does_not_matter_with_a_token(bundle: Bundle) -> None:
    sent = form(("reviewer", "mallory"), ("class-1", "yes"))

    assert sent.to_request(bundle, "ann").reviewer == ""
    assert sent.to_request(bundle, "").reviewer == "mallory"


def test_lines_of_a_comment_end_as_on_the_page() -> None:
    assert form(("comment", " one\r\ntwo ")).comment == "one\ntwo"


def test_a_class_out_of_range_is_refused(bundle: Bundle) -> None:
    check_choices(form(("class-2", "yes")), bundle.label_space)
    with pytest.raises(InvalidRequest, match="unknown class"):
        check_choices(form(("class-3", "yes")), bundle.label_space)


@pytest.mark.parametrize(
    "query",
    [
        [("next", f"{number}.jpg") for number in range(MAX_NEXT + 1)],
        [("next", "x" * 1025)],
        [("reviewer", "x" * 1025)],
        [("analysis", "../etc")],
    ],
    ids=["too many images", "long name", "long reviewer", "invalid analysis"],
)
def test_invalid_links_are_refused(query: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest):
        parse_link("street", "a.jpg", QueryParams(query))


def test_the_images_of_a_selection_follow_each_other() -> None:
    first = parse_link("street", "a.jpg", QueryParams([("selection", "1"), ("next", "b.jpg"), ("next", "c d.jpg")]))

    assert next_url(first, "queue.jpg") == "/review/street/b.jpg?selection=1&next=c+d.jpg"
    second = first.at("b.jpg")
    assert next_url(second, "queue.jpg") == "/review/street/c%20d.jpg?selection=1"
    assert next_url(second.at("c d.jpg"), "queue.jpg") == "/review?dataset=street"


def test_a_selection_goes_back_to_an_earlier_image() -> None:
    link = [("selection", "1"), ("reviewer", "ann"), *(("next", f"{number}.jpg") for number in range(MAX_NEXT))]
    current = parse_link("street", "b.jpg", QueryParams(link))

    assert current.back_to("a.jpg").at("b.jpg").next == current.next[: MAX_NEXT - 1]  # a link has at most MAX_NEXT
    assert current.back_to("b.jpg") == replace(current, request_id=ANY)
    queue = replace(current, is_selection=False, next=())
    assert queue.back_to("a.jpg").next == ()


def test_without_a_selection_the_queue_continues() -> None:
    link = parse_link("street", "a.jpg", QueryParams([("reviewer", "ann")]))

    assert next_url(link, "q.jpg") == "/review/street/q.jpg?reviewer=ann"
    assert next_url(link, "") == "/review?dataset=street&reviewer=ann"


def test_names_with_dot_segments_stay_one_segment() -> None:
    assert form_url(ReviewForm("street", "../../x?.jpg")) == "/review/street/..%2F..%2Fx%3F.jpg"
    assert form_url(ReviewForm("street", "a/b.jpg")) == "/review/street/a/b.jpg"


def test_each_form_has_its_own_id_unless_it_is_sent_again() -> None:
    assert ReviewForm("street", "a.jpg").request_id != ReviewForm("street", "a.jpg").request_id
    assert form(("request_id", "r")).request_id == "r"


def test_the_fixture_has_ambiguous_ids(bundle: Bundle) -> None:
    assert [len(bundle.label_space.match(text)) for text in bundle.label_space.ids] == [2, 2, 2]


def test_a_class_is_not_both_confirmed_and_rejected() -> None:
    assert form(("class-0", "yes"), ("class-0", "yes")).choices == {0: True}
    with pytest.raises(InvalidRequest, match="both confirms and rejects"):
        form(("class-0", "yes"), ("class-0", "no"))


def test_the_name_of_an_image_keeps_its_spaces() -> None:
    fields = ImmutableMultiDict([("dataset", " street "), ("image", " a.jpg ")])

    assert (parse_form(fields).dataset, parse_form(fields).image) == ("street", " a.jpg ")
