"""A gate's result as Markdown, for a pull request or a job's summary. Names of models are hostile: all is escaped."""

import re

from service.report.gate_view import GateView
from service.report.messages import DECISION_WORDS

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@:$.-])")
_ALERTING = re.compile(r"(?<=[@#])")  # GitHub finds people and issues although they are escaped
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_markdown(result: GateView, title: str, headline: str) -> str:
    """Return the Markdown; title: what people call the analysis; headline: what is said of it, empty for nothing."""
    lines = [
        f"### Errata: {escaped(result.policy)} – {DECISION_WORDS[result.decision]}",
        "",
        f"{escaped(headline or title)}",
        "",
        "| bound | decision | what was found |",
        "|---|---|---|",
    ]
    lines += [
        f"| {escaped(reason.name)} | {DECISION_WORDS[reason.decision]} | {escaped(reason.message)} |"
        for reason in result.reasons
    ]
    if result.baseline:
        lines += ["", f"Changes are held against {escaped(result.baseline)}."]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text that stands for itself, on one line, and calls nobody."""
    text = " ".join("".join(item if item.isprintable() else " " for item in text).split())
    text = _ALERTING.sub("\N{ZERO WIDTH SPACE}", _SPECIAL.sub(r"\\\1", text))
    return "".join(_ENTITIES.get(character, character) for character in text)
