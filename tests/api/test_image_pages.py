"""The grid of images and the pages of images over HTTP: filters, neighbors, redirects, and refusals."""

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from errata import Client, pb
from http_answer import Answer
from running_service import Running, Start

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle

from .test_pages import request

HOSTILE = ('"><img src=x onerror=alert(1)>.jpg', "a?b=c&d#e.jpg", "%2e%2e/%41.jpg", "ä/画 像.jpg", "+plus+.jpg")


@pytest.fixture(scope="module")
def models(running: Running, demo: Bundle) -> list[str]:
    """The IDs of three analyses of the 20 photographs: the first is wrong on 5, the second on 2, the third on none."""
    return [_upload(running.client, demo, count) for count in (5, 2, 0)]


def _upload(client: Client, demo: Bundle, num_wrong: int) -> str:
    rows = []
    for row, (name, target) in enumerate(zip(demo.judged_names, demo.all_targets.tolist(), strict=True)):
        rows.append(f"{name},{0 if row < num_wrong else target},{0.9 - row / 100:.2f}\n")
    text = "file_name,top1,predicted_probability\n" + "".join(rows)
    analysis = client.upload(io.BytesIO(text.encode()), "demo", display_name=f"{num_wrong} wrong")
    return analysis.name.removeprefix("analyses/")


def _images(answer: Answer) -> list[str]:
    """Return the names of the images of a grid, in order."""
    assert answer.status == 200, answer.text
    return [unescape(name) for name in re.findall(r'<input type="checkbox" name="image" value="([^"]*)"', answer.text)]


def _links(answer: Answer) -> dict[str, str]:
    links = re.findall(r'<a href="([^"]+)" rel="(prev|next)"', answer.text)
    return {relation: unescape(url) for url, relation in links}


def test_the_grid_is_filtered_and_sorted(running: Running, demo: Bundle, models: Sequence[str]) -> None:
    names = demo.judged_names
    path = f"/analyses/{models[0]}/images"

    assert sorted(_images(request(running, path))) == sorted(names)
    assert _images(request(running, f"{path}?min_confidence=0.875&sort=confidence")) == names[2::-1]
    assert sorted(_images(request(running, f"{path}?predicted=tench"))) == sorted(names[:5])
    assert set(_images(request(running, f"{path}?baseline={models[1]}&change=broken"))) == set(names[2:5])
    assert set(_images(request(running, f"{path}?predicted=0&baseline={models[2]}&change=broken"))) == set(names[:5])
    nothing = request(running, f"{path}?type=correct&predicted=n01440764")
    assert _images(nothing) == [] and "No images match the filters." in nothing.text


def test_the_grid_shows_how_many_models_fail(running: Running, demo: Bundle, models: Sequence[str]) -> None:
    def failing() -> list[int]:
        grid = request(running, f"/analyses/{models[0]}/images?predicted=tench")
        notes = re.findall(r"error in (\d+) of \d+ other analys[ei]s", grid.text)
        fails = dict(zip(_images(grid), map(int, notes), strict=True))
        return [fails[name] for name in demo.judged_names[:5]]

    before = failing()
    _upload(running.client, demo, 3)

    assert failing() == [before[0] + 1, before[1] + 1, before[2] + 1, before[3], before[4]]


def test_the_image_page_steps_through_the_grid(running: Running, models: Sequence[str]) -> None:
    query = f"analysis={models[0]}&predicted=tench&sort=confidence"
    order = _images(request(running, f"/analyses/{models[0]}/images?{query.partition('&')[2]}"))
    page = request(running, f"/datasets/demo/images/{quote(order[0])}?{query}")
    seen = [order[0]]
    assert "prev" not in _links(page)
    while url := _links(page).get("next"):
        page = request(running, url)
        seen.append(unescape(re.search("<h1>(.*)</h1>", page.text)[1]))  # type: ignore[index]
        assert f"Image {len(seen)} of 5" in page.text
    assert seen == order
    assert "The image does not match" in request(running, f"/datasets/demo/images/{order[0]}?{query}&type=correct").text


