"""Thumbnails of stand-alone reports: their number, their order, and their total size."""

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from service.analyses import embedded_thumbnails
from service.analyses.embedded_thumbnails import MAX_THUMBNAILS, MAX_TOTAL, SIZE, embed_thumbnails


class FakeThumbnails:
    """Returns pictures of one size, and records the requests."""

    def __init__(self, num_bytes: int = 9, missing: str = "") -> None:
        self._num_bytes = num_bytes
        self._missing = missing
        self.requests: list[tuple[str, str, int]] = []

    def thumbnail(self, dataset: str, name: str, size: int) -> bytes | None:
        self.requests.append((dataset, name, size))
        return None if name == self._missing else name.encode().ljust(self._num_bytes, b".")


def embed(thumbnails: FakeThumbnails, names: list[str]) -> dict[str, str]:
    ports: Any = SimpleNamespace(thumbnails=thumbnails)
    return embed_thumbnails(ports, "demo", names)


def test_thumbnails_are_those_of_the_first_images() -> None:
    thumbnails = FakeThumbnails()
    names = [f"{number}.jpg" for number in range(300)]

    urls = embed(thumbnails, names)

    assert (MAX_THUMBNAILS, SIZE) == (200, 128)
    assert [*urls] == names[:200]
    assert thumbnails.requests == [("demo", name, 128) for name in names[:200]]
    head, content = urls["7.jpg"].split(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(content) == b"7.jpg...."


def test_missing_image_is_left_out() -> None:
    assert [*embed(FakeThumbnails(missing="b"), ["a", "b", "c"])] == ["a", "c"]


def test_repeated_name_is_embedded_once() -> None:
    thumbnails = FakeThumbnails()

    assert [*embed(thumbnails, ["a", "b", "a"])] == ["a", "b"]
    assert len(thumbnails.requests) == 2


@pytest.mark.parametrize("num_bytes", [30_000, 100_000, 4_000_000])
def test_total_size_is_limited(num_bytes: int) -> None:
    urls = embed(FakeThumbnails(num_bytes), [f"{number}" for number in range(300)])

    total = sum(map(len, urls.values()))
    assert MAX_TOTAL == 5_000_000
    assert total <= MAX_TOTAL < total + 4 * num_bytes / 3 + 100


def test_no_image_is_read_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_thumbnails, "MAX_TOTAL", 100)
    thumbnails = FakeThumbnails(30)

    assert [*embed(thumbnails, ["a", "b", "c"])] == ["a"]
    assert [name for _, name, _ in thumbnails.requests] == ["a", "b"]
