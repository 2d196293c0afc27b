"""Run benchmarks, print a table of ratios, and write the results as JSON: python -m benchmarks [NAME ...]."""

import argparse
import importlib
import json
import os
import platform
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks.harness import UNITS, Result
from benchmarks.history import write_release
from benchmarks.processes import checkout_of

BENCHMARKS = (
    "upload",
    "answers",
    "tracing",
    "sandbox",
    "dataframes",
    "start",
    "client",
    "judge",
    "reanalyze",
    "label_space",
    "report",
    "bundle",
    "evidence",
    "inference",
    "jobs",
    "fairness",
    "idle",
    "hooks",
    "listing",
    "reviews",
    "queries",
    "image_grid",
    "analysis_list",
    "review_queue",
    "thumbnails",
    "load",
    "scrapers",
)
REVISION = "revision"  # compares with the revision of --before, and is skipped without it
OUTPUT = Path("build/bench.json")


def main() -> None:
    """Run the selected benchmarks; exit with 1 if a ratio misses its aim or a benchmark fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split(":")[0])
    choices = (*BENCHMARKS, REVISION)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"benchmarks; default: all of {', '.join(choices)}")
    parser.add_argument("--before", metavar="REVISION", help="a git revision to compare with in the same run")
    parser.add_argument("--json", type=Path, default=OUTPUT, help="where to write the results (%(default)s)")
    parser.add_argument("--release", metavar="NAME", help="write the row of this release into the benchmark history")
    options = parser.parse_args()
    if unknown := set(options.names) - set(choices):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}. Choose from {', '.join(choices)}.")
    if REVISION in options.names and not options.before:
        parser.error(f"{REVISION} needs a revision to compare with. Add --before REVISION.")
    names = options.names or [*BENCHMARKS, *([REVISION] if options.before else [])]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))  # stops the services
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    results, failed = [], []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            for result in _measure(name, options.before):
                results.append(result)
                print(f"  {result.case.name}: {result.ratio:.2f}", file=sys.stderr, flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        document = _document(results, failed)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    load, cores = os.getloadavg()[1], os.cpu_count() or 1
    if load > 2 * cores:
        print(f"Load average {load:.0f} on {cores} cores: other work makes the ratios unreliable.", file=sys.stderr)
    Console(width=180).print(_table(results))
    if options.release:
        write_release(options.release, document)
    sys.exit(1 if failed or not all(result.holds for result in results) else 0)


def _measure(name: str, before: str | None) -> Iterator[Result]:
    """Yield the results of a benchmark."""
    benchmark = importlib.import_module(f"benchmarks.{name}")
    with ExitStack() as stack:
        arguments = [stack.enter_context(checkout_of(before))] if name == REVISION and before else []
        yield from benchmark.measure(*arguments)


def _table(results: Sequence[Result]) -> Table:
    table = Table(header_style="bold")
    for title in ("case", "value", "reference", "ratio", "aim", "holds"):
        table.add_column(title, justify="right" if title in ("value", "reference", "ratio") else "left")
    for result in results:
        case = result.case
        table.add_row(
            f"[bold]{case.name}[/]: {case.what}\n  [dim]reference: {case.reference}[/]",
            _text(result.value, case.unit),
            _text(result.reference, case.unit),
            f"{result.ratio:.2f}",
            str(case.aim),
            "yes" if result.holds else f"NO {result.problem}".strip(),
        )
    return table


def _text(value: float, unit: str) -> str:
    return f"{value * UNITS[unit]:,.1f} {unit}"


def _document(results: Sequence[Result], failed: Sequence[str]) -> dict[str, Any]:
    """Return the results as JSON values: their units are seconds, bytes, and images per second."""
    rows = [
        {
            **asdict(result.case),
            "aim": str(result.case.aim),
            "value": result.value,
            "reference_value": result.reference,
            "ratio": result.ratio,
            "holds": result.holds,
            "problem": result.problem,
        }
        for result in results
    ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[1]),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "failed": list(failed),
        "results": rows,
    }


if __name__ == "__main__":
    main()
