"""Pages of the list of 100,000 archived analyses, compared with 100: filters, searches, orders, and a page far back.

A page is everything that a request needs after its authorization: the query, the counts, and the HTML. `python -m
benchmarks.analysis_list` prints the table of docs/operations/queries.md.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlencode

from starlette.requests import Request

from benchmarks.harness import Case, Result, at_most, minima, timed
from benchmarks.queries import GeneratedFiles, middle_of, open_index
from service import wire
from service.analyses.ports import Stores
from service.archive.index import SqliteIndex
from service.archive.indexed import IndexedArchive
from service.domain import NEWEST_FIRST
from service.jobs.memory import InMemoryJobStore
from service.report.render import render
from service.web.analysis_list import PARAMETERS, AnalysisList

SMALL, LARGE = 100, 100_000
TIMES = 15
AIM = 2.0  # maximum ratio
PAGES: Mapping[str, Mapping[str, str]] = {  # the parameters of each page
    "first page": {},
    "page in the middle": {"after": "middle"},
    "data set with 50 analyses": {"dataset": "small"},
    "model of all analyses": {"model": "timm:net"},
    "label of 50 analyses": {"label": "version=1"},
    "owner of all analyses": {"owner": "registry:prod"},
    "state without analyses": {"state": "failed"},
    "search for the start of 10 ids": {"search": "a0000000"},
    "search for a word of all names": {"search": "net"},
    "search without a match": {"search": "nothing"},
    "search and label without a common analysis": {"search": "version=0", "label": "version=1"},
    "by severe error rate": {"order": "severe_error_rate desc"},
    "by name, a label of 50 analyses": {"order": "display_name", "label": "version=1"},
    "by multi-label accuracy, 10 ids": {"order": "multi_label_accuracy", "search": "a0000000"},
}


def measure() -> Iterator[Result]:
    """Yield the results of the large archive, compared with the small one."""
    for name, (reference, value) in measure_pages().items():
        case = Case(f"list, {name}", f"{LARGE:,} archived analyses", f"{SMALL}", "ms", at_most(AIM))
        yield case.measured(value, reference)


def measure_pages() -> dict[str, list[float]]:
    """Return the seconds of each page with the small and with the large archive; the two take turns."""
    with tempfile.TemporaryDirectory() as folder:
        opened = []
        for count in (SMALL, LARGE):
            index, archive = open_index(Path(folder) / f"{count}.sqlite", GeneratedFiles(count))
            print(f"{count:,} analyses indexed", file=sys.stderr)
            opened.append((index, _pages(_stores(archive, index), count)))
        seconds = {name: minima(*(timed(pages[name]) for _, pages in opened), times=TIMES, warm=1) for name in PAGES}
        for index, _ in opened:
            index.close()
        return seconds


def _pages(stores: Stores, count: int) -> dict[str, Callable[[], str]]:
    return {name: partial(_page, stores, parameters, count) for name, parameters in PAGES.items()}


def _page(stores: Stores, parameters: Mapping[str, str], count: int) -> str:
    """Return the HTML of a page."""
    selection = {name: parameters.get(name, "") for name in PARAMETERS}
    query = dict(parameters)
    if "after" in query:
        key = wire.fields_key({**selection, "order": str(NEWEST_FIRST)})
        query["after"] = wire.cursor_token(middle_of(count), key)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": urlencode(query).encode()}
    return render("analyses.html", site=True, view=AnalysisList(stores, selection).view(Request(scope)))


def _stores(archive: IndexedArchive, index: SqliteIndex) -> Stores:
    evidence = SimpleNamespace(datasets=lambda: ["imagenet", "small"])
    return cast(
        Stores,
        SimpleNamespace(archive=archive, index=index, evidence=evidence, jobs=InMemoryJobStore(time.time)),
    )


def main() -> None:
    """Print the table of the documentation."""
    print(f"| page | {SMALL:,} | {LARGE:,} | ratio |\n| --- | ---: | ---: | ---: |")
    for name, (reference, value) in measure_pages().items():
        print(f"| {name} | {1000 * reference:.1f} ms | {1000 * value:.1f} ms | {value / reference:.2f} |")


if __name__ == "__main__":
    main()
