"""The index of decisions, from the titles of docs/adr/NNNN-*.md."""

import re
from pathlib import Path

from docs_site.tables import format_table

ROOT = Path(__file__).resolve().parents[1]
INTRODUCTION = """# Decisions

Each architecture decision record states the context, the decision, its consequences, and the measured figures behind
it, in the form of [MADR](https://adr.github.io/madr/). A record never changes its number. To revise a decision, add a
record and mark the old one as superseded.

"""


def list_records() -> list[Path]:
    """Return the files of all records, by number."""
    return sorted((ROOT / "docs" / "adr").glob("[0-9][0-9][0-9][0-9]-*.md"))


def render() -> str:
    """Return the page as Markdown."""
    rows = []
    for record in list_records():
        match = re.match(r"# (\d{4})\. (.+)\n", record.read_text(encoding="utf-8"))
        if match is None or not record.name.startswith(match[1]):
            raise ValueError(f"{record.name} has no title. Begin it with '# {record.name[:4]}. TITLE'.")
        rows.append((match[1], f"[{match[2]}]({record.name})"))
    return INTRODUCTION + format_table(("number", "decision"), rows)
