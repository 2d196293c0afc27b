"""The pages: statuses, headers, and refusals."""

import http.client
import io
import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from analyses_strategy import make_analysis
from click.testing import CliRunner
from errata import Client, pb
from errata.cli.list import list_analyses
from errata.tokens import Scope, line_of, new_token
from http_answer import Answer, send
from running_service import MODEL, Running, Start

from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.archive.index import SqliteIndex
from service.domain import Predictions
from service.evidence.bundle import Bundle


def request(running: Running, path: str, method: str = "GET", token: str = "") -> Answer:
    return send(running.addresses.http, method, path, headers={"Authorization": f"Bearer {token}"} if token else {})


@pytest.fixture(scope="module")
def analysis(running: Running) -> pb.Analysis:
    """An analysis of the photographs by a hash predictor."""
    name = running.client.analyze(MODEL, "demo", fresh=True).name
    return [*running.client.watch(name)][-1]


@pytest.fixture
def image(client: Client, analysis: pb.Analysis) -> str:
    return next(iter(client.verdicts(analysis.name, most=1))).file_name


def test_every_page_may_load_and_run_only_its_own_content(running: Running, analysis: pb.Analysis, image: str) -> None:
    name = analysis.name.removeprefix("analyses/")
    for path in (
        "/",
        f"/{analysis.name}",
        f"/{analysis.name}/images",
        f"/datasets/demo/images/{image}?analysis={name}",
        f"/compare?a={name}&b={name}",
        "/trend",
        "/no",
    ):
        answer = request(running, path)
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/analyses/nothing", 404, "Analysis &#39;nothing&#39; not found"),
        ("/analyses/..%2f..%2fetc", 404, "Page not found"),
        ("/analyses/a-b", 404, "Analysis &#39;a-b&#39; not found."),
        ("/analyses/nothing/report.html", 404, "nothing"),
        ("/nowhere", 404, "No page at &#39;/nowhere&#39;."),
        ("/?state=odd", 400, "Unknown state &#39;odd&#39;"),
        ("/?order=odd", 400, "Expected one of"),
        ("/?after=odd", 400, "Invalid page token"),
        ("/?before=%CB%9B", 400, "Invalid page token"),
        ("/?after=" + "x" * 9000, 400, "At most 8192 are allowed."),
        ("/?search=" + "x" * 300, 400, "At most 256 are allowed."),
        ("/compare?a=x", 400, "Select exactly two analyses to compare them, not 1"),
        ("/compare", 400, "not 0"),
        ("/compare?mark=x", 400, "not 1"),
        ("/compare?mark=x&mark=y&mark=z", 400, "not 3"),
        ("/compare?mark=x&mark=..", 400, "Select exactly two analyses"),
        ("/?label=family", 400, "Invalid label &#39;family&#39;. Expected key=value."),
        ("/?owner=" + "x" * 300, 400, "At most 256 are allowed."),
        ("/analyses/nothing/delete", 404, "nothing"),
        ("/compare?a=x&b=y", 404, "Analysis &#39;x&#39; not found"),
        ("/compare?a=x&b=../y", 400, "Select exactly two analyses"),
        ("/compare/x/y%20z", 404, "Analysis &#39;y z&#39; not found"),
        ("/compare?a=x&b=y&class=" + "x" * 300, 404, "Analysis &#39;x&#39; not found"),
        ("/trend?group=odd", 400, "Unknown group &#39;odd&#39;"),
        ("/trend?owner=" + "x" * 300, 400, "At most 256 are allowed."),
        ("/trend?dataset=odd", 404, "not found. Expected one of"),
    ],
)
def test_errors_have_a_page_with_their_status(running: Running, path: str, status: int, text: str) -> None:
    answer = request(running, path)

    assert answer.status == status
    assert text in answer.text


def test_a_list_with_an_invalid_filter_keeps_its_fields(running: Running) -> None:
    answer = request(running, "/?search=pred&model=net&label=%3Cb%3E&state=succeeded")

    assert answer.status == 400
    assert '<p class="note" role="alert">Invalid label &#39;&lt;b&gt;&#39;. Expected key=value.</p>' in answer.text
    for name, value in (("search", "pred"), ("model", "net"), ("label", "&lt;b&gt;")):
        assert f'name="{name}" value="{value}"' in answer.text
    assert '<option value="succeeded" selected>' in answer.text
    assert "No analyses match the filters." not in answer.text


