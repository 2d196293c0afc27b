"""errata gate: which responses of the service it waits for, how long, and the order of its files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from errata import pb
from errata.cli import gate, retries
from errata.cli.folder import write_folder
from errata.cli.junit import to_junit
from errata.cli.output import STDOUT
from errata.connection import ConnectionFailed
from errata.errors import ErrataError, InvalidInput, QuotaExceeded, TooBusy, Unavailable
from manual_clock import Clock

NAME = "analyses/01kb4t9z0000000000000"
PENDING, PASS = (pb.GateResult(decision=f"GATE_DECISION_{name}") for name in ("PENDING", "PASS"))


class Service:
    """A service that sends responses, or raises errors, in their order."""

    def __init__(self, *responses: object) -> None:
        self._responses = iter(responses)

    def gate(self, *_: object, **__: object) -> Any:
        response = next(self._responses)
        if isinstance(response, ErrataError):
            raise response
        return response

    get = list = classes = export = report = gate


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (gate, retries):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock, sleep=clock.advance))
    return clock


def run_gate(monkeypatch: pytest.MonkeyPatch, service: Service, *arguments: str | Path) -> Result:
    @contextmanager
    def connect(target: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(client=service)

    monkeypatch.setattr(gate, "connect", connect)
    return CliRunner().invoke(gate.gate, [*map(str, arguments)])


@pytest.mark.parametrize(
    ("decision", "code"), [("PASS", 0), ("FAIL", 1), ("ERROR", 4), ("UNDECIDED", 5), ("PENDING", 5), ("UNSPECIFIED", 5)]
)
def test_the_exit_code_is_that_of_the_decision(monkeypatch: pytest.MonkeyPatch, decision: str, code: int) -> None:
    service = Service(pb.GateResult(decision=f"GATE_DECISION_{decision}"))

    assert run_gate(monkeypatch, service, NAME).exit_code == code


def test_a_request_to_a_busy_service_is_repeated_after_the_stated_time(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path
) -> None:
    busy = QuotaExceeded("Token 'ci' has made too many requests.", retry_after=3.0), TooBusy("Too many requests.")
    service = Service(PENDING, *busy, Unavailable("The service is shutting down."), PASS, busy[0], pb.Analysis())
    start = clock()

    result = run_gate(monkeypatch, service, NAME, "--wait", "1m", "--junit", tmp_path / "gate.xml")

    assert result.exit_code == 0, result.exception
    assert "PASS" in result.stdout and (tmp_path / "gate.xml").exists()
    assert clock() - start == 1 + 3 + 1 + 1 + 3


@pytest.mark.parametrize(("content", "stays"), [(to_junit(PASS, "a"), False), (b"<testsuites name='pytest'/>", True)])
def test_a_gate_that_is_not_evaluated_leaves_no_junit_file_of_an_earlier_gate(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path, content: bytes, stays: bool
) -> None:
    (tmp_path / "gate.xml").write_bytes(content)

    result = run_gate(monkeypatch, Service(), NAME, "--junit", tmp_path / "gate.xml", "--policy", tmp_path / "missing")

    assert isinstance(result.exception, InvalidInput)
    assert (tmp_path / "gate.xml").exists() is stays


def test_a_junit_file_can_be_a_device(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    terminal, device = os.openpty()
    try:
        result = run_gate(monkeypatch, Service(PASS, pb.Analysis()), NAME, "--junit", os.ttyname(device))
        assert result.exit_code == 0, result.exception
        assert b"<testsuites" in os.read(terminal, 1000)
    finally:
        os.close(device)
        os.close(terminal)


def test_the_names_of_the_analysis_and_the_baseline_are_looked_up_again_while_the_service_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    down = ConnectionFailed("No service at 127.0.0.1:50051.")
    analyses = [pb.Analysis(name=NAME, display_name="The Model")]
    start = clock()

    service = Service(down, down, analyses, down, analyses, PASS)
    result = run_gate(monkeypatch, service, "The Model", "--baseline", "The Model", "--wait", "8s")

    assert result.exit_code == 0, result.exception
    assert clock() - start == 3


@pytest.mark.parametrize(("wait", "seconds"), [([], 0), (["--wait", "10s"], 8)])
def test_the_error_of_a_busy_service_is_reported_if_the_wait_ends_before_the_next_request(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, wait: list[str], seconds: float
) -> None:
    busy = QuotaExceeded("Token 'ci' has made too many requests.", retry_after=4.0)
    start = clock()

    result = run_gate(monkeypatch, Service(busy, busy, busy), NAME, *wait)

    assert result.exception is busy
    assert clock() - start == seconds


def test_each_request_about_a_finished_analysis_is_repeated_for_a_minute(clock: Clock, tmp_path: Path) -> None:
    busy = QuotaExceeded("Token 'ci' has made too many requests.", retry_after=40.0)
    analysis = pb.Analysis(name=NAME, state=pb.Analysis.STATE_SUCCEEDED)
    service: Any = Service(busy, [], busy, [b"verdicts"], busy, b"report", busy, PASS, busy, busy)
    start = clock()

    write_folder(service, analysis, tmp_path)
    assert gate.evaluate_finished(service, analysis) == PASS
    with pytest.raises(QuotaExceeded):
        gate.evaluate_finished(service, analysis)

    assert (tmp_path / "report.html").read_bytes() == b"report"
    assert clock() - start == 5 * 40


def test_a_file_is_written_before_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr(gate, "write_output", lambda path, _: written.append(path))

    gate.write_gate(PASS, pb.Analysis(), junit=STDOUT, markdown=tmp_path / "gate.md")

    assert written == [tmp_path / "gate.md", STDOUT]
