"""python -m benchmarks: measure all figures, print a table, write build/bench.json."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import bundle, hooks, inference, jobs, judge, listing, load, report, sandbox, scrapers, start, upload

MEASURES = (
    upload.measure,
    sandbox.measure,
    start.measure,
    judge.measure,
    report.measure,
    bundle.measure,
    inference.measure,
    jobs.measure,
    hooks.measure,
    listing.measure,
    load.measure,
    scrapers.measure,
)
OUTPUT = Path("build/bench.json")


def main() -> None:
    """Measure; exit with 1 if a figure misses its aim."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    figures = [figure for measure in MEASURES for figure in measure()]
    table = Table(header_style="bold")
    for title in ("figure", "value", "reference", "ratio", "aim", "holds"):
        table.add_column(title)
    for each in figures:
        reference = "" if each.reference is None else f"{each.reference:,.1f} {each.unit}"
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        table.add_row(
            each.name, f"{each.value:,.1f} {each.unit}", reference, ratio, each.aim, "yes" if each.holds else "NO"
        )
    Console(width=160).print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")
    sys.exit(0 if all(each.holds for each in figures) else 1)


main()
