"""Links of a report: to the grid of images on the site, to the error table in a file."""

from urllib.parse import parse_qs, urlsplit

from service.domain import ErrorType
from service.report.image_links import ImageLinks, link_attributes

IDS = ("n01", "n 02&", "ünï")
SITE, FILE = ImageLinks("a1", IDS), ImageLinks(class_ids=IDS)
ALL_PROPERTIES = {
    "error_type": ErrorType.MODEL_FAILURE,
    "class_id": 1,
    "predicted_id": 2,
    "superclass": "dog & cat=?#",
    "group": "other",
}


def test_link_on_the_site_has_the_parameters_of_the_grid() -> None:
    url = urlsplit(SITE.images(**ALL_PROPERTIES))

    assert url.path == "/analyses/a1/images"
    assert parse_qs(url.query, strict_parsing=True) == {
        "type": ["model_failure"],
        "class": ["n 02&"],
        "predicted": ["ünï"],
        "superclass": ["dog & cat=?#"],
        "group": ["other"],
    }


def test_link_in_a_file_has_the_same_parameters_with_indices_of_classes() -> None:
    url = FILE.images(**ALL_PROPERTIES)

    assert url.startswith("#errors?")
    assert parse_qs(url.removeprefix("#errors?"), strict_parsing=True) == {
        "type": ["model_failure"],
        "class": ["1"],
        "predicted": ["2"],
        "superclass": ["dog & cat=?#"],
        "group": ["other"],
    }


def test_link_to_all_images_has_no_parameter() -> None:
    assert (SITE.images(), FILE.images()) == ("/analyses/a1/images", "#errors")
    assert SITE.images(class_id=0).endswith("?class=n01")  # index 0 is a class


def test_lone_surrogate_in_a_name_is_replaced() -> None:
    assert ImageLinks().images(superclass="\udc80") == "#errors?superclass=%3F"


def test_attributes_of_a_link_are_escaped() -> None:
    assert link_attributes('/a?b="&c') == 'href="/a?b=&#34;&amp;c"'
    assert link_attributes("#errors?a=b&c=%22") == 'href="#errors" data-filters="a=b&amp;c=%22"'
