"""Progress in the log of a pipeline: a line for each stage, and one every few seconds."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from errata import Client, pb
from errata.cli import progress
from errata.cli.exit_codes import UNAVAILABLE
from errata.cli.main import run
from google.protobuf.duration_pb2 import Duration
from rich.console import Console


def queued(position: int = 0, workers: int = 1) -> pb.Analysis:
    return pb.Analysis(state="STATE_QUEUED", progress=pb.Progress(queue_position=position, live_workers=workers))


def running(done: int) -> pb.Analysis:
    state = pb.Progress(done=done, total=50_000, images_per_second=310.4, eta=Duration(seconds=150))
    return pb.Analysis(state="STATE_RUNNING", progress=state)


FINISHED = pb.Analysis(state="STATE_SUCCEEDED")


class Messages:
    """A service that sends messages, each some seconds after the one before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *messages: pb.Analysis, seconds: float) -> None:
        self._messages = messages
        self._seconds = seconds
        self._now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self._now)

    def get(self, name: str) -> pb.Analysis:
        return self._messages[0]

    def watch(self, name: str, timeout: float | None = None) -> Iterator[pb.Analysis]:
        for message in self._messages:
            yield message
            self._now += self._seconds


def follow(client: Any, timeout: float | None = None) -> tuple[pb.Analysis, list[str]]:
    log = io.StringIO()
    latest = progress.follow(client, "analyses/1", Console(file=log, width=200), timeout)
    return latest, log.getvalue().splitlines()


def test_a_log_has_a_line_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Messages(monkeypatch, queued(2), queued(2), queued(1), running(0), running(64), FINISHED, seconds=0.1)

    latest, lines = follow(client)

    assert latest == FINISHED
    assert lines == [
        "queued, position 3",
        "queued, position 2",
        "loading the model",
        "predicting, 64 of 50,000 images",
    ]


def test_a_log_has_a_line_every_few_seconds_within_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Messages(monkeypatch, *(running(done) for done in range(1, 61)), FINISHED, seconds=1)

    _, lines = follow(client)

    assert len(lines) == 12
    assert lines[0] == "predicting, 1 of 50,000 images"
    assert lines[1] == "predicting, 6 of 50,000 images, 310 images/s, about 2 min left"


def test_a_queue_without_workers_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lines = follow(Messages(monkeypatch, queued(workers=0), FINISHED, seconds=0.1))

    assert lines == ["queued, no worker is running"]


def test_after_the_timeout_the_latest_state_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Messages(monkeypatch, *(running(done) for done in range(1, 61)), FINISHED, seconds=1)

    latest, _ = follow(client, timeout=10)

    assert latest == running(11)


def test_wait_fails_without_a_watch_if_there_is_no_service(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Client, "watch", lambda *_: pytest.fail("a watch waits for a service"))

    assert run(["wait", "1m8q5mrpxvxf3ypvsnryh", "--server", "127.0.0.1:1"]) == UNAVAILABLE
    assert "No service at 127.0.0.1:1" in capsys.readouterr().err