def test_the_image_page_has_the_verdicts_of_other_analyses(
    running: Running, demo: Bundle, models: Sequence[str]
) -> None:
    name = demo.judged_names[3]
    page = request(running, f"/datasets/demo/images/{name}?analysis={models[0]}").text

    for other, title in zip(models[1:], ("2 wrong", "0 wrong"), strict=True):
        assert f'<a href="/datasets/demo/images/{name}?analysis={other}">{title}</a>' in page
        assert f'<a href="/analyses/{other}">{other}</a>' in page
    assert f'"/analyses/{models[0]}">{models[0]}' not in page
    assert f'href="/review/demo/{name}?analysis={models[0]}"' in page


def test_an_image_without_an_analysis_opens_for_the_newest_one(
    running: Running, demo: Bundle, models: Sequence[str]
) -> None:
    newest = _upload(running.client, demo, 1)
    page = request(running, f"/datasets/demo/images/{demo.judged_names[0]}")

    assert page.status == 200 and f'href="/analyses/{newest}"' in page.text
    assert models[0] in page.text


def test_an_old_page_of_an_image_redirects(running: Running, demo: Bundle, models: Sequence[str]) -> None:
    answer = request(running, f"/analyses/{models[0]}/errors/{demo.judged_names[0]}")

    assert answer.status == 308
    assert answer.headers["Location"] == f"/datasets/demo/images/{demo.judged_names[0]}?analysis={models[0]}"
    hostile = request(running, f"/analyses/{models[0]}/errors/{quote('//evil.example/%0d%0aX: 1', safe='')}")
    assert hostile.status == 308 and hostile.headers["Location"].startswith("/datasets/demo/images/%2F%2Fevil.example")
    assert hostile.headers["X"] is None


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("type=odd", "Unknown error type &#39;odd&#39;. Expected one of correct, class_overlap"),
        ("class=odd", "Unknown class &#39;odd&#39;."),
        ("predicted=gold", "Similar names: goldfish"),
        ("class=99999999999999999999", "Unknown class"),
        ("superclass=%3Cscript%3E", "Unknown superclass &#39;&lt;script&gt;&#39;"),
        ("group=odd", "Unknown group"),
        ("min_confidence=much", "Confidence &#39;much&#39; is not a number."),
        ("min_confidence=nan", "Confidence nan is not between 0 and 1."),
        ("problematic=odd", "Expected one of include, only."),
        ("baseline=a-b", "Invalid analysis &#39;a-b&#39;"),
        ("change=fixed", "Name one, for example with --baseline."),
        ("sort=odd", "Unknown order"),
        ("page=x", "Page &#39;x&#39; is not a number."),
        ("page=-1", "Page &#39;-1&#39; is not a number."),
        ("page=0", "Page 0 does not exist."),
        ("page=" + "9" * 30, "at most 9 digits"),
        ("odd=1", "Unknown parameter &#39;odd&#39;. Expected one of type, class"),
        ("superclass=" + "x" * 2000, "At most 1024 are allowed."),
    ],
)
def test_an_invalid_query_has_an_error_page(running: Running, models: Sequence[str], query: str, text: str) -> None:
    answer = request(running, f"/analyses/{models[0]}/images?{query}")

    assert answer.status == 400
    assert text in answer.text


def test_a_grid_with_an_unknown_class_keeps_its_other_filters(running: Running, models: Sequence[str]) -> None:
    url = f"/analyses/{models[0]}/images?sort=class"
    answer = request(running, f"{url}&class=odd&superclass=none")

    assert answer.status == 400
    (alert,) = re.findall('<p class="note" role="alert">(.*?)</p>', answer.text)
    assert "Unknown class &#39;odd&#39;." in alert and "Unknown superclass &#39;none&#39;" in alert
    assert _images(replace(answer, status=200)) == _images(request(running, url)) != []
    assert '<option value="class" selected>' in answer.text


