"""Queries of 100, 10,000, and 100,000 archived analyses: a page, lookups, a trend, metrics, a start, and a rebuild.

`python -m benchmarks.queries` also prints the table of docs/operations/queries.md.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.harness import Case, Result, at_most, minima, timed
from service.analyses import queries
from service.analyses.model_metrics import find_watched_models
from service.analyses.ports import Stores
from service.analyses.registries import find_newest
from service.archive.archive import FileArchive
from service.archive.document import to_document
from service.archive.files import ID_FILE, FolderFiles
from service.archive.index import SqliteIndex
from service.archive.index.comparison import Comparison
from service.archive.indexed import IndexedArchive
from service.domain import (
    ALL,
    ERROR_TYPES,
    NEWEST_FIRST,
    REGISTRY_OWNER,
    Analysis,
    AnalysisFilter,
    AnalysisRequest,
    Cursor,
    GroupSummary,
    State,
    Summary,
)
from service.domain.listing import microseconds
from service.jobs.memory import InMemoryJobStore
from service.taxonomy.imagenet_1k import GROUPS

SIZES = (100, 10_000, 100_000)  # the first one is the reference
TIMES = 40
SMALL = 50  # analyses of the data set whose trend is read, and of each version of a model
PAGE = 50
START = datetime(2026, 1, 1, tzinfo=UTC)
EVERYTHING = AnalysisFilter()
# The aim of each measurement: the maximum ratio of the largest archive to the smallest one; None: not judged.
AIMS: Mapping[str, float | None] = {
    "first page of 50": 2,
    "page of 50 in the middle": 2,
    "first page of 50 and its total": 2,
    "by request ID": 2,
    "newest analysis of a registry's version": 2,
    "first page of a label": 2,
    "page of 50 in the middle of a time range": 2,
    "first page of a digest prefix": 2,
    f"results of a data set with {SMALL}": 2,
    "metrics of 50 watched models": None,
    "search without a match": 2,
    "start with an existing index": None,
    "rebuild, CPU time for each analysis": 1.5,
}


class GeneratedFiles(FolderFiles):
    """The files of an archive whose documents are generated when they are read."""

    def __init__(self, count: int) -> None:
        super().__init__(Path("/nonexistent"))
        self._template = to_document(_template())
        self._names = frozenset(f"{_id(number)}.json" for number in range(count))
        self._old = range(SMALL, SMALL + count // 2)  # numbers of the analyses with other evidence

    def names(self) -> Set[str]:
        """Return the names of all documents."""
        return self._names

    def read(self, name: str) -> bytes | None:
        """Return the content of a document."""
        if name == ID_FILE:
            return b"0" * 32
        return self._document(int(name[1:9])) if name in self._names else None

    def read_many(self, names: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each name with its content."""
        return ((name, self.read(name)) for name in names)

    def _document(self, number: int) -> bytes:
        version = str(number // SMALL)
        created = (START + timedelta(seconds=number)).isoformat()
        request = self._template["request"] | {
            "dataset": "small" if number < SMALL else "imagenet",
            "display_name": f"net {version}",
            "labels": {"registry": "prod", "model": f"net{number // SMALL % 50}", "version": version},
            "request_id": f"request{number}",
        }
        changes = {
            "id": _id(number),
            "create_time": created,
            "end_time": created,
            "predictions_digest": f"{number:064}",
            "evidence": ("f" if number in self._old else "e") * 64,
        }
        return json.dumps(self._template | changes | {"request": request}).encode()


def measure() -> Iterator[Result]:
    """Yield the results of the largest archive, compared with the smallest one."""
    for name, (reference, *_, value) in measure_sizes().items():
        aim = AIMS[name]
        if aim is not None:
            yield Case(
                f"queries, {name}", f"{SIZES[-1]:,} archived analyses", f"{SIZES[0]}", "ms", at_most(aim)
            ).measured(value, reference)


def measure_sizes() -> dict[str, list[float]]:
    """Return the seconds of each measurement, for each size.

    The sizes take turns, and the least duration counts: other programs on the machine only add to it.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{count}.sqlite" for count in SIZES]
        files = [GeneratedFiles(count) for count in SIZES]
        opened, built = [], []
        for count, path, some_files in zip(SIZES, paths, files, strict=True):
            started = time.process_time()  # a build takes minutes, and sizes cannot take turns
            opened.append(open_index(path, some_files))
            built.append((time.process_time() - started) / count)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{count:,} analyses indexed: peak memory {peak:.0f} MB", file=sys.stderr)
        runs = [_queries(_stores(archive, index), count) for count, (index, archive) in zip(SIZES, opened, strict=True)]
        seconds = {name: minima(*(timed(run[name]) for run in runs), times=TIMES, warm=0) for name in runs[0]}
        for index, _ in opened:
            index.close()
        starts = [partial(_open_and_close, *arguments) for arguments in zip(paths, files, strict=True)]
        seconds["start with an existing index"] = minima(*map(timed, starts), times=5, warm=0)
    return seconds | {"rebuild, CPU time for each analysis": built}


def _stores(archive: IndexedArchive, index: SqliteIndex) -> Stores:
    return cast(Stores, SimpleNamespace(archive=archive, index=index, jobs=InMemoryJobStore(time.time)))


def _queries(stores: Stores, count: int) -> dict[str, Callable[[], object]]:
    """Return the queries by name; each one checks that it has a result."""
    middle = middle_of(count)
    label = AnalysisFilter(labels={"version": "1"})
    times = AnalysisFilter(
        created_after=START + timedelta(seconds=count // 10), created_before=START + timedelta(seconds=count)
    )
    old_evidence = AnalysisFilter(evidence_prefix="f")

    def page(analysis_filter: AnalysisFilter = EVERYTHING, after: Any = None) -> None:
        assert len(queries.list_analyses(stores, analysis_filter, NEWEST_FIRST, after, PAGE).analyses) == PAGE

    def page_and_total() -> None:
        page()
        queries.count_analyses(stores, EVERYTHING, NEWEST_FIRST)

    def find_version() -> None:
        assert find_newest(stores, "prod", "net1", "1") is not None

    def search() -> None:
        assert not queries.list_analyses(stores, AnalysisFilter(words=("none",)), NEWEST_FIRST, None, PAGE).analyses

    return {
        "first page of 50": page,
        "page of 50 in the middle": lambda: page(after=middle),
        "first page of 50 and its total": page_and_total,
        "by request ID": lambda: queries.find_by_request_id(stores, "request7"),
        "newest analysis of a registry's version": find_version,
        "first page of a label": lambda: page(label),
        "page of 50 in the middle of a time range": lambda: page(times, middle),
        "first page of a digest prefix": lambda: page(old_evidence),
        f"results of a data set with {SMALL}": lambda: stores.index.results("small", "e" * 64, "all"),
        "metrics of 50 watched models": lambda: find_watched_models(stores, ["*"], 50),
        "search without a match": search,
    }


def middle_of(count: int) -> Cursor:
    """Return the position after which the page in the middle begins."""
    number = count // 2 + PAGE
    return Cursor(microseconds(START + timedelta(seconds=number)), _id(number))


def open_index(path: Path, files: GeneratedFiles) -> tuple[SqliteIndex, IndexedArchive]:
    """Open an index, and compare it with its archive, which builds a new index."""
    index = SqliteIndex(path)
    archive = IndexedArchive(FileArchive(files), index)
    Comparison(archive)()
    assert index.is_complete
    return index, archive


def _open_and_close(path: Path, files: GeneratedFiles) -> None:
    open_index(path, files)[0].close()


def _id(number: int) -> str:
    return f"a{number:08}"


def _template() -> Analysis:
    """Return a successful analysis of about the size of a real one."""
    counts = dict.fromkeys(ERROR_TYPES, 1234)
    rates = {error_type: 1 / (7 + error_type.value) for error_type in ERROR_TYPES[1:]}
    group = GroupSummary(9872, counts, 8638, 1 / 7, 1 / 6, 1 / 5, 1 / 4, rates, rates, rates, rates)
    summary = Summary(dict.fromkeys((ALL, *GROUPS), group), (), 0, 50_000, 50_000, 0.8, 0.7, 3, 46_837)
    request = AnalysisRequest("imagenet", "timm:net", "net")
    owner = f"{REGISTRY_OWNER}prod"
    return Analysis("a", request, State.SUCCEEDED, "e" * 64, START, owner, START, START, summary=summary)


def main() -> None:
    """Print the table of the documentation: milliseconds for each size, and the ratios."""
    print(f"| query | {' | '.join(f'{size:,}' for size in SIZES)} | ratio | aim |")
    print(f"| --- |{' ---: |' * (len(SIZES) + 1)} --- |")
    for name, seconds in measure_sizes().items():
        cells = " | ".join(f"{1000 * value:.2f} ms" for value in seconds)
        aim = "not judged" if AIMS[name] is None else f"at most {AIMS[name]:g}"
        print(f"| {name} | {cells} | {seconds[-1] / seconds[0]:.2f} | {aim} |")


if __name__ == "__main__":
    main()
