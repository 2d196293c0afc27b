"""Upload and deletion by the forms of the pages, over HTTP."""

import http.client
import io
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from errata import Client
from errata.errors import AnalysisNotFound, InvalidUpload, TooBusy
from errata.tokens import Scope, line_of, new_token
from http_answer import Answer, send
from running_service import MODEL, Running, Start

from service.analyses import upload as use_case
from service.predictions.sandbox.pool import ParserPool
from service.web import upload_page

BOUNDARY = "----WebKitFormBoundaryx"
UPLOAD_TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
CROSS_SITE = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}


@dataclass
class BegunUpload:
    """An upload whose last byte has not been sent."""

    connection: http.client.HTTPConnection
    last_byte: bytes

    def end(self) -> Answer:
        """Send the last byte."""
        self.connection.send(self.last_byte)
        return self.answer()

    def answer(self) -> Answer:
        """Wait for the response."""
        with closing(self.connection):
            return Answer.of(self.connection.getresponse())


class FormClient:
    """A browser without scripts: it keeps the cookie and the token of the form."""

    def __init__(self, running: Running, authorization: str = "") -> None:
        self.address = running.addresses.http
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)
        self.headers = {"Authorization": authorization} if authorization else {}
        self.token = ""

    def get(self, path: str) -> Answer:
        answer = self.send("GET", path)
        if cookie := answer.headers["Set-Cookie"]:
            self.headers["Cookie"] = cookie.partition(";")[0]
        self.token = "".join(re.findall(r'name="form_token" value="([^"]+)"', answer.text))
        return answer

    def post(self, path: str, headers: dict[str, str] = SAME_ORIGIN, **fields: str) -> Answer:
        body = "&".join(f"{name}={value}" for name, value in ({"form_token": self.token} | fields).items())
        return self.send("POST", path, body.encode(), headers | {"Content-Type": "application/x-www-form-urlencoded"})

    def upload(
        self,
        content: bytes,
        file_name: str = "net.csv",
        headers: dict[str, str] = SAME_ORIGIN,
        path: str = "/upload",
        **fields: str,
    ) -> Answer:
        return self.send("POST", path, self.upload_body(content, file_name, **fields), headers | UPLOAD_TYPE)

    def upload_body(self, content: bytes, file_name: str = "net.csv", **fields: str) -> bytes:
        values = {"form_token": self.token, "dataset": "demo"} | fields
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in values.items()
        ]
        file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
        return ("".join(parts) + file).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()

    def begin_upload(self, content: bytes, **fields: str) -> "BegunUpload":
        """Send an upload except for its last byte."""
        body = self.upload_body(content, **fields)
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.putrequest("POST", "/upload")
        for name, value in (self.headers | SAME_ORIGIN | UPLOAD_TYPE | {"Content-Length": str(len(body))}).items():
            connection.putheader(name, value)
        connection.endheaders(body[:-1])
        return BegunUpload(connection, body[-1:])

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        return send(self.address, method, path, body, self.headers | (headers or {}))


def _shown_text(answer: Answer) -> str:
    return unescape(answer.text).replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def browser(running: Running) -> FormClient:
    browser = FormClient(running)
    browser.get("/upload")
    assert browser.token and browser.headers["Cookie"] == f"errata_form={browser.token}"
    return browser


# upload


def test_an_uploaded_file_becomes_an_analysis(browser: FormClient, client: Client, demo_csv: bytes) -> None:
    answer = browser.upload(demo_csv, name="my net", labels="family=cnn\r\n size = big \r\n")

    assert answer.status == 303
    analysis = client.get(answer.analysis)
    assert (analysis.display_name, dict(analysis.labels)) == ("my net", {"family": "cnn", "size": "big"})
    same = client.upload(io.BytesIO(demo_csv), "demo", display_name="my net")
    assert analysis.predictions_digest == same.predictions_digest
    assert analysis.summary == same.summary


