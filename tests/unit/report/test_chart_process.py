"""Pictures drawn in a process of their own are those drawn here, whatever happens to that process."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.report.chart_process import FIRST, OwnProcess, draw_here

pytestmark = pytest.mark.processes


def spec(number: int) -> dict[str, object]:
    return FIRST | {"data": {"values": [{"x": number}, {"x": -number}]}, "title": f"line\nbreak ü {number}"}


@pytest.fixture
def own() -> Iterator[OwnProcess]:
    pen = OwnProcess()
    pen.start()
    yield pen
    pen.stop()


def test_both_draw_the_same(own: OwnProcess) -> None:
    for number in range(3):
        assert own.draw(spec(number)) == draw_here(spec(number))


def test_threads_get_their_own_pictures(own: OwnProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(lambda number: own.draw(spec(number)), range(24)))

    assert result == [draw_here(spec(number)) for number in range(24)]


def test_a_process_that_is_killed_is_replaced_and_nobody_waits_for_a_picture_in_vain(own: OwnProcess) -> None:
    own.draw(spec(1))
    first = own._process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    assert own.draw(spec(2)) == draw_here(spec(2))
    assert own._process is not None
    assert own._process.pid != first.pid
    assert own.draw(spec(3)) == draw_here(spec(3))


def test_what_cant_be_drawn_is_an_error_and_the_next_picture_is_drawn(own: OwnProcess) -> None:
    with pytest.raises(ValueError, match=r"."):
        own.draw({"mark": "nonsense", "encoding": 5})

    assert own.draw(spec(1)) == draw_here(spec(1))


def test_the_process_knows_no_setting(own: OwnProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_REDIS_URL", "redis://:secret@127.0.0.1:6379")
    own.stop()
    own.start()
    assert own._process is not None

    with open(f"/proc/{own._process.pid}/environ", "rb") as file:
        assert b"ERRATA_" not in file.read()


def test_without_a_process_pictures_are_drawn_here() -> None:
    pen = OwnProcess()

    assert pen.draw(spec(1)) == draw_here(spec(1))
    pen.stop()
