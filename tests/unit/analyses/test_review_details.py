"""What a reviewer sees of an image."""

import pytest
from errata.errors import ImageNotFound

from service.analyses.review_details import find_details, find_last_review
from service.domain import ErrorType
from service.evidence.bundle import Bundle
from service.web import review_view
from service.web.review_form import ReviewForm
from service.web.review_view import ReviewPageBuilder

from .conftest import Backend
from .test_review_queue import add_review, analyze, class_id, severe_classes


def test_suggested_classes_are_those_of_any_model_by_agreement(backend: Backend, demo: Bundle) -> None:
    first, second, third = severe_classes(demo, 3, 3)
    votes = {"a": (first, 0.5), "b": (second, 0.25), "c": (first, 1.0), "d": (third, 0.75)}
    for number, (name, (class_index, confidence)) in enumerate(votes.items()):
        analyze(backend, demo, {3: class_index, 10 + number: first}, name, {3: confidence})
    analyze(backend, demo, {}, "right", {3: 1.0})

    details = find_details(backend.ports.stores, "demo", "", demo.judged_names[3])

    suggested = [(item.class_index, item.num_agreeing, item.confidence) for item in details.suggested]
    assert suggested == [(first, 2, 0.75), (third, 1, 0.75), (second, 1, 0.25)]
    assert (details.num_models, details.min_agreement) == (5, 3)


def test_the_prediction_is_that_of_the_selected_analysis(backend: Backend, demo: Bundle) -> None:
    wrong = severe_classes(demo, 3, 1)[0]
    old = analyze(backend, demo, {3: wrong}, "old", {3: 0.25})
    analyze(backend, demo, {}, "new")
    name = demo.judged_names[3]

    selected = find_details(backend.ports.stores, "demo", old.id, name).prediction
    newest = find_details(backend.ports.stores, "demo", "", name).prediction

    assert (selected.class_index, selected.error_type) == (wrong, ErrorType.MODEL_FAILURE)
    assert (selected.analysis.id, selected.probability) == (old.id, 0.25)
    assert (newest.error_type, newest.probability) == (ErrorType.CORRECT, None)


def test_without_analyses_an_image_has_labels_only(backend: Backend, demo: Bundle) -> None:
    details = find_details(backend.ports.stores, "demo", "", demo.judged_names[3])

    assert (details.prediction, [*details.suggested], details.num_models) == (None, [], 0)
    assert [label for label, _ in details.labels] == [details.target]
    with pytest.raises(ImageNotFound):
        find_details(backend.ports.stores, "demo", "", "nosuch.jpg")


def test_reviews_of_the_image_are_shown_with_their_decision(backend: Backend, demo: Bundle) -> None:
    first = add_review(backend, demo, 3, confirmed=(class_id(demo, 7),))
    undo = add_review(backend, demo, 3, undoes=first.id)
    last = add_review(backend, demo, 3, "bob", rejected=(class_id(demo, 7),))
    add_review(backend, demo, 4, "bob", rejected=(class_id(demo, 8),))

    details = find_details(backend.ports.stores, "demo", "", demo.judged_names[3])

    assert ([*details.reviews], [*details.active]) == ([first, undo, last], [last])
    assert details.decision.absent == {class_id(demo, 7)}


def test_the_last_review_is_the_newest_one_of_the_reviewer_that_is_not_undone(backend: Backend, demo: Bundle) -> None:
    stores = backend.ports.stores
    first = add_review(backend, demo, 3, confirmed=(class_id(demo, 7),))
    second = add_review(backend, demo, 4, confirmed=(class_id(demo, 7),))
    add_review(backend, demo, 5, "bob", confirmed=(class_id(demo, 7),))

    assert find_last_review(stores, "demo", ("ann", True)) == second
    add_review(backend, demo, 4, undoes=second.id)
    assert find_last_review(stores, "demo", ("ann", True)) == first
    assert find_last_review(stores, "demo", ("ann", False)) is None


def test_a_page_of_reviews_with_very_many_classes_stays_short(backend: Backend, demo: Bundle) -> None:
    many = tuple(demo.label_space.ids[:900])
    for reviewer, vote in (("ann", "added"), ("bob", "rejected")):
        add_review(backend, demo, 3, reviewer, **{vote: many})
    details = find_details(backend.ports.stores, "demo", "", demo.judged_names[3])

    page = ReviewPageBuilder(details, ReviewForm("demo", details.image), "ann", has_pictures=False).build(None, "")

    assert (len(page.others), len(page.conflicts)) == (50, 20)
    assert [row.statements[0].count(",") for row in page.reviews] == [20, 20]
    assert page.reviews[1].statements[0].endswith("and 880 more")
    assert [row.is_own for row in page.reviews] == [False, True]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (3, "Classes that contain “shark”: great white shark, tiger shark, and hammerhead."),
        (2, "Only the first 2 classes that contain “shark” are listed: great white shark and tiger shark. Enter more"),
    ],
)
def test_a_search_says_whether_the_page_lists_only_the_first_classes(
    backend: Backend, demo: Bundle, monkeypatch: pytest.MonkeyPatch, limit: int, text: str
) -> None:
    monkeypatch.setattr(review_view, "MAX_FOUND", limit)
    details = find_details(backend.ports.stores, "demo", "", demo.judged_names[3])
    form = ReviewForm("demo", details.image, search="shark")

    page = ReviewPageBuilder(details, form, "ann", has_pictures=False).build(None, "")

    assert page.search_result.startswith(text)
    assert len([row for row in page.others if row.match]) == limit
