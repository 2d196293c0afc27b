"""errata reanalyze --all: the outcome for each analysis, and the numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from errata.cli import lifecycle
from errata.errors import InvalidRequest


def outcome(before: str, after: str = "", created: bool = False, skip_reason: str = "") -> SimpleNamespace:
    return SimpleNamespace(before=before, after=after, created=created, skip_reason=skip_reason)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Replace the connection; return the recorded calls."""
    recorded: list[tuple[str, str]] = []

    def reanalyze_all(dataset: str, evidence: str) -> Iterator[SimpleNamespace]:
        recorded.append((dataset, evidence))
        yield outcome("analyses/a", "analyses/x", created=True)
        yield outcome("analyses/b", "analyses/y")
        yield outcome("analyses/c", skip_reason="The [b]predictions[/] are missing.")

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


@pytest.mark.parametrize("arguments", [[], ["--all"], ["a", "--all", "--dataset", "street"], ["a", "--dataset", "x"]])
def test_an_analysis_and_all_analyses_exclude_each_other(calls: list[tuple[str, str]], arguments: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="Pass either an analysis, or --all with --dataset"):
        CliRunner().invoke(lifecycle.reanalyze, arguments, catch_exceptions=False)

    assert calls == []