def test_a_baseline_of_another_data_set_is_refused(running: Running, models: Sequence[str], start: Start) -> None:
    assert request(running, f"/analyses/{models[0]}/images?baseline=nothing").status == 404


def test_a_page_after_the_last_one_shows_the_last_one(running: Running, models: Sequence[str]) -> None:
    path = f"/analyses/{models[0]}/images"

    assert _images(request(running, f"{path}?page=999999999")) == _images(request(running, path))


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/datasets/demo/images/nothing.jpg?analysis={id}", 404, "was not found in demo"),
        (
            "/datasets/imagenet/images/a.jpg?analysis={id}",
            400,
            "has the data set &#39;demo&#39;, not &#39;imagenet&#39;",
        ),
        ("/datasets/nowhere/images/a.jpg", 404, "&#39;nowhere&#39; not found"),
        ("/datasets/demo/images/a.jpg?analysis=a-b", 404, "Analysis &#39;a-b&#39; not found."),
        ("/datasets/demo/images/?analysis={id}", 404, "was not found"),
        ("/datasets/demo/images/%00%ff?analysis={id}", 404, "was not found"),
        ("/datasets/demo/images/..%2f..%2fetc%2fpasswd?analysis={id}", 404, "was not found"),
        ("/datasets/demo/images/" + "x" * 5000 + "?analysis={id}", 404, "was not found"),
        ("/analyses/nothing/images", 404, "not found"),
        ("/analyses/nothing/errors/a.jpg", 404, "not found"),
        ("/static/nothing.js", 404, "not found"),
        ("/static/..%2fstyle.css", 404, "not found"),
    ],
)
def test_unknown_images_analyses_and_files_have_an_error_page(
    running: Running, models: Sequence[str], path: str, status: int, text: str
) -> None:
    answer = request(running, path.format(id=models[0]))

    assert answer.status == status
    assert text in answer.text
    assert len(answer.text) < 60_000


def test_a_script_never_changes_and_runs_only_with_its_digest(running: Running, models: Sequence[str]) -> None:
    page = request(running, f"/analyses/{models[0]}/images")
    url, integrity = re.search(r'<script src="([^"]+)" integrity="([^"]+)"', page.text).groups()  # type: ignore[union-attr]
    script = request(running, url)

    assert script.status == 200 and script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert f"'{integrity}'" in page.headers["Content-Security-Policy"]


def test_hostile_names_of_images_are_text_and_reachable(start: Start, tmp_path: Path) -> None:
    rows = [f'"{name.replace(chr(34), 2 * chr(34))}"' for name in HOSTILE]
    labels, predicted = tmp_path / "labels.csv", tmp_path / "predicted.csv"
    labels.write_text("file_name,labels\n" + "".join(f"{row},1\n" for row in rows))
    predicted.write_text("file_name,top1\n" + "".join(f"{row},3\n" for row in rows))
    bundle = build_evidence("street", Inputs(labels=labels), tmp_path / "bundle")
    with start(evidence={"street": [str(bundle.path)]}) as service:
        analysis: pb.Analysis = service.client.upload(predicted, "street", display_name=HOSTILE[0])
        grid = request(service, f"/{analysis.name}/images")
        assert sorted(_images(grid)) == sorted(HOSTILE)
        urls = [unescape(url) for url in re.findall(r'href="(/datasets/street/images/[^"]*)"', grid.text)]
        assert len(urls) == len(HOSTILE)
        for url in urls:
            page = request(service, url)
            name = unescape(re.search("<h1>(.*)</h1>", page.text)[1])  # type: ignore[index]
            assert page.status == 200 and name in HOSTILE
            assert "<img src=x" not in page.text and "<img src=x" not in grid.text


@pytest.mark.parametrize("text", ["[a-", "\x00", "%s{0}{text}"])
def test_a_search_that_finds_no_class_says_so(running: Running, demo: Bundle, text: str) -> None:
    page = request(running, f"/review/demo/{quote(demo.judged_names[0])}?search={quote(text)}")

    assert page.status == 200
    assert "No class contains “" in page.text
