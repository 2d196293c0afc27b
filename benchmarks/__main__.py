"""Run all benchmarks, print a table, and write build/bench.json: python -m benchmarks."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import (
    bundle,
    client,
    dataframes,
    hooks,
    inference,
    jobs,
    judge,
    listing,
    load,
    queries,
    report,
    sandbox,
    scrapers,
    start,
    upload,
)

MEASURES = (
    upload.measure,
    dataframes.measure,
    sandbox.measure,
    start.measure,
    client.measure,
    judge.measure,
    report.measure,
    bundle.measure,
    inference.measure,
    jobs.measure,
    hooks.measure,
    listing.measure,
    queries.measure,
    load.measure,
    scrapers.measure,
)
OUTPUT = Path("build/bench.json")


def main() -> None:
    """Run the benchmarks; exit with 1 if a figure misses its target."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    figures = [figure for measure in MEASURES for figure in measure()]
    table = Table(header_style="bold")
    for title in ("figure", "value", "reference", "ratio", "aim", "holds"):
        table.add_column(title)
    for figure in figures:
        reference = "" if figure.reference is None else f"{figure.reference:,.1f} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(
            figure.name,
            f"{figure.value:,.1f} {figure.unit}",
            reference,
            ratio,
            figure.aim,
            "yes" if figure.holds else "NO",
        )
    Console(width=160).print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    sys.exit(0 if all(figure.holds for figure in figures) else 1)


main()
