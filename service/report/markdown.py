"""The result of a gate as Markdown, for a pull request or a job summary. Names are untrusted input and are escaped."""

import re

from service.report.gate_view import GateView
from service.report.messages.gate import DECISION_NAMES

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@:$.-])")
_REFERENCE = re.compile(r"(?<=[@#])")  # GitHub links users and issues even if they are escaped
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_markdown(gate: GateView, title: str, summary: str) -> str:
    """Format the result of a gate as Markdown.

    Args:
        gate: The result.
        title: Display name of the analysis.
        summary: Summary of the analysis in one sentence; empty if it has no result.

    Returns:
        A heading, a sentence, and a table with a row for each bound.
    """
    lines = [
        f"### Errata: {escape(gate.policy)} – {DECISION_NAMES[gate.decision]}",
        "",
        f"{escape(summary or title)}",
        "",
        "| bound | decision | reason |",
        "|---|---|---|",
    ]
    lines += [
        f"| {escape(reason.name)} | {DECISION_NAMES[reason.decision]} | {escape(reason.message)} |"
        for reason in gate.reasons
    ]
    if gate.baseline:
        lines += ["", f"Baseline: {escape(gate.baseline)}"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text without markup, on one line, and without links to users or issues."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    text = _REFERENCE.sub("\N{ZERO WIDTH SPACE}", _SPECIAL.sub(r"\\\1", text))
    return "".join(_ENTITIES.get(character, character) for character in text)
