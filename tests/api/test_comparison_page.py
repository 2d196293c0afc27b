"""The page of a comparison: filters, counts, and links, compared with the verdicts of both analyses."""

import io
import re
from collections import Counter
from html import unescape
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import numpy as np
import pytest
from errata import Client
from running_service import Running

from service.evidence.bundle import Bundle
from service.taxonomy.imagenet_1k import imagenet_1k

from .test_pages import request

CORRECT = {"correct", "class_overlap", "multi_label"}
HOSTILE = "\"><script>alert('x')</script>"


def upload(client: Client, demo: Bundle, predicted: np.ndarray) -> str:
    rows = [f"{name},{value}\n" for name, value in zip(demo.judged_names, predicted.tolist(), strict=True)]
    name = client.upload(io.BytesIO(("file_name,top1\n" + "".join(rows)).encode()), "demo").name
    return name.removeprefix("analyses/")


@pytest.fixture(scope="module")
def pair(running: Running, demo: Bundle) -> tuple[str, str]:
    """A and B predict the neighboring class, or a distant one, for different photographs."""
    targets = np.array(demo.all_targets)
    a, b = targets.copy(), targets.copy()
    a[:8], a[8:12] = (targets[:8] + 500) % 1000, targets[8:12] + 1
    b[4:8], b[14:17] = targets[4:8] + 1, (targets[14:17] + 300) % 1000
    return upload(running.client, demo, a), upload(running.client, demo, b)


def types(client: Client, analysis: str) -> dict[str, str]:
    """Return the error types of the photographs that are not correct."""
    return {verdict.file_name: verdict.error_type for verdict in client.verdicts(f"analyses/{analysis}")}


def images(html: str, grid: str) -> list[str]:
    """Return the file names of the images of a grid."""
    section = html.partition(f'<section aria-labelledby="{grid}">')[2].partition("</section>")[0]
    links = re.findall(r'<li>\s*<a href="([^"]+)"', section)
    return [unescape(link).partition("/images/")[2].partition("?")[0] for link in links]


def matrix(html: str) -> dict[str, int]:
    """Return the number of images of each linked cell of the matrix."""
    table = html.partition('<table class="matrix">')[2].partition("</table>")[0]
    cells = re.findall(r'<a href="([^"]+)">([\d,]+)</a>', table)
    return {parse_qs(urlsplit(unescape(url)).query)["change"][0]: int(count) for url, count in cells}


def types_of_pair(client: Client, pair: tuple[str, str], demo: Bundle) -> dict[str, tuple[int, str, str]]:
    """Return the target and both error types of each photograph."""
    a, b = (types(client, name) for name in pair)
    targets = zip(demo.judged_names, demo.all_targets.tolist(), strict=True)
    return {name: (target, a.get(name, "correct"), b.get(name, "correct")) for name, target in targets}


def url(pair: tuple[str, str], **filters: str) -> str:
    return f"/compare?{urlencode({'a': pair[0], 'b': pair[1], **filters})}"


def test_cells_of_the_matrix_link_to_their_images(
    running: Running, client: Client, demo: Bundle, pair: tuple[str, str]
) -> None:
    html = request(running, url(pair)).text

    photographs = types_of_pair(client, pair, demo)
    assert matrix(html) == Counter(f"{in_a}:{in_b}" for _, in_a, in_b in photographs.values())
    assert len(matrix(html)) >= 4
    a, b = pair
    assert f'href="/analyses/{b}/images?baseline={a}&amp;change=model_failure%3Acorrect"' in html


def test_fixed_and_broken_images_are_in_grids(
    running: Running, client: Client, demo: Bundle, pair: tuple[str, str]
) -> None:
    html = request(running, url(pair)).text

    photographs = types_of_pair(client, pair, demo)
    fixed = {name for name, (_, in_a, in_b) in photographs.items() if in_a not in CORRECT and in_b in CORRECT}
    broken = {name for name, (_, in_a, in_b) in photographs.items() if in_a in CORRECT and in_b not in CORRECT}
    assert fixed and broken
    assert ({*images(html, "fixed")}, {*images(html, "broken")}) == (fixed, broken)
    assert f"Fixed: {len(fixed)}<" in html and f"All images ({len(broken)})" in html
    assert f'src="/datasets/demo/thumbnails/{quote(min(fixed))}"' in html


