"""The queue of images to review: its order, the votes of models, and the effect of reviews."""

import io
import uuid
from dataclasses import replace

import numpy as np
import pytest
from errata.errors import InvalidRequest

from service.analyses import model_votes
from service.analyses.model_votes import model_identity
from service.analyses.ports import Stores
from service.analyses.review_queue import QueueReason, ReviewQueue, find_votes, locate_image, review_queue
from service.analyses.upload import upload
from service.domain import Analysis, AnalysisRequest, ErrorType, ModelInfo, Review, Suggestions, suggest_labels
from service.evidence.bundle import Bundle

from .conftest import Backend

INFO = ModelInfo("demo:net", "net", "f" * 64, "resize")


def analyze(
    backend: Backend,
    demo: Bundle,
    changes: dict[int, int],
    name: str = "",
    probability: dict[int, float] | None = None,
    labels: dict[str, str] | None = None,
) -> Analysis:
    """Archive predictions that are the targets, except for changes by row."""
    predicted = np.array(demo.evidence.targets)
    predicted[[*changes]] = [*changes.values()]
    header = "file_name,top1" + (",probability" if probability is not None else "")
    lines = [header]
    for row, (image, top1) in enumerate(zip(demo.judged_names, predicted.tolist(), strict=True)):
        lines.append(f"{image},{top1}" + (f",{probability.get(row, 0.5)}" if probability is not None else ""))
    request = AnalysisRequest("demo", display_name=name, labels=labels or {}, accept_implausible=True)
    return upload(backend.ports, request, io.BytesIO("\n".join(lines).encode()))


def suggestions(stores: Stores, demo: Bundle, min_agreement: int | None = None) -> Suggestions:
    return stores.votes.suggestions(find_votes(stores, demo), demo, min_agreement)


def severe_classes(demo: Bundle, row: int, count: int) -> list[int]:
    """Return classes whose prediction for an image is a model failure."""
    classes = np.flatnonzero(demo.verdicts[row] == ErrorType.MODEL_FAILURE.id)
    return classes[:count].tolist()


def minor_class(demo: Bundle, row: int) -> int:
    """Return a class whose prediction for an image is a fine-grained error."""
    return int(np.flatnonzero(demo.verdicts[row] == ErrorType.FINE_GRAINED.id)[0])


def add_review(backend: Backend, demo: Bundle, row: int, reviewer: str = "ann", **statements: object) -> Review:
    base = Review(
        uuid.uuid4().hex, "demo", demo.judged_names[row], demo.digest, reviewer, True, backend.ports.stores.clock()
    )
    review = replace(base, **statements)
    backend.reviews.append(review)
    return review


def rows_of(queue: ReviewQueue, reason: QueueReason | None = None) -> list[int]:
    return [queue.bundle.row(item.image) for item in queue.items if reason in (None, item.reason)]


def class_id(demo: Bundle, index: int) -> str:
    return demo.label_space.ids[index]


def test_conflicts_come_before_severe_errors_and_these_before_common_errors(backend: Backend, demo: Bundle) -> None:
    first, second = severe_classes(demo, 0, 1)[0], severe_classes(demo, 1, 1)[0]
    shared = minor_class(demo, 5)
    for number in range(3):
        changes = {0: first, 1: second, 5: shared}
        probability = {0: 0.25, 1: 0.75, 5: 0.5}
        analyze(backend, demo, changes | {10 + number: first}, f"net {number}", probability)
    add_review(backend, demo, 7, "ann", confirmed=(class_id(demo, 3),))
    add_review(backend, demo, 7, "bob", rejected=(class_id(demo, 3),))

    queue = review_queue(backend.ports.stores, "demo")

    assert rows_of(queue, QueueReason.CONFLICT) == [7]
    assert rows_of(queue, QueueReason.SEVERE_ERROR)[0] == 1
    assert rows_of(queue, QueueReason.SEVERE_ERROR)[-1] == 0
    assert rows_of(queue, QueueReason.AGREEMENT) == [5]
    assert [item.reason for item in queue.items] == sorted(
        (item.reason for item in queue.items), key=[*QueueReason].index
    )
    assert queue.items[0].predicted == 3
    assert (queue.items[1].predicted, queue.items[1].num_agreeing, queue.items[1].confidence) == (second, 3, 0.75)
    assert (queue.items[-1].predicted, queue.items[-1].num_agreeing, queue.items[-1].num_models) == (shared, 3, 3)
    assert queue.total == len(queue.items) == sum(queue.counts.values())


