"""The chart process draws the same charts as this process, and it is replaced if it dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE

import pytest

from service.child_process import child_environment
from service.report.chart_process import _WARM_UP, ChartProcess, draw_in_process

pytestmark = pytest.mark.processes


def spec(number: int) -> dict[str, object]:
    return _WARM_UP | {"data": {"values": [{"x": number}, {"x": -number}]}, "title": f"line\nbreak ü {number}"}


@pytest.fixture
def chart_process() -> Iterator[ChartProcess]:
    process = ChartProcess()
    process.start()
    yield process
    process.stop()


def test_child_process_draws_the_same_chart(chart_process: ChartProcess) -> None:
    for number in range(3):
        assert chart_process.draw(spec(number)) == draw_in_process(spec(number))


def test_concurrent_threads_get_their_own_charts(chart_process: ChartProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(lambda number: chart_process.draw(spec(number)), range(24)))

    assert result == [draw_in_process(spec(number)) for number in range(24)]


def test_killed_chart_process_is_replaced(
    chart_process: ChartProcess,
) -> None:
    chart_process.draw(spec(1))
    first = chart_process._process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    assert chart_process.draw(spec(2)) == draw_in_process(spec(2))
    assert chart_process._process is not None
    assert chart_process._process.pid != first.pid
    assert chart_process.draw(spec(3)) == draw_in_process(spec(3))


def test_chart_process_that_could_not_be_replaced_is_started_again(
    chart_process: ChartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: ChartProcess) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    assert chart_process._process is not None
    chart_process._process.kill()
    chart_process._process.wait()
    with monkeypatch.context() as patch:
        patch.setattr(ChartProcess, "_spawn", fail)
        assert [chart_process.draw(spec(number)) for number in (1, 2)] == [draw_in_process(spec(n)) for n in (1, 2)]

    assert chart_process.draw(spec(3)) == draw_in_process(spec(3))
    assert chart_process._process is not None


def test_invalid_specification_is_an_error_and_the_next_chart_is_drawn(chart_process: ChartProcess) -> None:
    with pytest.raises(ValueError, match=r"."):
        chart_process.draw({"mark": "nonsense", "encoding": 5})

    assert chart_process.draw(spec(1)) == draw_in_process(spec(1))


def test_chart_process_has_no_settings_in_its_environment(
    chart_process: ChartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_REDIS_URL", "redis://:secret@127.0.0.1:6379")
    chart_process.stop()
    chart_process.start()
    assert chart_process._process is not None

    with open(f"/proc/{chart_process._process.pid}/environ", "rb") as file:
        assert b"ERRATA_" not in file.read()


def test_unstarted_chart_process_draws_in_process() -> None:
    process = ChartProcess()

    assert process.draw(spec(1)) == draw_in_process(spec(1))
    process.stop()


def test_a_process_whose_service_was_killed_ends_without_a_traceback() -> None:
    command = [sys.executable, "-m", "service.report.chart_process"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, env=child_environment()) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None

        assert process.communicate("{}\n")[1] == ""