@pytest.mark.parametrize("change", ["fixed", "broken", "model_failure:correct"])
def test_filters_select_images_by_change_and_class(
    running: Running, client: Client, demo: Bundle, pair: tuple[str, str], change: str
) -> None:
    grid = change if ":" not in change else "transition"
    every_image = images(request(running, url(pair, change=change)).text, grid)
    photographs = types_of_pair(client, pair, demo)
    target = photographs[every_image[0]][0]
    label_space = imagenet_1k()
    superclass = label_space.superclasses.names_of(target)[0]
    members = label_space.superclasses.members[label_space.superclasses.ids.index(superclass)].tolist()

    of_class = request(running, url(pair, change=change, **{"class": label_space.ids[target]})).text
    of_superclass = request(running, url(pair, change=change, superclass=superclass)).text

    assert images(of_class, grid) == [name for name in every_image if photographs[name][0] == target]
    assert images(of_superclass, grid) == [name for name in every_image if photographs[name][0] in members]
    assert matrix(of_class) == Counter(
        ":".join(photographs[name][1:]) for name in every_image if photographs[name][0] == target
    )
    assert "Images by top-1 correctness only" not in of_class
    assert f"&amp;class={label_space.ids[target]}" in of_class.partition('class="matrix"')[2]
    assert f'<option value="{change}" selected>' in of_class
    assert f'<option value="{label_space.ids[target]}" selected>' in of_class
    other = {"fixed", "broken", "transition"} - {grid}
    assert not any(f'id="{name}"' in of_class for name in other)


def test_class_without_changes_has_no_images(running: Running, demo: Bundle, pair: tuple[str, str]) -> None:
    unchanged = imagenet_1k().ids[demo.all_targets.tolist()[-1]]

    html = request(running, url(pair, **{"class": unchanged})).text

    assert images(html, "fixed") == images(html, "broken") == []
    assert f'<option value="{unchanged}" selected>' in html
    assert sum(matrix(html).values()) == 1


def test_classes_with_changes_have_adjusted_p_values_and_links(running: Running, pair: tuple[str, str]) -> None:
    html = request(running, url(pair)).text

    table = html.partition("Classes with the most significant changes")[2].partition("</table>")[0]
    assert "adjusted p-value" in table
    rows = re.findall(r"<tr><th scope=\"row\"><a href=\"(/compare[^\"]+class=(n\d+))\">", table)
    assert rows
    for link, class_id in rows:
        answer = request(running, unescape(link))
        assert f'<option value="{class_id}" selected>' in answer.text


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"change": "worse"}, "Unknown change &#39;worse&#39;"),
        ({"change": "correct:odd"}, "Unknown change &#39;correct:odd&#39;"),
        ({"change": "correct"}, "Unknown change &#39;correct&#39;"),
        ({"change": ":"}, "Unknown change &#39;:&#39;"),
        ({"class": "tench?"}, "Unknown class &#39;tench?&#39;"),
        ({"superclass": "odd"}, "Unknown superclass &#39;odd&#39;"),
        ({"change": HOSTILE}, "Unknown change"),
        ({"class": HOSTILE}, "Unknown class"),
        ({"superclass": HOSTILE}, "Unknown superclass"),
        ({"class": "x" * 1025}, "At most 1024 are allowed."),
    ],
)
def test_unknown_filter_is_an_error(
    running: Running, pair: tuple[str, str], filters: dict[str, str], text: str
) -> None:
    answer = request(running, url(pair, **filters))

    assert answer.status == 400
    assert text in answer.text
    assert "<script>alert" not in answer.text


def test_links_of_earlier_versions_lead_to_the_page(running: Running, pair: tuple[str, str]) -> None:
    a, b = pair

    answer = request(running, f"/compare/{a}/{b}")

    assert (answer.status, answer.headers["Location"]) == (301, f"/compare?a={a}&b={b}")
    assert request(running, f"/compare/{a}/{b}/report.html").headers["Content-Disposition"].startswith("attachment")


def test_two_marked_analyses_are_compared_the_older_one_first(running: Running, pair: tuple[str, str]) -> None:
    a, b = pair

    for first, second in ((a, b), (b, a)):
        answer = request(running, f"/compare?mark={first}&mark={second}")
        assert (answer.status, answer.headers["Location"]) == (303, f"/compare?a={a}&b={b}")
    for marks in (f"mark={a}", f"mark={a}&mark={a}&mark={b}", f"mark={a}&mark=..%2F{b}"):
        assert request(running, f"/compare?{marks}").status == 400


def test_stand_alone_comparison_has_no_links_to_the_service(running: Running, pair: tuple[str, str]) -> None:
    html = request(running, f"/compare/{pair[0]}/{pair[1]}/report.html").text

    assert "Fixed: " in html
    assert 'href="/' not in html and 'src="/' not in html