def test_a_form_that_is_sent_twice_is_one_analysis_and_each_form_has_its_own(
    browser: FormClient, client: Client, demo_csv: bytes
) -> None:
    ids = [re.findall(r'name="request_id" value="([^"]+)"', browser.get("/upload").text) for _ in range(2)]
    ((first,), (second,)) = ids

    name = browser.upload(demo_csv, request_id=first).analysis
    assert browser.upload(demo_csv, request_id=first).analysis == name
    assert browser.upload(demo_csv, request_id=second).analysis != name
    # A reader who goes back to a form can send another file with it.
    other = browser.upload(demo_csv, name="other", request_id=first)
    assert client.get(other.analysis).display_name == "other"


def test_a_refused_form_keeps_its_request_id(browser: FormClient) -> None:
    answer = browser.upload(b"no predictions", request_id="<r>")

    assert answer.status == 400
    assert 'name="request_id" value="&lt;r&gt;"' in answer.text
    assert browser.upload(b"x", request_id="hook:1").status == 400  # only registries use this prefix


@pytest.mark.parametrize(
    ("file_name", "title"),
    [
        ("net.csv", "net.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\files\\net.csv", "net.csv"),
        ("<img src=x onerror=alert(1)>.csv", "<img src=x onerror=alert(1)>.csv"),
        ("x" * 300 + ".csv", "x" * 256),
        ("a\u202eb\u0007.csv", "ab.csv"),
    ],
)
def test_without_a_name_the_analysis_is_named_after_its_file(
    browser: FormClient, client: Client, demo_csv: bytes, file_name: str, title: str
) -> None:
    answer = browser.upload(demo_csv, file_name)

    assert client.get(answer.analysis).display_name == title
    assert "<img src=x" not in browser.get("/?order=create_time+desc").text


def test_a_bad_file_has_the_messages_of_the_api_with_lines(
    browser: FormClient, client: Client, demo_csv: bytes
) -> None:
    rows = demo_csv.splitlines(keepends=True)
    bad = b"".join([rows[0], b"only_a_name.jpg\n", rows[1].strip() + b"x\n", *rows[2:]])
    with pytest.raises(InvalidUpload) as error:
        client.upload(io.BytesIO(bad), "demo")
    assert error.value.violations

    answer = browser.upload(bad, name="<b>bold</b>", labels="a=b")

    assert answer.status == 400
    text = _shown_text(answer)
    assert error.value.message in text and "Line " in text
    for violation in error.value.violations:
        assert violation.description in text
        assert f"Line {violation.line}: " in text
    assert 'value="&lt;b&gt;bold&lt;/b&gt;"' in answer.text, "the form keeps the fields"
    assert "<b>bold" not in answer.text and "a=b</textarea>" in answer.text


def test_a_partial_file_needs_the_minimum_coverage(browser: FormClient, client: Client, demo_csv: bytes) -> None:
    half = b"".join(demo_csv.splitlines(keepends=True)[:11])

    refused = browser.upload(half, min_coverage="0.99")
    accepted = browser.upload(half, min_coverage="0.5")

    assert refused.status == 400
    assert "At least 99 % is required" in _shown_text(refused)
    assert 'name="min_coverage" min="0" max="1" step="any" value="0.99"' in refused.text
    assert client.get(accepted.analysis).summary.num_predicted == 10


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"dataset": "nothing"}, 404, "nothing"),
        ({"dataset": ""}, 400, "The data set is missing"),
        ({"labels": "family"}, 400, "Invalid label 'family'"),
        ({"row_order": "odd"}, 400, "Unknown row order 'odd'"),
        ({"row_order": "file-name"}, 400, "row order"),
        ({"name": "x" * 257}, 400, "257 characters"),
        ({"min_coverage": "99 %"}, 400, "Invalid minimum coverage '99 %'"),
        ({"min_coverage": "99"}, 400, "Invalid minimum coverage 99"),
        ({"min_coverage": "nan"}, 400, "Invalid minimum coverage nan"),
    ],
)
def test_invalid_fields_have_a_message(
    browser: FormClient, demo_csv: bytes, fields: dict[str, str], status: int, message: str
) -> None:
    answer = browser.upload(demo_csv, **fields)

    assert answer.status == status
    assert message in _shown_text(answer)
    assert "<details open>" in answer.text, "the message can name a field of the other options"


