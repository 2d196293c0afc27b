"""The page of the queue: its pages, and the links to the images of each reason."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from service.analyses.review_queue import QueueItem, QueueReason, ReviewQueue
from service.domain import Analysis, AnalysisRequest, State
from service.evidence.bundle import Bundle
from service.report.render import render
from service.web.review_form import ReviewForm
from service.web.review_view import PAGE_SIZE, QueueView, class_options, queue_view


def view(
    demo: Bundle, page: int, total: int, counts: tuple[int, int, int], reason: QueueReason = QueueReason.SEVERE_ERROR
) -> QueueView:
    items = [
        QueueItem(f"{number}.jpg", reason, 7, 2, 3, 0.5)
        for number in range((page - 1) * PAGE_SIZE, min(total, page * PAGE_SIZE))
    ]
    by_reason = dict(zip(QueueReason, counts, strict=True))
    offset = (page - 1) * PAGE_SIZE
    queue = ReviewQueue(demo, "a1", items, total, by_reason, 4, num_models=3, min_agreement=3, offset=offset)
    return queue_view(
        queue, ReviewForm("demo", "", reviewer="ann"), ["demo"], analysis(demo.digest), has_thumbnails=False
    )


def analysis(evidence: str) -> Analysis:
    request = AnalysisRequest("demo", display_name="net")
    return Analysis("a1", request, State.SUCCEEDED, evidence, datetime(2026, 1, 1, tzinfo=UTC))


def test_pages_link_to_their_neighbors(demo: Bundle) -> None:
    first, second, third = (view(demo, page, 120, (0, 120, 0)) for page in (1, 2, 3))

    assert (first.previous, first.next) == ("", "/review?dataset=demo&reviewer=ann&page=2")
    assert (second.previous, second.next) == (
        "/review?dataset=demo&reviewer=ann",
        "/review?dataset=demo&reviewer=ann&page=3",
    )
    assert (third.next, third.first, len(third.rows)) == ("", 101, 20)
    assert first.start == "/review/demo/0.jpg?reviewer=ann"
    assert second.start == ""


def test_the_number_of_each_reason_links_to_the_page_on_which_it_begins(demo: Bundle) -> None:
    counts = view(demo, 1, 200, (0, 110, 90)).counts

    assert [url.rpartition("page=")[2] for _, _, url in counts if url] == ["/review?dataset=demo&reviewer=ann", "3"]
    assert counts[0] == ("conflict of reviewers", 0, "")


@pytest.mark.parametrize("is_same", [True, False])
def test_an_analysis_that_is_judged_with_other_evidence_is_described(demo: Bundle, is_same: bool) -> None:
    queue = ReviewQueue(demo, "a1", [], 0, {}, 0, num_models=1, min_agreement=3)
    judged = analysis(demo.digest if is_same else "0" * 64)
    page = queue_view(queue, ReviewForm("demo", ""), ["demo"], judged, has_thumbnails=False)

    text = render("review_queue.html", site=True, view=page, is_admin=False)

    assert ("</a>. The queue judges it with the default evidence, so the number" in text) is not is_same


def test_a_row_names_the_class_and_the_models_that_predict_it(demo: Bundle) -> None:
    row = view(demo, 1, 1, (0, 1, 0)).rows[0]

    assert row.predicted == demo.label_space.names[7]
    assert row.agreement == "2 of 3 models, confidence of the analysis 50.0 %"


def test_the_mean_confidence_of_models_that_agree_is_named(demo: Bundle) -> None:
    row = view(demo, 1, 1, (0, 0, 1), QueueReason.AGREEMENT).rows[0]

    assert row.agreement == "2 of 3 models, mean confidence 50.0 %"


def test_large_label_spaces_have_no_list_of_classes() -> None:
    names = tuple(f"class {number}" for number in range(2_501))
    space = SimpleNamespace(num_classes=len(names), ids=names, names=names, synonyms=[()] * len(names))

    assert class_options(SimpleNamespace(label_space=space)) == ()
