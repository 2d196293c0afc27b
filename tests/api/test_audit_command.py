"""errata audit, errata list, and errata token: their output, filters, and permissions."""

import io
import json
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from errata import Client
from errata.cli.main import errata
from errata.errors import AnalysisNotFound, InvalidRequest, PermissionDenied
from errata.tokens import Quota, Scope, line_of, new_token
from running_service import Running, Start

from service.authorization import parse_tokens

TOKENS = {"ci": new_token(), "root": new_token()}


@pytest.fixture
def running(start: Start, tmp_path: Path) -> Iterator[Running]:
    scopes = {"ci": Scope.WRITE, "root": Scope.ADMIN}
    (tmp_path / "tokens").write_text("\n".join(line_of(name, scopes[name], token) for name, token in TOKENS.items()))
    with start(tokens=tmp_path / "tokens") as service:
        yield service


def run(running: Running, name: str, *arguments: str) -> Result:
    variables = {"ERRATA_SERVER": running.addresses.grpc, "ERRATA_TOKEN": TOKENS[name], "COLUMNS": "200"}
    return CliRunner().invoke(errata, [*arguments], env=variables)


def test_the_audit_log_is_shown_filtered_and_exported(running: Running, demo_csv: bytes) -> None:
    with Client(running.addresses.grpc, TOKENS["ci"]) as client:
        other, deleted = (client.upload(io.BytesIO(demo_csv), "demo", display_name=name).name for name in ("a", "b"))
        client.delete(deleted)

    exported = [json.loads(line) for line in run(running, "root", "audit", "--json").stdout.splitlines()]
    assert [(event["actor"], event["action"], event["analysis"]) for event in exported] == [
        ("ci", "ACTION_DELETE", deleted),
        ("ci", "ACTION_CREATE", deleted),
        ("ci", "ACTION_CREATE", other),
    ]
    assert exported[0]["details"]["title"] == "b"

    def count(*options: str) -> int:
        return len(run(running, "root", "audit", "--json", *options).stdout.splitlines())

    assert count("--action", "delete") == 1
    assert count("--analysis", other) == count("--analysis", other.removeprefix("analyses/")) == 1
    assert count("--analysis", other[:-1]) == count("--analysis", "a") == 1
    assert count("--analysis", deleted) == 2
    unknown = run(running, "root", "audit", "--analysis", "0zzzzzzz")
    assert isinstance(unknown.exception, AnalysisNotFound)
    assert unknown.exception.message.endswith("'errata audit --action delete' shows the IDs of deleted ones.")
    assert count("--actor", "ci", "--dataset", "demo") == 3
    assert count("--actor", "root") == count("--since", "2999-01-01") == count("--until", "2000-01-01") == 0
    assert count("--limit", "2") == 2
    table = run(running, "root", "audit").stdout
    assert "delete" in table and other.removeprefix("analyses/") in table


def test_deleted_analyses_are_found_by_the_start_of_their_ids(running: Running, demo_csv: bytes) -> None:
    with Client(running.addresses.grpc, TOKENS["ci"]) as client:
        names = [client.upload(io.BytesIO(demo_csv), "demo").name for _ in range(2)]
        for name in names:
            client.delete(name)
    first, second = (name.removeprefix("analyses/") for name in names)

    for start in (first[:-1], names[0][:-1]):
        events = [
            json.loads(line)
            for line in run(running, "root", "audit", "--json", "--analysis", start).stdout.splitlines()
        ]
        assert [(event["action"], event["analysis"]) for event in events] == [
            ("ACTION_DELETE", names[0]),
            ("ACTION_CREATE", names[0]),
        ]
    several = run(running, "root", "audit", "--analysis", first[0])
    assert isinstance(several.exception, InvalidRequest)
    assert several.exception.message.startswith(f"Several deleted analyses match {first[0]!r}. Use the ID of one")
    assert first in several.exception.message and second in several.exception.message


def test_the_audit_log_needs_the_scope_admin(running: Running) -> None:
    result = run(running, "ci", "audit")

    assert isinstance(result.exception, PermissionDenied)
    assert "scope admin" in result.exception.message


def test_analyses_are_listed_by_owner(running: Running, demo_csv: bytes) -> None:
    with Client(running.addresses.grpc, TOKENS["ci"]) as client:
        name = client.upload(io.BytesIO(demo_csv), "demo").name

    listed = json.loads(run(running, "root", "list", "--owner", "ci", "--json").stdout)["analyses"]
    assert [(analysis["name"], analysis["owner"]) for analysis in listed] == [(name, "ci")]
    assert json.loads(run(running, "root", "list", "--owner", "c", "--json").stdout)["analyses"] == []
    assert "Owner: ci" in run(running, "root", "show", name).output


def test_analyses_are_listed_by_evidence_request_id_and_time(running: Running, demo_csv: bytes) -> None:
    with Client(running.addresses.grpc, TOKENS["ci"]) as client:
        first, second = (client.upload(io.BytesIO(demo_csv), "demo", request_id=f"list-{n}") for n in (1, 2))
        assert [item.name for item in client.list(created_after=second.create_time.ToDatetime(UTC))] == [second.name]
    created = second.create_time.ToJsonString()
    digest = first.evidence.rpartition("/")[2]

    def listed(*options: str) -> list[str]:
        analyses = json.loads(run(running, "root", "list", "--json", *options).stdout)["analyses"]
        return [analysis["name"] for analysis in analyses if analysis["name"] in (first.name, second.name)]

    for evidence in (digest, digest[:8], first.evidence):
        assert listed("--evidence", evidence) == [second.name, first.name]
    assert listed("--evidence", "0" * 64) == []
    assert listed("--request-id", "list-1") == [first.name]
    assert listed("--created-after", created) == [second.name]
    assert listed("--created-before", created) == [first.name]
    assert listed("--created-before", "2000-01-01") == []
    refused = run(running, "root", "list", "--evidence", "latest")
    assert isinstance(refused.exception, InvalidRequest)
    assert refused.exception.message == "Invalid evidence 'latest'. Use a digest or its first digits."


def test_the_token_command_writes_the_limits() -> None:
    result = CliRunner().invoke(errata, ["token", "ci", "--scope", "write", "--requests", "600", "--open", "20"])

    (token,) = parse_tokens(result.stderr)
    assert (token.name, token.scope, token.quota) == ("ci", Scope.WRITE, Quota(600, 20))
    plain = CliRunner().invoke(errata, ["token", "ci"])
    assert parse_tokens(plain.stderr)[0].quota == Quota()