def test_hostile_paths_are_escaped(running: Running) -> None:
    answer = request(running, "/" + quote("<script>alert(1)</script>"))

    assert answer.status == 404
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_read_only(running: Running, analysis: pb.Analysis, method: str) -> None:
    assert request(running, f"/{analysis.name}", method).status == 405
    answer = request(running, "/", method)
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]
    assert "Method not permitted" in answer.text


@pytest.mark.parametrize(("path", "allowed"), [("", "GET, HEAD"), ("/delete", "GET, HEAD, POST")])
def test_a_refused_method_names_all_methods_of_the_path(
    running: Running, analysis: pb.Analysis, path: str, allowed: str
) -> None:
    answer = request(running, f"/{analysis.name}{path}", "PUT")

    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_a_head_request_returns_only_headers(running: Running, analysis: pb.Analysis) -> None:
    answer = request(running, f"/{analysis.name}", "HEAD")

    assert answer.status == 200 and answer.body == b""
    assert int(answer.headers["Content-Length"]) > 10_000


def test_the_list_is_read_forwards_and_backwards_while_analyses_are_added(start: Start, demo_csv: bytes) -> None:
    def links(html: str) -> dict[str, str]:
        matches = re.findall(r'<a href="([^"]+)" rel="(prev|next)"', html)
        return {direction: unescape(path) for path, direction in matches}

    def ids(html: str) -> list[str]:
        return re.findall(r'<tr data-id="([^"]+)"', html)

    with start() as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.web.analysis_list.PAGE_SIZE", 2)
        names = [service.client.upload(io.BytesIO(demo_csv), "demo").name.removeprefix("analyses/") for _ in range(5)]
        newest_first = names[::-1]
        first = request(service, "/").text
        assert (ids(first), set(links(first))) == (newest_first[:2], {"next"})
        assert "Analyses 1 to 2 of 5" in first

        service.client.upload(io.BytesIO(demo_csv), "demo")
        second = request(service, links(first)["next"]).text
        assert (ids(second), set(links(second))) == (newest_first[2:4], {"prev", "next"})
        assert "Analyses 4 to 5 of 6" in second
        last = request(service, links(second)["next"]).text
        assert (ids(last), set(links(last))) == (newest_first[4:], {"prev"})

        assert ids(request(service, links(last)["prev"]).text) == newest_first[2:4]
        assert request(service, links(second)["next"] + "&state=failed").status == 400, "other filters"
        service.client.delete(names[0])
        assert "Analyses 1 to 2 of 5" in request(service, links(second)["next"]).text, "nothing is left after it"


