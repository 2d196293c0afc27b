"""The audit log of a service whose processes are killed: no acknowledged change is missing, and no event is damaged."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client
from errata.errors import ErrataError
from errata.tokens import Scope, line_of, new_token

from service.archive.files import open_files
from service.archive.record_log import RecordLog
from service.domain import AuditAction, AuditEvent

from .cluster import Cluster, cluster

TOKENS = {"ci": new_token(), "root": new_token()}


@pytest.fixture
def service(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    scopes = {"ci": Scope.WRITE, "root": Scope.ADMIN}
    file = tmp_path / "tokens"
    file.write_text("\n".join(line_of(name, scopes[name], token) for name, token in TOKENS.items()))
    with cluster(data_dir, tmp_path, workers=0, ERRATA_TOKENS=str(file)) as running:
        yield running


def test_a_killed_service_loses_no_event_of_an_acknowledged_change(
    service: Cluster, tmp_path: Path, demo_csv: bytes
) -> None:
    predictions = tmp_path / "predictions.csv"
    predictions.write_bytes(demo_csv)
    created: list[str] = []
    deleted: list[str] = []

    def change() -> None:
        with Client(service.grpc, TOKENS["ci"], attempts=1) as client, contextlib.suppress(ErrataError):
            while True:
                created.append(client.upload(predictions, "demo").name.removeprefix("analyses/"))
                if len(created) % 2:
                    client.delete(created[-1])
                    deleted.append(created[-1])

    for number in range(3):
        target = len(deleted) + 2
        thread = threading.Thread(target=change)
        thread.start()
        while len(deleted) < target and thread.is_alive():
            thread.join(0.02)
        assert service.api is not None
        service.api.kill()
        service.api.wait()
        thread.join()
        assert len(deleted) >= target, f"round {number}"
        service.start_api()

    with Client(service.grpc, TOKENS["root"]) as client:
        events = [*client.audit_events()]
        present = {analysis.name.removeprefix("analyses/") for analysis in client.list()}
    log = RecordLog(open_files(str(tmp_path / "archive" / "audit-analyses")), AuditEvent).all()
    by_action = {action: {event.analysis for event in log if event.action is action} for action in AuditAction}
    assert len(events) == len(log) == len([*(tmp_path / "archive" / "audit-analyses").glob("*.json")])
    assert set(created) <= by_action[AuditAction.CREATE]
    assert set(deleted) <= by_action[AuditAction.DELETE]
    # No analysis has disappeared without an event, not even in a call that was not acknowledged.
    assert by_action[AuditAction.CREATE] - present <= by_action[AuditAction.DELETE]
    assert {event.actor for event in log} == {"ci"}
