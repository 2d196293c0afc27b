"""URLs: the server reads the same name from the URL, and a hostile name stays below its route."""

from urllib.parse import unquote, urljoin, urlsplit

import pytest

from service.report.urls import image_url, picture_url, review_url, thumbnail_url

BASE = "https://errata.test/analyses/1/images"


def test_urls_name_the_data_set_the_kind_and_the_image() -> None:
    assert thumbnail_url("imagenet-real", "n01440764/a.JPEG") == "/datasets/imagenet-real/thumbnails/n01440764/a.JPEG"
    assert picture_url("own", "a b.png") == "/datasets/own/pictures/a%20b.png"


def test_a_version_is_a_query_parameter() -> None:
    assert thumbnail_url("own", "a?v=2.png", "3f&x=1") == "/datasets/own/thumbnails/a%3Fv%3D2.png?v=3f%26x%3D1"


@pytest.mark.parametrize(
    "name",
    [
        "../../../analyses/x",
        "a/../../../b.png",
        "./a.png",
        "//elsewhere.test/a.png",
        "/etc/passwd",
        "\\\\elsewhere.test\\a.png",
        'a"onerror="alert(1)',
        "<img src=x>",
        "%2e%2e/%2e%2e/a.png",
        "a#b?c;d&e.png",
        "ä/画像.png",
        "a\x00\r\nSet-Cookie: x",
        "javascript:alert(1)",
        "trailing/",
    ],
)
def test_a_hostile_name_stays_below_its_route_and_is_decoded_unchanged(name: str) -> None:
    for url, prefix in (
        (thumbnail_url("own", name), "/datasets/own/thumbnails/"),
        (picture_url("own", name), "/datasets/own/pictures/"),
        (image_url("own", name), "/datasets/own/images/"),
        (review_url("own", name), "/review/own/"),
    ):
        parts = urlsplit(urljoin(BASE, url))

        assert parts.hostname == "errata.test" and not parts.query and not parts.fragment
        assert unquote(parts.path) == f"{prefix}{name}"
        assert url.isascii() and not set(url) & set("\"'<>\\ \r\n\x00")


def test_a_data_set_stays_one_segment() -> None:
    assert thumbnail_url("a/b?c", "d.png") == "/datasets/a%2Fb%3Fc/thumbnails/d.png"


def test_a_name_that_is_not_unicode_has_a_url() -> None:
    assert thumbnail_url("own", "a\udc80\ud800.png") == "/datasets/own/thumbnails/a%3F%3F.png"
    assert image_url("own", "a\udc80.jpg") == "/datasets/own/images/a%3F.jpg"


def test_parameters_without_a_value_are_left_out() -> None:
    assert image_url("data set/1", "a b/c?.jpg", analysis="a1", change="") == (
        "/datasets/data%20set%2F1/images/a%20b/c%3F.jpg?analysis=a1"
    )
    assert review_url("own", "a.jpg", next=("b.jpg", "c d.jpg")) == "/review/own/a.jpg?next=b.jpg&next=c+d.jpg"