def test_an_incomplete_index_is_noted_on_the_page_and_by_the_client(
    running: Running, analysis: pb.Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, calls = "Analyses can be missing", []
    command = ["--server", running.addresses.grpc, "--limit", "3"]
    assert note not in request(running, "/").text
    assert note not in CliRunner().invoke(list_analyses, command).stderr

    monkeypatch.setattr(SqliteIndex, "is_complete", property(lambda _: False))

    assert note in request(running, "/").text
    assert analysis.name in [item.name for item in running.client.list(on_incomplete=lambda: calls.append(1))]
    assert calls
    result = CliRunner().invoke(list_analyses, command)
    assert note in result.stderr
    assert analysis.name.removeprefix("analyses/")[:4] in result.stdout
    document = json.loads(CliRunner().invoke(list_analyses, [*command, "--json"]).stdout)
    assert document["index_incomplete"] is True


def test_a_search_matches_words_of_names(running: Running, client: Client, demo_csv: bytes) -> None:
    result = client.upload(io.BytesIO(demo_csv), "demo", display_name="Odd Duck number 7")

    assert f"/{result.name}" in request(running, "/?search=duck+odd").text
    assert f"/{result.name}" not in request(running, "/?search=duck+even").text


def test_the_list_has_filters_for_model_label_and_owner(start: Start, tmp_path: Path, demo_csv: bytes) -> None:
    tokens = {name: new_token() for name in ("ann", "bob")}
    lines = [line_of(name, Scope.WRITE, token) for name, token in tokens.items()]
    (tmp_path / "tokens").write_text("\n".join(lines))
    with start(tokens=tmp_path / "tokens") as service:
        clients = {name: Client(service.addresses.grpc, token=token) for name, token in tokens.items()}
        for name, client in clients.items():
            client.upload(io.BytesIO(demo_csv), "demo", display_name=f"of {name}", labels={"family": f"net {name}"})
        model = clients["ann"].analyze(MODEL, "demo", display_name="of a model")
        list(clients["ann"].watch(model.name))

        def names(query: str) -> set[str]:
            page = _text(service, f"/?{query}", tokens["ann"])
            return set(re.findall(r">(of [a-z ]+)</a>", page))

        assert names("") == {"of ann", "of bob", "of a model"}
        assert names("owner=bob") == {"of bob"}
        assert names("label=family%3Dnet+ann") == {"of ann"}
        assert names("model=" + quote(MODEL)) == {"of a model"}
        assert names("owner=ann&search=model") == names("search=efficientnet_lite0") == {"of a model"}
        assert names("search=family%3Dnet") == {"of ann", "of bob"}
        identifier = model.name.removeprefix("analyses/")
        assert names("search=" + identifier) == names("search=" + identifier[:12].upper()) == {"of a model"}
        other = "1" if identifier[12] == "0" else "0"
        assert names("search=" + identifier[:12] + other) == set()
        assert names("owner=eve") == set()
        assert "owner: ann" in _text(service, f"/{model.name}", tokens["bob"])


def test_only_callers_who_may_write_get_links_to_upload_and_delete(
    start: Start, tmp_path: Path, demo_csv: bytes
) -> None:
    tokens = {scope: new_token() for scope in (Scope.WRITE, Scope.REVIEW, Scope.READ)}
    (tmp_path / "tokens").write_text("\n".join(line_of(scope.value, scope, token) for scope, token in tokens.items()))
    with start(tokens=tmp_path / "tokens") as service:
        analysis = Client(service.addresses.grpc, token=tokens[Scope.WRITE]).upload(io.BytesIO(demo_csv), "demo").name
        links = {'href="/upload"', f'href="/{analysis}/delete"'}

        for path in ("/", f"/{analysis}"):
            for scope in (Scope.WRITE, Scope.REVIEW, Scope.READ, Scope.WRITE):  # the report is cached
                page = _text(service, path, tokens[scope])
                assert {link for link in links if link in page} == (links if scope is Scope.WRITE else set())


def _text(running: Running, path: str, token: str) -> str:
    return request(running, path, token=token).text


def test_two_selected_analyses_are_compared_the_older_one_first(start: Start, tmp_path: Path) -> None:
    """An analysis that was judged again has an earlier id than an analysis that was created before it."""
    older, newer = "2" * 21, "1" * 21
    archive = FileArchive(open_files(str(tmp_path / "archive")))
    for minutes, analysis_id in enumerate((older, newer)):
        archive.put(make_analysis(analysis_id, minutes), Predictions(np.zeros(3, dtype=np.int16)))

    with start() as running:
        for first, second in ((older, newer), (newer, older)):
            answer = request(running, f"/compare?mark={first}&mark={second}")
            assert (answer.status, answer.headers["Location"]) == (303, f"/compare?a={older}&b={newer}")
        assert request(running, f"/compare/{newer}/{older}").headers["Location"] == f"/compare?a={newer}&b={older}"


def test_a_report_has_thumbnails_only_on_request(running: Running, analysis: pb.Analysis) -> None:
    plain, embedded, invalid = (
        request(running, f"/{analysis.name}/report.html{query}") for query in ("", "?thumbnails=1", "?thumbnails=yes")
    )

    assert (plain.status, embedded.status, invalid.status) == (200, 200, 400)
    assert b"data:image/jpeg" not in plain.body
    assert b"data:image/jpeg" in embedded.body


def test_a_data_set_without_images_has_no_pictures(running: Running, client: Client) -> None:
    rows = "".join(f"ILSVRC2012_val_{number:08}.JPEG,1\n" for number in range(1, 50_001))
    real = client.upload(io.BytesIO(f"file_name,top1\n{rows}".encode()), "imagenet-real")

    image = next(iter(client.verdicts(real.name, most=1))).file_name
    assert request(running, f"/datasets/imagenet-real/thumbnails/{image}").status == 404
    page = request(running, f"/datasets/imagenet-real/images/{image}")
    assert page.status == 200 and "<img" not in page.text
    assert request(running, f"/{real.name}/report.html?thumbnails=1").status == 400


def test_an_open_analysis_has_a_page_but_no_report(start: Start) -> None:
    with start(open_gate=False) as service:
        waiting = service.client.analyze(MODEL, "demo", display_name="waits")
        page = request(service, f"/{waiting.name}")
        assert page.status == 200 and "waits" in page.text and "data-live" in page.text
        assert request(service, f"/{waiting.name}/report.html").status == 409
        assert "data-live" in request(service, "/").text
        service.client.cancel(waiting.name)
        service.gate.set()
        assert "cancelled" in request(service, f"/{waiting.name}").text
        assert "data-live" not in request(service, "/").text.split("<script")[0]


def test_pages_are_counted_by_route(running: Running, analysis: pb.Analysis) -> None:
    request(running, f"/{analysis.name}")
    request(running, "/very/odd")
    metrics = request(running, "/metrics").text

    assert 'errata_http_requests_total{path="/analyses/{id}",status="200"}' in metrics
    assert analysis.name.removeprefix("analyses/") not in metrics
    assert "odd" not in metrics


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.:80"])
def test_a_request_with_a_foreign_host_name_is_rejected(running: Running, host: str) -> None:
    """With DNS rebinding, a foreign page could otherwise read the pages of the service."""
    address, port = running.addresses.http.rsplit(":", 1)
    assert _get(address, port, "/", host) == 421


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("errata.example:8080", 200), ("10.1.2.3:8080", 200), ("[fd00::1]", 200), ("api", 200)],
)
def test_beyond_loopback_a_foreign_host_name_is_rejected_without_tokens(start: Start, host: str, status: int) -> None:
    """docker-compose publishes such a service on loopback, where a browser can be redirected to it."""
    with start(allow_insecure=True, http_address="0.0.0.0:0", public_url="https://errata.example") as running:
        port = running.addresses.http.rsplit(":", 1)[1]
        assert _get("127.0.0.1", port, "/", host) == status