def test_a_selected_analysis_determines_the_severe_errors(backend: Backend, demo: Bundle) -> None:
    wrong = severe_classes(demo, 0, 1)[0]
    old = analyze(backend, demo, {0: wrong}, "old")
    new = analyze(backend, demo, {4: severe_classes(demo, 4, 1)[0]}, "new")

    assert rows_of(review_queue(backend.ports.stores, "demo", old.id)) == [0]
    newest = review_queue(backend.ports.stores, "demo")
    assert (rows_of(newest), newest.analysis_id) == ([4], new.id)


def test_a_reviewed_image_leaves_the_queue_until_its_review_is_undone(backend: Backend, demo: Bundle) -> None:
    analyze(backend, demo, {row: severe_classes(demo, row, 1)[0] for row in (0, 1, 2)})
    review = add_review(backend, demo, 1, confirmed=(class_id(demo, 0),))

    assert rows_of(review_queue(backend.ports.stores, "demo")) == [0, 2]
    assert review_queue(backend.ports.stores, "demo").num_reviewed == 1
    add_review(backend, demo, 1, undoes=review.id)
    assert rows_of(review_queue(backend.ports.stores, "demo")) == [0, 1, 2]


def test_a_third_reviewer_ends_a_conflict(backend: Backend, demo: Bundle) -> None:
    add_review(backend, demo, 1, "ann", problematic=True, reason="blurred")
    add_review(backend, demo, 1, "bob", problematic=False)

    (item,) = review_queue(backend.ports.stores, "demo").items
    assert (item.reason, item.predicted, item.num_agreeing) == (QueueReason.CONFLICT, None, 0)
    add_review(backend, demo, 1, "eve", problematic=False)
    assert review_queue(backend.ports.stores, "demo").items == []


def test_reviews_of_other_data_sets_and_images_do_not_matter(backend: Backend, demo: Bundle) -> None:
    analyze(backend, demo, {0: severe_classes(demo, 0, 1)[0]})
    for changes in ({"dataset": "other"}, {"image": "nosuch.jpg"}):
        for reviewer, vote in (("ann", "confirmed"), ("bob", "rejected")):
            add_review(backend, demo, 0, reviewer, **changes, **{vote: (class_id(demo, 3),)})

    assert rows_of(review_queue(backend.ports.stores, "demo")) == [0]


def test_each_model_has_one_vote_with_its_newest_analysis(backend: Backend, demo: Bundle) -> None:
    first, second = severe_classes(demo, 3, 2)
    for number in range(3):
        analyze(backend, demo, {3: first, 9 + number: first}, "net")
    assert suggestions(backend.ports.stores, demo, 2).rows.tolist() == []
    assert suggestions(backend.ports.stores, demo, 1).rows.tolist() == [3, 11]

    analyze(backend, demo, {3: second}, "net")
    suggested = suggestions(backend.ports.stores, demo, 1)
    assert (suggested.rows.tolist(), suggested.classes.tolist()) == ([3], [second])


