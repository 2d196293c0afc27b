"""The view of a grid of images: cards, links of facets, filters, pages, and the form."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from service.domain import ErrorType
from service.domain.images import SORTS, Facet, FacetCount, ImageFacets, ImageQuery, ImageRow
from service.report.grid_view import GridData, GridView, grid_view
from service.report.image_urls import ImageUrls
from service.report.messages.images import SORT_NAMES, failing_note

NAMES, IDS = ("tench", "goldfish", "shark"), ("n1", "n2", "n3")
ROW = ImageRow("x.jpg", 0, 1, 2, ErrorType.MODEL_FAILURE, False, 0.875, 3, 5)


def facet(*counts: tuple[Any, int], num_values: int = 0) -> Facet[Any]:
    return Facet([FacetCount(value, count) for value, count in counts], num_values or len(counts))


FACETS = ImageFacets(
    error_types=facet((ErrorType.CORRECT, 5), (ErrorType.MODEL_FAILURE, 1234)),
    classes=facet((1, 7), num_values=9),
    predicted=facet((2, 4), (0, 0)),
    superclasses=facet(("fish", 3)),
    groups=facet(("organism", 8)),
)


ANALYSIS = ImageQuery("a1")


def view(query: ImageQuery = ANALYSIS, rows: Sequence[ImageRow] = (ROW,), **changes: Any) -> GridView:
    urls = ImageUrls("demo", IDS, query)
    data = GridData(query, urls, "net", NAMES, rows, FACETS, 200, 4, 5, lambda name: f"/{name}", has_probability=True)
    return grid_view(replace(data, **changes))


def test_a_card_shows_ground_truth_prediction_and_error_type() -> None:
    (image,) = view().images

    assert (image.target, image.predicted, image.probability) == ("goldfish", "shark", "87.5 %")
    assert (image.error_type, image.css_class) == ("model failure", "type-8")
    assert image.thumbnail == "/x.jpg"
    assert image.url == "/datasets/demo/images/x.jpg?analysis=a1"
    assert image.notes == ("error in 3 of 5 other analyses",)


def test_a_card_shows_only_what_is_known() -> None:
    row = replace(ROW, probability=None, num_predicting=0, problematic=True)
    row = replace(row, baseline_predicted=0, baseline_type=ErrorType.FINE_GRAINED)
    (image,) = view(rows=[row], thumbnail_url=lambda _: "").images

    assert (image.probability, image.thumbnail) == ("", "")
    assert image.notes == ("before: tench (fine-grained)", "problematic")


@pytest.mark.parametrize(
    ("counts", "text"),
    [((0, 1), "error in 0 of 1 other analysis"), ((1, 2), "error in 1 of 2 other analyses")],
)
def test_a_note_has_the_number_of_analyses_with_an_error(counts: tuple[int, int], text: str) -> None:
    assert failing_note(*counts) == text


def test_a_facet_links_to_its_values_and_from_the_selected_one_back() -> None:
    facets = {item.parameter: item for item in view(ImageQuery("a1", class_id=1, group="organism", page=3)).facets}

    assert [item.url for item in facets["type"].items] == [
        "/analyses/a1/images?type=correct&class=n2&group=organism",
        "/analyses/a1/images?type=model_failure&class=n2&group=organism",
    ]
    assert [(item.name, item.count, item.css_class) for item in facets["type"].items] == [
        ("top-1 correct", "5", "type-1"),
        ("model failure", "1,234", "type-8"),
    ]
    (selected,) = facets["class"].items
    assert (selected.is_selected, selected.url) == (True, "/analyses/a1/images?group=organism")
    assert facets["class"].num_more == 8 and facets["predicted"].num_more == 1
    assert facets["class"].hidden == (("group", "organism"),)
    assert facets["group"].items[0].url == "/analyses/a1/images?class=n2"
    assert facets["superclass"].items[0].url == "/analyses/a1/images?class=n2&superclass=fish&group=organism"


def test_each_condition_can_be_removed() -> None:
    query = ImageQuery(
        "a1",
        error_type=ErrorType.CORRECT,
        predicted_id=0,
        superclass="fish",
        min_confidence=0.5,
        problematic=True,
        baseline="b1",
        change="correct:model_failure",
    )
    result = view(query, baseline="older net")

    assert [item.text for item in result.filters] == [
        "error type: top-1 correct",
        "prediction: tench",
        "superclass: fish",
        "minimum confidence: 50.0 %",
        "problematic images: only problematic",
        "change: top-1 correct → model failure",
        "compared with: older net",
    ]
    complete = set(ImageUrls("demo", IDS, query).parameters().items())
    removed = [complete - _parameters(item.url) for item in result.filters]
    assert [{name for name, _ in items} for items in removed] == [
        {"type"}, {"predicted"}, {"superclass"}, {"min_confidence"}, {"problematic"}, {"change"},
        {"baseline", "change"},
    ]  # fmt: skip
    assert result.reset == "/analyses/a1/images"


def _parameters(url: str) -> set[tuple[str, str]]:
    return set(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize(
    ("page", "links"),
    [
        (1, ("", "", "?page=2", "?page=4")),
        (2, ("", "", "?page=3", "?page=4")),
        (4, ("", "?page=3", "", "")),
    ],
)
def test_pages_are_linked(page: int, links: tuple[str, str, str, str]) -> None:
    result = view(ImageQuery("a1", page=page))
    base = "/analyses/a1/images"
    expected = tuple(base + link if link or (index < 2 and page > 1) else "" for index, link in enumerate(links))

    assert (result.first_page, result.previous_page, result.next_page, result.last_page) == expected
    assert (result.first, result.last) == (60 * (page - 1) + 1, 60 * (page - 1) + 1)


def test_the_form_keeps_the_other_parameters_and_has_the_current_values() -> None:
    query = ImageQuery("a1", class_id=1, min_confidence=0.33, baseline="b1", change="correct:fine_grained", page=2)
    result = view(query, baseline="older")
    options = {option.name: option for option in result.options}

    assert result.hidden == (("class", "n2"), ("baseline", "b1"))
    assert options.keys() == {"sort", "min_confidence", "problematic", "change"}
    assert all(option.value in dict(option.choices) for option in result.options)
    assert dict(options["min_confidence"].choices)["0.33"] == "33.0 %"


def test_the_form_has_no_choice_without_the_facts_for_it() -> None:
    options = {option.name: dict(option.choices) for option in view(has_probability=False, num_models=0).options}

    assert options.keys() == {"sort", "problematic"}
    assert not any("confidence" in value or "models" in value for value in options["sort"])


def test_every_order_is_offered() -> None:
    assert {value.removesuffix(" desc") for value in SORT_NAMES} == {*SORTS}
