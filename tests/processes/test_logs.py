"""Logs: each line is JSON, request ids connect client and worker, and secrets do not appear."""

import io
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from errata import Client
from errata.errors import InvalidInput, PermissionDenied, TokenUnknown
from errata.tokens import Scope, line_of, new_token

from .cluster import REDIS_PASSWORD, Cluster, cluster, wait_for

MODEL = "demo:efficientnet_lite0"
TOKEN, READER, STRANGER = new_token(), new_token(), new_token()
HOOK_SECRET, REGISTRY_TOKEN = "whsec_aG9vay1zZWNyZXQtb2YtdGhlLXRlc3Q=", "registry-token-of-the-test"
CONTENT = "zebra-crossing-content"  # part of an upload


def lines(running: Cluster) -> list[dict[str, object]]:
    """Return the log lines of all processes; each line must be JSON."""
    return [
        json.loads(line)
        for file in sorted(running.folder.glob("[0-9]*.log"))
        for line in file.read_text().splitlines()
        if line
    ]


@pytest.fixture
def running(data_dir: Path, tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join((line_of("ci", Scope.WRITE, TOKEN), line_of("dash", Scope.READ, READER))))
    registry = {
        "kind": "generic",
        "url": "https://registry.example/results",
        "token": REGISTRY_TOKEN,
        "secrets": [HOOK_SECRET],
        "rules": [{"event": "created", "dataset": "demo"}],
    }
    with cluster(
        data_dir,
        tmp_path,
        seconds=0.01,
        ERRATA_TOKENS=str(tokens),
        ERRATA_LOG_LEVEL="debug",
        ERRATA_REGISTRIES=json.dumps({"prod": registry}),
    ) as result:
        yield result


def test_the_request_id_is_logged_by_the_api_the_worker_and_the_judge(running: Cluster) -> None:
    with Client(running.grpc, TOKEN) as client:
        analysis = client.analyze(MODEL, "demo")
        list(client.watch(analysis.name))
    name = analysis.name.removeprefix("analyses/")
    wait_for(lambda: running.events("analysis judged"), "the analysis is judged")

    (accepted,) = running.events("analysis submitted")
    request = accepted["request"]
    assert accepted["analysis"] == name
    assert (accepted["caller"], accepted["rpc"]) == ("ci", "CreateAnalysis")
    claimed = running.events("shard claimed")
    assert len(claimed) == 4
    for event in (*claimed, *running.events("shard done")):
        assert event["request"] == request
        assert event["analyses"] == [name]
    (judged,) = running.events("analysis judged")
    assert (judged["request"], judged["analysis"]) == (request, name)


def test_an_error_has_the_request_id_of_the_log(running: Cluster) -> None:
    with Client(running.grpc, TOKEN) as client, pytest.raises(InvalidInput) as error:
        client.analyze("nonsense:model", "demo")

    assert error.value.request_id
    refused = [event for event in running.events("call refused") if event["request"] == error.value.request_id]
    assert [event["reason"] for event in refused] == [error.value.reason]


def test_changes_are_logged_with_the_caller(running: Cluster, demo_csv: bytes) -> None:
    with Client(running.grpc, TOKEN) as client:
        analysis = client.upload(io.BytesIO(demo_csv), dataset="demo")
        again = client.reanalyze(analysis.name, analysis.evidence)
        client.delete(analysis.name)
        model = client.analyze(MODEL, "demo", labels={"run": "first"})
        list(client.watch(model.name))
        cached = client.analyze(MODEL, "demo", labels={"run": "second"})

    for event, name in (
        ("analysis reanalyzed", again.name),
        ("analysis deleted", analysis.name),
        ("archived predictions reused", cached.name),
    ):
        (fields,) = running.events(event)
        assert (fields["analysis"], fields["caller"]) == (name.removeprefix("analyses/"), "ci"), event
        assert fields["request"]
    assert again.owner == cached.owner == "ci"


def test_rejected_calls_are_logged_with_the_token_name_and_the_address(running: Cluster) -> None:
    with Client(running.grpc, READER) as client, pytest.raises(PermissionDenied):
        client.delete("analyses/x")
    request = urllib.request.Request(f"http://{running.http}/", headers={"Authorization": f"Bearer {STRANGER}"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    refused.value.close()
    wait_for(lambda: len(running.events("call refused")) == 2, "both refusals are logged")

    by_reason = {event["reason"]: event for event in running.events("call refused")}
    assert "'dash'" in str(by_reason["SCOPE_MISSING"]["why"])
    for event in by_reason.values():
        assert "127.0.0.1" in str(event["peer"])


def test_logs_contain_no_secret_token_or_upload(running: Cluster, demo_csv: bytes) -> None:
    with Client(running.grpc, TOKEN) as client:
        client.upload(io.BytesIO(demo_csv), dataset="demo", labels={"note": "an upload that succeeds"})
        for content in (
            f"file_name,predicted_class\n{CONTENT},1\n",
            f"file_name,predicted_class\nimagenet_01_50.jpg,{CONTENT}\n",
            f'{{"file_name": "{CONTENT}", "predicted_class": }}',
            f"\x93NUMPY{CONTENT}",
            CONTENT,
        ):
            with pytest.raises(InvalidInput):
                client.upload(io.BytesIO(content.encode()), dataset="demo")
        with pytest.raises(InvalidInput):
            client.analyze("hf-hub:" + "x" * 10, "demo", gate_policy=f"version: 1\nname: {CONTENT}\n")
    with Client(running.grpc, STRANGER) as client, pytest.raises(TokenUnknown):
        client.error_types()
    for authorization in (f"Bearer {TOKEN}", f"Bearer {STRANGER}"):
        request = urllib.request.Request(f"http://{running.http}/", headers={"Authorization": authorization})
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            error.close()
    hook = urllib.request.Request(
        f"http://{running.http}/v1/hooks/generic/prod",
        data=json.dumps({"type": CONTENT}).encode(),
        headers={"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": HOOK_SECRET},
        method="POST",
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(hook)
    refused.value.close()
    wait_for(lambda: len(running.events("call refused")) >= 6, "the refusals are logged")

    running.redis.stop()
    wait_for(lambda: running.events("periodic task failed"), "the missing Redis is logged")

    text = "\n".join(file.read_text() for file in running.folder.glob("[0-9]*.log"))
    assert lines(running)
    for secret in (TOKEN, STRANGER, HOOK_SECRET, HOOK_SECRET.removeprefix("whsec_"), REGISTRY_TOKEN, CONTENT):
        assert secret not in text
    assert REDIS_PASSWORD not in text
    for line in demo_csv.decode().splitlines()[1:]:
        assert line.partition(",")[0] not in text, "the log contains a row of an upload"
