"""Thumbnails and pictures over HTTP: caching, placeholders, hostile names, and authorization."""

import base64
import hashlib
import html
import http.client
import io
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from errata import pb
from errata.tokens import Scope, line_of, new_token
from http_answer import send
from PIL import Image
from running_service import MODEL, Running, Start, start_service

from service.predictions.thumbnails import Thumbnails
from service.report.urls import image_url, picture_url, thumbnail_url
from service.web import pictures

NAMES = ("a.png", "class one/b & <b>.png", "größe/#1?.png", "100%25.png", "a+b.png")


def get(
    running: Running, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return the status, headers, and body of a response."""
    answer = send(running.addresses.http, "GET", path, headers=headers)
    return answer.status, answer.headers, answer.body


def size_of(body: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(body), formats=["JPEG"]) as picture:
        return picture.size


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((600, 300), 80).save(folder / name)
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "page.png").write_bytes(b"<script>alert(1)</script>")
    (folder / "drawing.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder.parent / "secret.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return folder


@pytest.fixture(scope="module")
def service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Running]:
    with start_service(data_dir, tmp_path_factory.mktemp("archive"), images={"own": str(images)}) as service:
        yield service


@pytest.fixture(scope="module")
def analysis(service: Running) -> pb.Analysis:
    """An analysis of the photographs by a hash predictor."""
    name = service.client.analyze(MODEL, "demo").name
    return [*service.client.watch(name)][-1]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_thumbnail_and_a_picture(service: Running, name: str) -> None:
    for url, size in ((thumbnail_url("own", name), (256, 128)), (picture_url("own", name), (600, 300))):
        status, headers, body = get(service, url)

        assert (status, headers["Content-Type"], size_of(body)) == (200, "image/jpeg", size)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_browser_asks_again_and_receives_a_changed_picture(start: Start, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "images" / "a.png")
    url = thumbnail_url("own", "a.png")
    with start(images={"own": str(tmp_path / "images")}) as service:
        _, headers, body = get(service, url)
        tag = headers["ETag"]
        assert headers["Cache-Control"] == "private, no-cache"
        assert tag == f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            status, headers, body = get(service, url, {"If-None-Match": condition})
            assert (status, body, headers["ETag"]) == (304, b"", tag)
        Image.new("RGB", (9, 9), "blue").save(tmp_path / "images" / "a.png")

        status, headers, body = get(service, url, {"If-None-Match": tag})
        assert (status, size_of(body)) == (200, (9, 9)) and headers["ETag"] != tag


def test_only_the_url_of_the_current_version_is_immutable(start: Start, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "images" / "a.png")
    with start(images={"own": str(tmp_path / "images")}) as service:
        versions = Thumbnails({"own": str(tmp_path / "images")})
        url = thumbnail_url("own", "a.png", versions.version("own", "a.png"))
        assert get(service, url)[1]["Cache-Control"] == "private, max-age=31536000, immutable"
        assert get(service, thumbnail_url("own", "a.png", "0" * 16))[1]["Cache-Control"] == "private, no-cache"
        assert get(service, thumbnail_url("own", "a.png") + "?v=")[1]["Cache-Control"] == "private, no-cache"
        Image.new("RGB", (9, 9), "blue").save(tmp_path / "images" / "a.png")

        status, headers, body = get(service, url)
        assert (status, size_of(body), headers["Cache-Control"]) == (200, (9, 9), "private, no-cache")


HOSTILE = [
    "../secret.png", "%2e%2e/secret.png", "..%2fsecret.png", "link.png", "/etc/passwd", "//etc/passwd", "nothing.png",
    "%00", "%ff", "a.png%00.jpg", "a.png/", "", ".", "drawing.svg", "torn.jpg", "page.png", "class one",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["thumbnails", "pictures"])
@pytest.mark.parametrize("name", HOSTILE)
def test_other_names_and_unreadable_images_have_a_placeholder(service: Running, kind: str, name: str) -> None:
    status, headers, body = get(service, f"/datasets/own/{kind}/{quote(name, safe='%/.')}")

    assert (status, body) == (404, pictures.PLACEHOLDER.encode())
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("image/svg+xml", "private, max-age=60")


@pytest.mark.parametrize("dataset", ["other", "%00", "..", "own%2f..", "demo%20"])
def test_another_data_set_has_a_placeholder_or_no_page(service: Running, dataset: str) -> None:
    assert get(service, f"/datasets/{dataset}/thumbnails/a.png")[0] == 404


def test_the_placeholder_loads_nothing_and_runs_nothing() -> None:
    assert not re.search(r"script|href|http(?!://www\.w3\.org/2000/svg\")|on\w+=|style", pictures.PLACEHOLDER)


def test_the_old_url_of_a_thumbnail_redirects(service: Running, analysis: pb.Analysis) -> None:
    for name in ("a b/ü?.png", "../../x.png", "//elsewhere.test/x.png", "a\rSet-Cookie: x=1"):
        status, headers, _ = get(service, f"/{analysis.name}/images/{quote(name, safe='')}")

        assert (status, headers["Location"]) == (308, thumbnail_url("demo", name))
        assert "Set-Cookie" not in headers
    assert get(service, "/analyses/00000000/images/a.png")[0] == 404


def test_an_image_page_shows_the_picture_at_full_size(service: Running, analysis: pb.Analysis) -> None:
    name = next(iter(service.client.verdicts(analysis.name, most=1))).file_name
    analysis_id = analysis.name.removeprefix("analyses/")
    _, _, page = get(service, image_url("demo", name, analysis=analysis_id))
    (url,) = re.findall(r'<img[^>]* src="(/datasets/demo/pictures/[^"]*)"', page.decode())

    assert re.fullmatch(rf"{picture_url('demo', name)}\?v=[0-9a-f]{{16}}", url)
    status, headers, body = get(service, url)
    assert status == 200 and max(size_of(body)) > 256 and "immutable" in headers["Cache-Control"]


def test_a_grid_has_the_thumbnails_that_were_made_before(service: Running, analysis: pb.Analysis) -> None:
    def sources() -> list[str]:
        page = get(service, f"/{analysis.name}/images")[2].decode()
        return [html.unescape(source) for source in re.findall(r'<img src="([^"]+)"', page)]

    before = sources()  # other tests may have made some thumbnails
    assert len(before) == 20
    for number, source in enumerate(before):
        if source.startswith("/datasets/demo/thumbnails/"):
            thumbnail = base64.b64encode(get(service, source)[2]).decode()
            before[number] = f"data:image/jpeg;base64,{thumbnail}"
            assert sources() == before
    assert all(source.startswith("data:image/jpeg;base64,") for source in before)


def test_pictures_need_the_scope_read(start: Start, tmp_path: Path, images: Path) -> None:
    token = new_token()
    (tmp_path / "tokens").write_text(line_of("viewer", Scope.READ, token))
    with start(images={"own": str(images)}, tokens=tmp_path / "tokens") as service:
        for url in (thumbnail_url("own", "a.png"), picture_url("own", "a.png")):
            assert get(service, url)[0] == 401
            assert get(service, url, {"Authorization": "Bearer wrong"})[0] == 401
            assert get(service, url, {"Authorization": f"Bearer {token}"})[0] == 200


def test_too_many_requests_receive_a_placeholder_with_a_delay(
    start: Start, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, released = threading.Event(), threading.Event()
    read = pictures._matches

    def wait(header: str, tag: str) -> bool:
        entered.set()
        released.wait(60)
        return read(header, tag)

    monkeypatch.setattr(pictures, "_matches", wait)
    monkeypatch.setattr(pictures, "MAX_REQUESTS", 1)
    with start(images={"own": str(images)}) as service, ThreadPoolExecutor(1) as thread:
        first = thread.submit(get, service, thumbnail_url("own", "a.png"))
        assert entered.wait(60)
        status, headers, body = get(service, thumbnail_url("own", "a.png"))
        released.set()

    assert (status, headers["Retry-After"], headers["Cache-Control"]) == (503, "1", "no-store")
    assert body == pictures.PLACEHOLDER.encode() and first.result()[0] == 200


def test_an_unexpected_error_shows_no_details(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(pictures, "_matches", fail)
    status, headers, body = get(service, thumbnail_url("own", "a.png"))

    assert (status, body, headers["Cache-Control"]) == (500, pictures.PLACEHOLDER.encode(), "no-store")
