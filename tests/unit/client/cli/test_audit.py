"""errata audit: its limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from errata import pb
from errata.cli import audit


def run(monkeypatch: pytest.MonkeyPatch, num_events: int, *options: str) -> Result:
    """Run the command with a client that has events."""
    events = [pb.AuditEvent(actor=f"token-{number}", dataset="datasets/demo") for number in range(num_events)]

    @contextmanager
    def connect(target: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(client=SimpleNamespace(audit_events=lambda *_, **__: iter(events)))

    monkeypatch.setattr(audit, "connect", connect)
    return CliRunner().invoke(audit.audit, [*options], catch_exceptions=False)


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_text_that_is_no_time_is_refused_with_examples(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, 0, option, "yesterday")

    assert result.exit_code == 2
    assert f"{option}': 'yesterday'. Expected a time such as 2026-01-31 or 2026-01-31T23:59:59." in result.stderr


@pytest.mark.parametrize(
    ("num_events", "options", "num_shown", "hint"),
    [
        (878, [], 50, "Showing 50 events. Use --limit to show more.\n"),
        (50, [], 50, ""),
        (2, ["--limit", "1"], 1, "Showing 1 event. Use --limit to show more.\n"),
        (2, ["--limit", "0"], 0, "Showing 0 events. Use --limit to show more.\n"),
        (0, [], 0, "No events match the conditions.\n"),
        (878, ["--json"], 878, ""),
        (878, ["--json", "--limit", "3"], 3, ""),
        (3, ["--limit", "9" * 30], 3, ""),
        (3, ["--json", "--limit", "9" * 30], 3, ""),
    ],
)
def test_a_hint_says_that_there_are_more_events(
    num_events: int, options: list[str], num_shown: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(monkeypatch, num_events, *options)

    assert (result.stdout.count("token-"), result.stderr) == (num_shown, hint)
