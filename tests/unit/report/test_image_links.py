"""Links of a report: to the grid of images on the site, to the error table in a file."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from service.domain import ErrorType
from service.report.image_links import ImageFilter, ImageLinks, image_url, link_attributes

IDS = ("n01", "n 02&", "ünï")
SITE, FILE = ImageLinks("data set/1", "a1", IDS), ImageLinks("data set/1", class_ids=IDS)
ALL_PROPERTIES = ImageFilter(ErrorType.MODEL_FAILURE, 1, 2, "dog & cat=?#", "other")


def test_link_on_the_site_has_the_parameters_of_the_grid() -> None:
    url = urlsplit(SITE.images(ALL_PROPERTIES))

    assert url.path == "/analyses/a1/images"
    assert parse_qs(url.query, strict_parsing=True) == {
        "type": ["model_failure"],
        "class": ["n 02&"],
        "predicted": ["ünï"],
        "superclass": ["dog & cat=?#"],
        "group": ["other"],
    }


def test_link_in_a_file_has_the_same_parameters_with_indices_of_classes() -> None:
    url = FILE.images(ALL_PROPERTIES)

    assert url.startswith("#errors?")
    assert parse_qs(url.removeprefix("#errors?"), strict_parsing=True) == {
        "type": ["model_failure"],
        "class": ["1"],
        "predicted": ["2"],
        "superclass": ["dog & cat=?#"],
        "group": ["other"],
    }


def test_link_to_all_images_has_no_parameter() -> None:
    assert (SITE.images(ImageFilter()), FILE.images(ImageFilter())) == ("/analyses/a1/images", "#errors?")
    assert SITE.images(ImageFilter(target=0)).endswith("?class=n01")  # index 0 is a class


def test_page_of_an_image_belongs_to_the_data_set() -> None:
    assert image_url("a b/c?.jpg", SITE.image_base, SITE.image_query) == (
        "/datasets/data%20set%2F1/images/a%20b/c%3F.jpg?analysis=a1"
    )
    assert (FILE.image_base, FILE.image_query) == ("", "")


@pytest.mark.parametrize("name", ["../x.jpg", "a/./b.jpg", "a//b.jpg", "/etc/x.jpg"])
def test_name_with_special_segments_stays_one_segment(name: str) -> None:
    url = image_url(name, "/datasets/d/images/", "")

    assert url.count("/") == 4
    assert unquote(url.removeprefix("/datasets/d/images/")) == name


def test_lone_surrogate_in_a_name_is_replaced() -> None:
    assert image_url("a\udc80.jpg", "/", "") == "/a%3F.jpg"
    assert ImageLinks().images(ImageFilter(superclass="\udc80")) == "#errors?superclass=%3F"


def test_attributes_of_a_link_are_escaped() -> None:
    assert link_attributes('/a?b="&c') == 'href="/a?b=&#34;&amp;c"'
    assert link_attributes("#errors?a=b&c=%22") == 'href="#errors" data-filters="a=b&amp;c=%22"'