def test_with_tokens_any_host_name_is_accepted(start: Start, tmp_path: Path) -> None:
    """A page under a foreign host name has no token."""
    token = new_token()
    (tmp_path / "tokens").write_text(line_of("me", Scope.READ, token))
    with start(tokens=tmp_path / "tokens") as running:
        address, port = running.addresses.http.rsplit(":", 1)
        assert _get(address, port, "/", "errata.corp.example") == 401
        assert _get(address, port, "/", "errata.corp.example", f"Bearer {token}") == 200


def _get(address: str, port: str, path: str, host: str, authorization: str = "") -> int:
    """Return the status of a request with a Host header."""
    connection = http.client.HTTPConnection(address, int(port), timeout=30)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        if authorization:
            connection.putheader("Authorization", authorization)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_cached_page_is_not_sent_again(running: Running, analysis: pb.Analysis) -> None:
    first = request(running, f"/{analysis.name}")
    condition = {"If-None-Match": first.headers["ETag"]}
    again = send(running.addresses.http, "GET", f"/{analysis.name}", headers=condition)
    assert (again.status, again.body) == (304, b"")


def test_a_deleted_analysis_has_no_page(running: Running, client: Client, demo_csv: bytes) -> None:
    gone = client.upload(io.BytesIO(demo_csv), "demo")
    name = gone.name.removeprefix("analyses/")
    assert request(running, f"/{gone.name}").status == request(running, f"/compare?a={name}&b={name}").status == 200
    client.delete(gone.name)

    assert request(running, f"/{gone.name}").status == request(running, f"/compare?a={name}&b={name}").status == 404


def test_the_list_is_sorted_across_pages(running: Running, client: Client, demo: Bundle) -> None:
    for wrong in (3, 0, 7):
        classes = [*[0] * wrong, *demo.all_targets.tolist()[wrong:]]
        rows = "".join(f"{name},{value}\n" for name, value in zip(demo.judged_names, classes, strict=True))
        client.upload(io.BytesIO(f"file_name,top1\n{rows}".encode()), "demo", display_name=f"ordered {wrong}")

    for order, expected in (("top1_accuracy", "730"), ("top1_accuracy desc", "037"), ("model_failures desc", "730")):
        page = request(running, f"/?search=ordered&order={quote(order)}").text
        assert "".join(re.findall(r">ordered (\d)</a>", page)) == expected