def test_an_upload_from_another_site_is_refused_before_it_is_read(browser: FormClient, demo_csv: bytes) -> None:
    for headers in (CROSS_SITE, {}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        answer = browser.upload(demo_csv, headers=headers)
        assert answer.status == 403 and "another site" in answer.text
    assert browser.upload(demo_csv, headers={"Origin": f"http://{browser.host}:{browser.port}"}).status == 303


def test_an_upload_without_the_token_is_refused(browser: FormClient, demo_csv: bytes) -> None:
    assert browser.upload(demo_csv, form_token="").status == 403
    assert browser.upload(demo_csv, form_token="t" * 43).status == 403
    browser.headers.pop("Cookie")
    assert browser.upload(demo_csv).status == 403


def test_an_upload_is_bounded(start: Start, demo_csv: bytes) -> None:
    with start(max_upload_bytes=2000) as running:
        browser = FormClient(running)
        page = browser.get("/upload").text
        assert 'data-max-bytes="2000"' in page
        answer = browser.upload(demo_csv + bytes(3000))
        assert answer.status == 413 and "at most 2000 bytes" in answer.text

        connection = socket.create_connection((browser.host, browser.port), timeout=10)
        with connection:
            connection.sendall(
                f"POST /upload HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: {10**12}\r\n"
                f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 413"), "the body is not awaited"


def test_uploads_of_browsers_and_of_the_api_share_their_slots(
    start: Start, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(max_uploads=1) as running:
        browser = FormClient(running)
        browser.get("/upload")
        with held_upload(browser):
            answer = browser.upload(demo_csv)
            assert answer.status == 503 and answer.headers["Retry-After"] == "2"
            client = Client(running.addresses.grpc, attempts=1)
            with pytest.raises(TooBusy, match="Too many uploads"):
                client.upload(io.BytesIO(demo_csv), "demo")
        deadline = time.monotonic() + 10
        while browser.upload(demo_csv).status != 303:
            assert time.monotonic() < deadline, "a closed connection still occupies its slot"


class held_upload:  # noqa: N801 - a context manager
    """An upload that has sent only its head."""

    def __init__(self, browser: FormClient) -> None:
        self.browser = browser

    def __enter__(self) -> None:
        self.connection = socket.create_connection((self.browser.host, self.browser.port), timeout=10)
        self.connection.sendall(
            f"POST /upload HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 1000\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert self.connection.recv(100).startswith(b"HTTP/1.1 100"), "the service awaits the body"

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def test_a_slow_upload_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.paced_stream.MAX_WAIT_SECONDS", 0.3)
    with start() as running:
        browser = FormClient(running)
        with socket.create_connection((browser.host, browser.port), timeout=10) as connection:
            connection.sendall(
                f"POST /upload HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 1000\r\n"
                f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n--".encode()
            )
            content = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert content.startswith(b"HTTP/1.1 400") and b"Upload too slow" in content


def test_after_an_error_the_rest_of_the_body_is_read(
    browser: FormClient, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_page, "PIECE", 1000)

    answer = browser.upload(demo_csv + bytes(3 << 20), form_token="wrong")

    assert answer.status == 403 and "has expired" in answer.text


def test_an_unexpected_error_shows_no_details(
    browser: FormClient, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret path /etc")

    monkeypatch.setattr(use_case, "upload", fail)

    answer = browser.upload(demo_csv)

    assert answer.status == 500 and "secret" not in answer.text


# shutdown


def npz(demo_csv: bytes) -> bytes:
    """Return predictions as an npz file, which a separate process parses."""
    file = io.BytesIO()
    np.savez(file, top1=[int(line.rpartition(",")[2]) for line in demo_csv.decode().splitlines()[1:]])
    return file.getvalue()


def test_an_open_upload_is_completed_before_the_service_stops(
    start: Start, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_stopped_parsers = threading.Event()
    stop_parsers = ParserPool.stop

    def stop(pool: ParserPool) -> None:
        has_stopped_parsers.set()
        stop_parsers(pool)

    monkeypatch.setattr(ParserPool, "stop", stop)
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        running = stack.enter_context(start(grace_seconds=30))
        browser = FormClient(running)
        browser.get("/upload")
        upload = browser.begin_upload(npz(demo_csv), row_order="file-name")
        browser.get("/livez")

        shutdown = thread.submit(stack.close)
        while browser.get("/readyz").status == 200:
            pass
        refused = browser.upload(demo_csv)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
        assert "The service is shutting down. Send the upload again." in refused.text
        assert browser.get("/livez").status == 200
        assert not has_stopped_parsers.wait(0.5)

        assert upload.end().status == 303
        shutdown.result(30)
        assert has_stopped_parsers.is_set()


@pytest.mark.parametrize("is_sent", [False, True], ids=["receiving", "judging"])
def test_an_upload_that_is_open_at_the_end_of_the_grace_period_can_be_sent_again(
    start: Start, demo_csv: bytes, monkeypatch: pytest.MonkeyPatch, is_sent: bool
) -> None:
    begun, end = threading.Event(), threading.Event()

    def judge(*_: object) -> None:
        begun.set()
        end.wait(60)

    monkeypatch.setattr(use_case, "upload", judge)
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        browser = FormClient(stack.enter_context(start()))
        browser.get("/upload")
        upload = browser.begin_upload(demo_csv)
        if is_sent:
            upload.connection.send(upload.last_byte)
            assert begun.wait(30)
        browser.get("/livez")
        shutdown = thread.submit(stack.close)
        answer = upload.answer()
        end.set()
        shutdown.result(30)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "The service is shutting down. Send the upload again." in answer.text


# tokens


@pytest.fixture
def token_service(start: Start, tmp_path: Path) -> Iterator[tuple[Running, str, str]]:
    reader, writer = new_token(), new_token()
    lines = [line_of("reader", Scope.READ, reader), line_of("writer", Scope.WRITE, writer)]
    (tmp_path / "tokens").write_text("\n".join(lines))
    with start(tokens=tmp_path / "tokens") as running:
        yield running, f"Bearer {reader}", f"Bearer {writer}"


def test_forms_need_the_scope_write(token_service: tuple[Running, str, str], demo_csv: bytes) -> None:
    running, reader, writer = token_service
    browser = FormClient(running, writer)
    browser.get("/upload")
    name = browser.upload(demo_csv).analysis
    token, cookie = browser.token, browser.headers["Cookie"]

    other = FormClient(running, reader)
    other.token, other.headers["Cookie"] = token, cookie
    assert other.get("/upload").status == other.upload(demo_csv).status == 403
    assert other.get(f"/{name}/delete").status == other.post(f"/{name}/delete").status == 403
    assert "owner: writer" in browser.get(f"/{name}").text
    browser.get(f"/{name}/delete")
    assert browser.post(f"/{name}/delete").status == 303


# deletion


def test_a_deletion_is_confirmed_first(browser: FormClient, client: Client, demo_csv: bytes) -> None:
    name = browser.upload(demo_csv, name="<i>old</i>").analysis

    page = browser.get(f"/{name}/delete")
    assert page.status == 200 and "&lt;i&gt;old&lt;/i&gt;" in page.text and "<i>old" not in page.text
    assert client.get(name), "opening the page deletes nothing"
    answer = browser.post(f"/{name}/delete")

    assert (answer.status, answer.headers["Location"]) == (303, "/")
    with pytest.raises(AnalysisNotFound):
        client.get(name)
    assert browser.post(f"/{name}/delete").status == browser.get(f"/{name}/delete").status == 404


def test_a_deletion_from_another_site_is_refused(browser: FormClient, client: Client, demo_csv: bytes) -> None:
    name = browser.upload(demo_csv).analysis
    browser.get(f"/{name}/delete")

    assert browser.post(f"/{name}/delete", CROSS_SITE).status == 403
    assert browser.post(f"/{name}/delete", form_token="").status == 403
    assert browser.send("POST", f"/{name}/delete", b"", SAME_ORIGIN).status == 400
    assert client.get(name)


def test_an_open_analysis_is_not_deleted(start: Start) -> None:
    with start(open_gate=False) as running:
        name = running.client.analyze(MODEL, "demo").name
        browser = FormClient(running)
        assert "Cancel it first" in browser.get(f"/{name}/delete").text
        assert browser.token == ""
        browser.get("/upload")
        assert browser.post(f"/{name}/delete").status == 409
        running.gate.set()
