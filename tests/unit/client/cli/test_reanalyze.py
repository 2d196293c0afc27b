"""errata reanalyze --all: the outcome for each analysis, and the numbers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from errata import pb
from errata.cli import lifecycle
from errata.errors import InvalidRequest


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Replace the connection; return the recorded calls."""
    recorded: list[tuple[str, str]] = []

    def reanalyze_all(dataset: str, evidence: str) -> Iterator[pb.ReanalyzeAnalysesResponse]:
        recorded.append((dataset, evidence))
        yield pb.ReanalyzeAnalysesResponse(before="analyses/a", after="analyses/x", created=True)
        yield pb.ReanalyzeAnalysesResponse(before="analyses/b", after="analyses/y")
        yield pb.ReanalyzeAnalysesResponse(before="analyses/c", skip_reason="The [b]predictions[/] are missing.")

    @contextmanager
    def connect(target: object, evidence: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(client=SimpleNamespace(reanalyze_all=reanalyze_all), evidence=evidence)

    monkeypatch.setattr(lifecycle, "connect", connect)
    return recorded


def test_the_outcome_of_each_analysis_is_shown(calls: list[tuple[str, str]]) -> None:
    result = CliRunner().invoke(lifecycle.reanalyze, ["--all", "--dataset", "street", "--evidence", "3f2a90"])

    assert result.exit_code == 0
    assert calls == [("street", "3f2a90")]
    assert "analyses/a → analyses/x" in result.output
    assert "Skipped analyses/c: The [b]predictions[/] are missing." in result.output
    assert "1 analyses created, 1 existed, 1 skipped" in result.output


def test_json_has_one_line_per_analysis(calls: list[tuple[str, str]]) -> None:
    result = CliRunner().invoke(lifecycle.reanalyze, ["--all", "--dataset", "street", "--json"])

    assert result.exit_code == 0
    assert [json.loads(line)["before"] for line in result.stdout.splitlines()] == [
        "analyses/a",
        "analyses/b",
        "analyses/c",
    ]


@pytest.mark.parametrize("arguments", [[], ["--all"], ["a", "--all", "--dataset", "street"], ["a", "--dataset", "x"]])
def test_an_analysis_and_all_analyses_exclude_each_other(calls: list[tuple[str, str]], arguments: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="Pass either an analysis, or --all with --dataset"):
        CliRunner().invoke(lifecycle.reanalyze, arguments, catch_exceptions=False)

    assert calls == []
