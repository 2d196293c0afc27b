"""The history of releases: a page with one row for each release, and with the latest results of all cases."""

from collections.abc import Sequence
from typing import Any

from benchmarks.harness import UNITS
from benchmarks.processes import CHECKOUT

PAGE = CHECKOUT / "docs" / "operations" / "benchmark-history.md"
RELEASES, LATEST = "## Releases\n\n", "## Latest results\n\n"
COLUMNS = (  # cases of which each release has a cell
    "upload",
    "dataframes.plain",
    "start.ready",
    "judge.one",
    "report.render",
    "report.compare",
    "jobs.overhead",
    "jobs.start",
    "jobs.path",
    "hooks",
    "load.reads",
)
TITLES = ("release", "date", "machine", "within aims", *(f"`{name}`" for name in COLUMNS))


def write_release(release: str, document: dict[str, Any]) -> None:
    """Add or replace the row of a release in the page."""
    PAGE.write_text(add_release(PAGE.read_text(), release, document))


def add_release(page: str, release: str, document: dict[str, Any]) -> str:
    """Return the page with the row of a release, newest first, and with the latest results."""
    introduction, _, rest = page.partition(RELEASES)
    lines = rest.partition(LATEST)[0].strip().splitlines()
    others = [line for line in lines[2:] if not line.startswith(f"| {release} |")]
    rows = [_line(TITLES), _line(["---"] * len(TITLES)), _line(release_cells(release, document)), *others]
    return introduction + RELEASES + "\n".join(rows) + "\n\n" + LATEST + "\n".join(_latest(document)) + "\n"


def release_cells(release: str, document: dict[str, Any]) -> Sequence[str]:
    """Return the cells of a release; a ratio that missed its aim is bold."""
    results = document["results"]
    held = sum(result["holds"] for result in results)
    ratios = {result["name"]: _ratio(result) for result in results}
    return [
        release,
        document["date"],
        f"{document['cores']} cores, load {document['load']}, {document['machine']}, Python {document['python']}",
        f"{held} of {len(results)}",
        *(ratios.get(name, "") for name in COLUMNS),
    ]


def _latest(document: dict[str, Any]) -> Sequence[str]:
    titles = ("case", "value", "reference", "ratio", "aim")
    return [_line(titles), _line(["---"] * len(titles)), *(_line(_result_cells(row)) for row in document["results"])]


def _result_cells(result: dict[str, Any]) -> Sequence[str]:
    value, reference = (
        f"{result[key] * UNITS[result['unit']]:,.1f} {result['unit']}" for key in ("value", "reference_value")
    )
    return [
        f"`{result['name']}`",
        f"{result['what']}: {value}",
        f"{result['reference']}: {reference}",
        _ratio(result),
        result["aim"],
    ]


def _ratio(result: dict[str, Any]) -> str:
    return f"{result['ratio']:.2f}" if result["holds"] else f"**{result['ratio']:.2f}**"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
