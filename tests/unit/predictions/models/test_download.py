"""The size of a file before its download, and the errors of failed downloads."""

import errno
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from errata.errors import Unavailable

from service.predictions.models.download import download_errors, url_file_size


class Sizes(BaseHTTPRequestHandler):
    """Sends the size of one file, no size of another, and 404 for a third."""

    def do_HEAD(self) -> None:
        self.send_response(404 if self.path == "/nowhere.pth" else 200)
        if self.path == "/sized.pth":
            self.send_header("Content-Length", "123456")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "_opener", None)  # an earlier test can have set another one
    monkeypatch.setattr("torch.hub._hub_dir", None)
    server = HTTPServer(("127.0.0.1", 0), Sizes)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_size_is_that_of_the_response(address: str) -> None:
    assert url_file_size(f"{address}/sized.pth") == 123_456


@pytest.mark.parametrize("name", ["untold.pth", "nowhere.pth"])
def test_a_size_that_the_server_does_not_send_is_unknown(address: str, name: str) -> None:
    assert url_file_size(f"{address}/{name}") is None


def test_the_size_of_a_cached_file_is_not_requested(address: str, tmp_path: Path) -> None:
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "sized.pth").touch()

    assert url_file_size(f"{address}/sized.pth") is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/sized.pth", "file:///etc/passwd", ""])
def test_the_size_at_an_unreachable_url_is_unknown_and_no_file_is_opened(address: str, url: str) -> None:
    assert url_file_size(url) is None


def test_a_full_disk_raises_unavailable() -> None:
    with (
        pytest.raises(Unavailable, match="m: The download of the weights failed: no space") as caught,
        download_errors("m"),
    ):
        raise OSError("no space left on device")
    assert caught.value.retry_after == 30.0


def test_a_full_disk_is_named_with_its_remedy() -> None:
    with (
        pytest.raises(Unavailable, match="disk of the worker is full"),
        download_errors("m"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
