"""Views of an image in each state of its evidence, of its neighbors, and of other analyses."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from service.domain import (
    Agreement,
    Analysis,
    AnalysisRequest,
    CoOccurrence,
    ErrorType,
    LabelSource,
    Outcome,
    ProposedText,
    State,
    Step,
    TypeAgreement,
    Verdict,
    VerdictEvidence,
    VocabularyEvidence,
)
from service.domain.images import ImageQuery, ModelVerdict, Neighbors
from service.report.image_urls import ImageUrls, grid_parameters
from service.report.image_view import ImageData, ImageView, image_view

ANALYSIS = Analysis(
    "a1", AnalysisRequest("demo", "timm:net"), State.SUCCEEDED, "e" * 64, datetime(2024, 2, 29, tzinfo=UTC)
)
NAMES, IDS = ("tench", "goldfish", "shark"), ("n1", "n2", "n3")
EVIDENCE = VerdictEvidence(((1, LabelSource.REAL),), (), (), None, "", (Step(ErrorType.CORRECT, Outcome.MISS),))
VERDICT = Verdict("x.jpg", 1, 0, ErrorType.MODEL_FAILURE, (), 0.5, EVIDENCE)
QUERY = ImageQuery("a1", error_type=ErrorType.MODEL_FAILURE, class_id=1, page=3)


def view(query: ImageQuery = QUERY, **changes: Any) -> ImageView:
    urls = ImageUrls("demo", IDS, query)
    data = ImageData(
        ANALYSIS, VERDICT, NAMES, urls, None, (), "/full", lambda name: f"/small/{name}", {"x.jpg", "y.jpg"}
    )
    return image_view(replace(data, **changes))


def test_an_image_has_its_verdict_picture_and_links() -> None:
    result = view()

    assert (result.row.error_type, result.row.probability) == ("model failure", "50.0 %")
    assert result.row.trace == ("top-1 correct: no match",)
    assert result.picture == "/full"
    assert result.review == "/review/demo/x.jpg?analysis=a1"
    assert result.agreement == "" and result.position == "" and result.previous == "" and result.next == ""


def test_neighbors_keep_the_query_of_the_grid_without_its_page() -> None:
    result = view(neighbors=Neighbors(119, 1234, "a/b.jpg", None))

    parts = urlsplit(result.previous)
    assert parts.path == "/datasets/demo/images/a/b.jpg"
    assert parse_qs(parts.query) == {"analysis": ["a1"], "type": ["model_failure"], "class": ["n2"]}
    assert result.next == ""
    assert result.position == "Image 120 of 1,234"
    assert result.grid == "/analyses/a1/images?type=model_failure&class=n2&page=2"


def test_experts_are_quoted_about_the_error_type() -> None:
    values = TypeAgreement(num_judged=49, num_experts=72, num_agreed=17, kappa=0.18, num_severity_agreed=25)
    agreement = Agreement(484, 359, 294, 0.44, 287, 0.12, {ErrorType.SPURIOUS_CORRELATION: values}, ())
    verdict = replace(VERDICT, error_type=ErrorType.SPURIOUS_CORRELATION)

    result = view(agreement=agreement, verdict=verdict)

    assert result.agreement == "Experts agreed in 17 of 49 errors, and called 24 of them major."


def test_examples_and_texts_show_the_evidence() -> None:
    vocabulary = VocabularyEvidence(True, (ProposedText("a <fish>", 0.4567, True),), 9)
    pair = CoOccurrence(1, 12, ("y.jpg", "../elsewhere.jpg"))
    evidence = replace(EVIDENCE, vocabulary=vocabulary, co_occurrences=(pair,))
    result = view(verdict=replace(VERDICT, evidence=evidence))

    (examples,) = result.examples
    assert examples.title == "Examples of goldfish and tench together"
    assert [(item.thumbnail, item.url) for item in examples.images] == [
        ("/small/y.jpg", "/datasets/demo/images/y.jpg?analysis=a1"),
        ("", ""),  # not an image of the data set
    ]
    assert [(text.text, text.probability, text.width) for text in result.texts] == [("a <fish>", "45.7 %", 45.7)]


def test_other_analyses_are_counted_and_linked() -> None:
    others = [
        ModelVerdict.of("b1", "wrong alike", ErrorType.MODEL_FAILURE.id, 0),
        ModelVerdict.of("b2", "right", ErrorType.CORRECT.id, 1),
        ModelVerdict.of("b3", "silent", 0, -1),
    ]
    result = view(others=others)

    assert result.others_note == (
        "Other analyses with this evidence and a prediction: 2. With an error on the image: 1. Same prediction: 1."
    )
    rows = [(row.predicted, row.error_type, row.url, row.analysis_url) for row in result.others]
    assert rows == [
        ("tench", "model failure", "/datasets/demo/images/x.jpg?analysis=b1", "/analyses/b1"),
        ("goldfish", "top-1 correct", "/datasets/demo/images/x.jpg?analysis=b2", "/analyses/b2"),
        ("–", "no prediction", "/datasets/demo/images/x.jpg?analysis=b3", "/analyses/b3"),
    ]
    assert view().others_note == "No other analysis with this evidence has a prediction for the image."


@pytest.mark.parametrize("name", ["../../etc/passwd", "./a", "a//b", "<img src=x>", 'a"b?c#d&e', "ä 画.png", "a\r\nb"])
def test_a_hostile_name_stays_below_the_path_of_images(name: str) -> None:
    urls = ImageUrls("de/mo", IDS, QUERY)
    for url, prefix in ((urls.image(name), "/datasets/de%2Fmo/images/"), (urls.review(name), "/review/de%2Fmo/")):
        parts = urlsplit(url)
        assert url.startswith(prefix) and url.isascii() and not set(url) & set("\"'<>\\ \r\n")
        assert unquote(parts.path.removeprefix(prefix)) == name and not parts.fragment
        assert parse_qs(parts.query)["analysis"] == ["a1"]
        assert not {"..", "."} & set(parts.path.split("/"))


def test_the_parameters_of_a_query_are_those_that_differ_from_the_defaults() -> None:
    query = ImageQuery("a1", predicted_id=2, superclass="a b", group="other", min_confidence=0.25, problematic=None)
    query = replace(query, baseline="b1", change="fixed", sort="models desc", page=4)

    assert grid_parameters(ImageQuery("a1"), IDS) == {}
    assert grid_parameters(query, IDS) == {
        "predicted": "n3",
        "superclass": "a b",
        "group": "other",
        "min_confidence": "0.25",
        "problematic": "include",
        "baseline": "b1",
        "change": "fixed",
        "sort": "models desc",
        "page": "4",
    }
    assert grid_parameters(replace(query, problematic=True), IDS)["problematic"] == "only"