def test_suggestions_at_the_default_agreement_stay_cached_while_they_are_used(
    backend: Backend, demo: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, computed = backend.ports.stores, list[int | None]()
    monkeypatch.setattr(model_votes, "suggest_labels", lambda *args: computed.append(args[-1]) or suggest_labels(*args))
    for number in (None, 4, 5, None, 6, None, 7, None):
        suggestions(stores, demo, number)

    assert computed == [None, 4, 5, 6, 7]


def test_the_queue_has_the_suggestions_at_the_selected_agreement(backend: Backend, demo: Bundle) -> None:
    first, second = severe_classes(demo, 3, 2)
    for number, predicted in enumerate((first, first, second)):
        analyze(backend, demo, {3: predicted, 9 + number: first}, f"net {number}")

    def suggested(min_agreement: int | None) -> list[int]:
        queue = review_queue(backend.ports.stores, "demo", min_agreement=min_agreement)
        assert queue.min_agreement == (min_agreement or 3)
        return rows_of(queue, QueueReason.AGREEMENT)

    # Rows 3 and 11 are severe errors of the newest analysis.
    assert [suggested(number) for number in (None, 3, 2, 1, None)] == [[], [], [], [9, 10], []]
    for number in (0, -1):
        with pytest.raises(InvalidRequest, match=rf"min_agreement is {number}\. Expected at least 1") as error:
            review_queue(backend.ports.stores, "demo", min_agreement=number)
        assert error.value.violations[0].field == "min_agreement"


def test_the_same_predictions_under_two_names_are_one_model(backend: Backend, demo: Bundle) -> None:
    wrong = severe_classes(demo, 3, 1)[0]
    for name in ("net", "copy of net", ""):
        analyze(backend, demo, {3: wrong}, name)

    assert review_queue(backend.ports.stores, "demo").num_models == 1


def test_an_older_analysis_of_a_model_with_the_predictions_of_another_one_has_no_vote(
    backend: Backend, demo: Bundle
) -> None:
    first, second = severe_classes(demo, 0, 2)
    for name, predicted in (("net 2", second), ("net 2", first), ("net 1", first)):
        analyze(backend, demo, {0: predicted}, labels={"model": name})
    assert review_queue(backend.ports.stores, "demo").num_models == 1

    analyze(backend, demo, {0: first, 1: second}, labels={"model": "net 1"})
    assert review_queue(backend.ports.stores, "demo").num_models == 2  # net 2 has its own predictions again


def test_the_cached_votes_follow_new_and_deleted_analyses(backend: Backend, demo: Bundle) -> None:
    wrong = severe_classes(demo, 3, 1)[0]
    stores = backend.ports.stores
    analyses = [analyze(backend, demo, {3: wrong, 8 + number: wrong}, f"net {number}") for number in range(3)]
    assert rows_of(review_queue(stores, "demo"), QueueReason.SEVERE_ERROR) == [3, 10]
    assert suggestions(stores, demo).rows.tolist() == [3]

    stores.archive.delete(analyses[0].id)
    assert suggestions(stores, demo).rows.tolist() == []
    assert review_queue(stores, "demo").num_models == 2


def test_implausible_predictions_and_other_images_have_no_vote(backend: Backend, demo: Bundle) -> None:
    analysis = analyze(backend, demo, {3: 9}, "net")
    predictions = backend.archive.predictions(analysis.id)
    for changes in ({"implausible": True}, {"images": "0" * 64}, {"classes": "0" * 64}):
        backend.archive.delete(analysis.id)
        backend.archive.put(replace(analysis, **changes), predictions)
        queue = review_queue(backend.ports.stores, "demo")
        assert (queue.num_models, queue.analysis_id, queue.total) == (0, "", 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_info": INFO}, ("weights", "f" * 64)),
        ({"labels": {"model": "street", "version": "2"}}, ("model", "street", "2")),
        ({"model": "timm:resnet50"}, ("model", "timm:resnet50", "")),
        ({"display_name": "my net"}, ("name", "my net")),
        ({}, ("predictions", "d" * 64)),
    ],
)
def test_a_model_is_identified_by_the_strongest_fact(
    backend: Backend, demo: Bundle, changes: dict, expected: tuple
) -> None:
    analysis = replace(analyze(backend, demo, {}), predictions_digest="d" * 64)
    info = {name: value for name, value in changes.items() if name == "model_info"}
    request = {name: value for name, value in changes.items() if name != "model_info"}

    assert model_identity(replace(analysis, request=replace(analysis.request, **request), **info)) == expected


def test_pages_and_the_next_image_follow_the_order(backend: Backend, demo: Bundle) -> None:
    analyze(backend, demo, {row: severe_classes(demo, row, 1)[0] for row in (0, 1, 2)})
    stores, names = backend.ports.stores, demo.judged_names

    page = review_queue(stores, "demo", limit=1, offset=1)
    assert (rows_of(page), page.total) == ([1], 3)
    assert review_queue(stores, "demo", limit=5, offset=3).items == []
    first = locate_image(stores, "demo", "", names[0])
    assert (first.position, first.total, first.next) == (0, 3, names[1])
    assert first.item == review_queue(stores, "demo").items[0]
    assert locate_image(stores, "demo", "", names[2]).next == ""
    other = locate_image(stores, "demo", "", "unknown.jpg")
    assert (other.item, other.position, other.next) == (None, None, names[0])


def test_invalid_requests_are_refused(backend: Backend, demo: Bundle) -> None:
    analysis = analyze(backend, demo, {})
    with pytest.raises(InvalidRequest, match="Expected an analysis of 'imagenet-real'"):
        review_queue(backend.ports.stores, "imagenet-real", analysis.id)
    with pytest.raises(InvalidRequest, match="Invalid page"):
        review_queue(backend.ports.stores, "demo", limit=0)
    with pytest.raises(InvalidRequest, match="min_agreement is 0"):
        suggestions(backend.ports.stores, demo, 0)


def test_images_that_are_set_aside_are_no_severe_errors(
    backend: Backend, demo: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyze(backend, demo, {row: severe_classes(demo, row, 1)[0] for row in (3, 4)})
    bundle = backend.ports.stores.evidence.find("demo", "")
    problematic = np.arange(len(bundle.rows)) == 3
    monkeypatch.setitem(vars(bundle), "evidence", replace(bundle.evidence, problematic=problematic))

    assert rows_of(review_queue(backend.ports.stores, "demo"), QueueReason.SEVERE_ERROR) == [4]
