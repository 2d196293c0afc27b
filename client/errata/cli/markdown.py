"""The result of a gate as Markdown, for a pull request or the summary of a job. Model names are untrusted."""

import re

from errata import pb
from errata.cli.value_names import decision_name

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@:$.-])")
_MENTION = re.compile(r"(?<=[@#])")  # GitHub links users and issues although the characters are escaped
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_markdown(result: pb.GateResult, title: str, headline: str) -> str:
    """Return a gate result as Markdown.

    Args:
        result: The result.
        title: Display name of the analysis.
        headline: Sentence that summarizes the analysis; may be empty.
    """
    lines = [
        f"### Errata: {escape(result.policy)} – {decision_name(result.decision)}",
        "",
        escape(headline or title),
        "",
        "| bound | decision | reason |",
        "|---|---|---|",
    ]
    lines += [
        f"| {escape(reason.bound)} | {decision_name(reason.decision)} | {escape(reason.message)} |"
        for reason in result.reasons
    ]
    if result.baseline:
        lines += ["", f"Baseline: {escape(result.baseline)}."]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows unchanged, on one line, without mentions and links."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    text = _MENTION.sub("\N{ZERO WIDTH SPACE}", _SPECIAL.sub(r"\\\1", text))
    return "".join(_ENTITIES.get(character, character) for character in text)
