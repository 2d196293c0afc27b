"""The index of the archive in SQLite."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import structlog
from errata.errors import Unavailable

from service.archive.index.conditions import MAX_COUNTED, Query, Start, make_query, prefix_range
from service.archive.index.database import Database
from service.archive.index.schema import (
    RESULT_COLUMNS,
    analysis_row,
    group_path,
    label_rows,
    pack_document,
    state_names,
    stored_result,
    unpack_document,
)
from service.archive.port import Record
from service.domain import NEWEST_FIRST, Analysis, AnalysisFilter, Cursor, ModelVersion, Order, StoredResult

Result = TypeVar("Result")
VARIABLES = 1000  # ids per statement
DELAY_SECONDS = 0.1  # maximum time until added analyses are written
MAX_REMOVED = 10_000  # maximum number of removed ids to remember, which a comparison in progress must not add again
_log = structlog.get_logger()


class SqliteIndex:
    """An index in a file that only this process uses.

    `add` collects analyses. They are written together: by the next call that depends on them, or after DELAY_SECONDS.
    Therefore, `add` waits for the file only while another thread writes, and each query still finds all added analyses.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._added: list[Record] = []  # not yet in the file
        self._timer: threading.Timer | None = None  # writes them
        self._archive_id: str | None = None  # None: not bound yet
        self._is_complete = False
        self._version = 0
        self._removed: OrderedDict[str, None] = OrderedDict()
        self.on_replaced: Callable[[], None] = lambda: None  # called after a damaged file was replaced
        self._database = Database(path, self._handle_replacement)

    @property
    def is_complete(self) -> bool:
        """Return whether the index has all analyses that the archive had at the last comparison."""
        return self._is_complete

    @property
    def version(self) -> int:
        """Return a number that grows with each change."""
        return self._version

    def bind(self, archive_id: str) -> None:
        """Use the index for an archive; empty it if it belongs to another one.

        Queries find nothing before the first call.

        Args:
            archive_id: The id; empty if the archive has none yet. For an empty id, the index keeps any content.
        """
        if archive_id == self._archive_id:
            return
        if archive_id:
            self._set_owner(archive_id)
        self._archive_id = archive_id
        self._changed()

    def _set_owner(self, archive_id: str) -> None:
        stored = self._database.read(
            lambda connection: connection.execute("SELECT value FROM meta WHERE name = 'archive'").fetchone()
        )
        was_compared = self._archive_id is not None  # in this case, the content already comes from this archive
        if stored is not None and stored[0] != archive_id and not was_compared:
            self._database.replace()
        self._database.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO meta VALUES ('archive', ?)", (archive_id,))
        )

    def mark(self, *, is_complete: bool) -> None:
        """Set whether the index has all analyses of the archive."""
        self._is_complete = is_complete

    def find(
        self, analysis_filter: AnalysisFilter, order: Order, after: Cursor | None, limit: int
    ) -> Sequence[Analysis]:
        """Return the first analyses after a position that match a filter."""
        added = [*self._added]
        if any(analysis_filter.matches(record.analysis) for record in added):
            self.write_added()

        def select(connection: sqlite3.Connection) -> list[Analysis]:
            query = _query(connection, analysis_filter, order)
            if after is not None:
                query.after(after)
            ids = [row[0] for row in connection.execute(query.select(limit), query.values)]
            documents: dict[str, bytes] = {}
            for some in _batches(ids):
                documents |= connection.execute(
                    f"SELECT id, document FROM documents WHERE id IN ({_marks(some)})",  # noqa: S608 - only marks
                    some,
                )
            return [unpack_document(documents[analysis_id]) for analysis_id in ids if analysis_id in documents]

        analyses: Sequence[Analysis] = self._read_file(select, [])
        if {record.analysis.id for record in added} & {analysis.id for analysis in analyses}:  # one may be replaced
            analyses = self._write_and_read(select, [])
        return analyses

    def count(
        self,
        analysis_filter: AnalysisFilter,
        order: Order = NEWEST_FIRST,
        until: Cursor | None = None,
        limit: int | None = None,
    ) -> int:
        """Return the number of analyses that match a filter; with `until`, only up to this position in the order.

        Counting may stop at `limit`.
        """

        def select(connection: sqlite3.Connection) -> int:
            if until is None and (total := _total(connection, analysis_filter)) is not None:
                return total
            query = _query(connection, analysis_filter, order)
            if until is not None:
                query.until(until)
            return int(connection.execute(query.count(limit), query.values).fetchone()[0])

        return self._write_and_read(select, 0)

    def contained(self, analysis_ids: Collection[str]) -> Set[str]:
        """Return the given ids that are in the index."""

        def select(connection: sqlite3.Connection) -> set[str]:
            return {
                row[0]
                for some in _batches(analysis_ids)
                for row in connection.execute(f"SELECT id FROM analyses WHERE id IN ({_marks(some)})", some)  # noqa: S608
            }

        if not analysis_ids or self._archive_id is None:
            return frozenset()
        added = {record.analysis.id for record in [*self._added]}.intersection(analysis_ids)
        return added | self._database.read(select)

    def num_by_dataset(self) -> Mapping[str, int]:
        """Return the number of analyses of each data set."""
        return self._write_and_read(
            lambda connection: dict(
                connection.execute("SELECT dataset, sum(number) FROM totals GROUP BY 1 HAVING sum(number) > 0")
            ),
            {},
        )

    def results(self, dataset: str, evidence: str, group: str) -> Sequence[StoredResult]:
        """Return the plausible results of a data set that were judged with this evidence, newest first."""
        statement = (
            f"SELECT {RESULT_COLUMNS} FROM analyses INDEXED BY by_result "  # noqa: S608 - constant columns
            "WHERE dataset = :dataset AND evidence = :evidence AND state = 'SUCCEEDED' AND implausible = 0 "
            "ORDER BY create_time DESC, id DESC"
        )
        values = {"dataset": dataset, "evidence": evidence, "group": group_path(group)}
        return self._write_and_read(lambda connection: [*map(stored_result, connection.execute(statement, values))], [])

    def newest_versions(self) -> Sequence[ModelVersion]:
        """Return the newest successful analysis for each named model, version, and data set; newest first."""
        # The maximum of the time and the id as one text takes 48 ms for 100,000 rows, and a window function 140 ms.
        statement = (
            "SELECT version_model, version, dataset, substr(max(printf('%020d', create_time) || id), 21) FROM analyses "
            "WHERE state = 'SUCCEEDED' AND version_model IS NOT NULL "
            "GROUP BY 1, 2, 3 ORDER BY max(printf('%020d', create_time) || id) DESC"
        )
        return self._write_and_read(
            lambda connection: [ModelVersion(*row) for row in connection.execute(statement)], []
        )

    def ids(self) -> Set[str]:
        """Return the ids of all analyses."""
        self.write_added()
        return self._database.read(lambda connection: {row[0] for row in connection.execute("SELECT id FROM analyses")})

    def add(self, records: Sequence[Record]) -> None:
        """Add analyses, or replace those with the same ids."""
        if not records:
            return
        with self._lock:
            for record in records:
                self._removed.pop(record.analysis.id, None)
            self._added += records
            if self._timer is None:
                self._start_timer()
        self._changed()

    def _start_timer(self) -> None:
        """Start the thread that writes the added analyses; without a free thread, write them now."""
        timer = threading.Timer(DELAY_SECONDS, self.write_added)
        timer.daemon = True
        try:
            timer.start()
            self._timer = timer
        except RuntimeError:
            self._write_added()

    def write_added(self) -> None:
        """Write the added analyses."""
        if self._added:  # it has the analyses until they are in the file, also while another thread writes them
            with self._lock:
                self._write_added()

    def _write_added(self) -> None:
        """Write the added analyses; the caller has the lock. After an error, the next comparison adds them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._insert([*{record.analysis.id: record for record in self._added}.values()])
        except Unavailable as error:
            _log.warning("analyses not indexed", count=len(self._added), error=error.message)
        except Exception:  # not an error of the caller, who perhaps only reads
            _log.exception("analyses not indexed", count=len(self._added))
        finally:
            self._added.clear()

    def add_missing(self, records: Sequence[Record]) -> None:
        """Add analyses that were read from the archive, unless they were added or removed meanwhile."""
        with self._lock:
            self._write_added()
            present = self._database.read(
                lambda connection: {
                    record.analysis.id
                    for record in records
                    if connection.execute("SELECT 1 FROM analyses WHERE id = ?", (record.analysis.id,)).fetchone()
                }
            )
            self._insert([record for record in records if record.analysis.id not in present | self._removed.keys()])
        self._changed()

    def forget_removed(self) -> None:
        """Forget which ids were removed, so that `add_missing` adds them if the archive has them again.

        Call this before the archive is listed. An analysis is deleted from the archive before it is removed from the
        index, so the list does not have the deleted analyses that are forgotten.
        """
        with self._lock:
            self._removed.clear()

    def remove(self, analysis_ids: Collection[str]) -> None:
        """Remove analyses."""
        with self._lock:
            for analysis_id in analysis_ids:
                self._removed[analysis_id] = None
            while len(self._removed) > MAX_REMOVED:
                self._removed.popitem(last=False)
            self._write_added()
            self._database.write(lambda connection: _delete(connection, analysis_ids))
        self._changed()

    def close(self) -> None:
        """Write the added analyses, and close the file."""
        self.write_added()
        self._database.close()

    def _insert(self, records: Sequence[Record]) -> None:
        if not records:
            return
        rows = [analysis_row(record.analysis) for record in records]
        labels = [row for record in records for row in label_rows(record.analysis)]
        documents = [(record.analysis.id, pack_document(record)) for record in records]

        def insert(connection: sqlite3.Connection) -> None:
            _delete(connection, [record.analysis.id for record in records])
            columns = ", ".join(f":{name}" for name in rows[0])
            connection.executemany(f"INSERT INTO analyses VALUES ({columns})", rows)  # noqa: S608 - constant columns
            connection.executemany("INSERT INTO labels VALUES (?, ?, ?, ?)", labels)
            connection.executemany("INSERT INTO documents VALUES (?, ?)", documents)

        self._database.write(insert)

    def _write_and_read(self, select: Callable[[sqlite3.Connection], Result], empty: Result) -> Result:
        """Write the added analyses, and return what a query finds."""
        self.write_added()
        return self._read_file(select, empty)

    def _read_file(self, select: Callable[[sqlite3.Connection], Result], empty: Result) -> Result:
        """Return what a query finds in the file; `empty` before the index is bound to an archive."""
        return empty if self._archive_id is None else self._database.read(select)

    def _changed(self) -> None:
        self._version += 1

    def _handle_replacement(self) -> None:
        self._archive_id, self._is_complete = None, False
        self._changed()
        self.on_replaced()


def _query(connection: sqlite3.Connection, analysis_filter: AnalysisFilter, order: Order) -> Query:
    """Return the query of a filter.

    A prefix that only one digest has becomes the digest, whose index has the order of time.
    """
    if (prefix := analysis_filter.evidence_prefix) and not analysis_filter.evidence:
        ends = [
            connection.execute(
                f"SELECT {end}(evidence) FROM analyses WHERE evidence >= ? AND evidence < ?",  # noqa: S608 - constants
                prefix_range(prefix),
            ).fetchone()[0]
            for end in ("min", "max")  # SQLite reads one row of the index for each, but all rows for both at once
        ]
        if ends[0] is not None and ends[0] == ends[1]:
            analysis_filter = replace(analysis_filter, evidence=ends[0], evidence_prefix="")
    return make_query(analysis_filter, order, partial(_count, connection))


def _count(connection: sqlite3.Connection, start: Start) -> int:
    """Return the number of analyses that meet a condition, at most MAX_COUNTED."""
    statement = f"SELECT count(*) FROM (SELECT 1 FROM {start.source} WHERE {start.condition} LIMIT {MAX_COUNTED})"  # noqa: S608
    return int(connection.execute(statement, start.values).fetchone()[0])


def _total(connection: sqlite3.Connection, analysis_filter: AnalysisFilter) -> int | None:
    """Return the number of analyses that match, if the filter has at most a data set and states; otherwise None."""
    if analysis_filter != AnalysisFilter(states=analysis_filter.states, dataset=analysis_filter.dataset):
        return None
    names = state_names(analysis_filter.states)
    statement = "SELECT coalesce(sum(number), 0) FROM totals WHERE (? = '' OR dataset = ?)"
    if names:
        statement += f" AND state IN ({_marks(names)})"
    dataset = analysis_filter.dataset
    return int(connection.execute(statement, (dataset, dataset, *names)).fetchone()[0])


def _delete(connection: sqlite3.Connection, analysis_ids: Collection[str]) -> None:
    keys = [(analysis_id,) for analysis_id in analysis_ids]
    for table in ("analyses", "labels", "documents"):
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", keys)  # noqa: S608 - constant names


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _batches(values: Collection[str]) -> Iterator[list[str]]:
    remaining = iter(values)
    while batch := [*islice(remaining, VARIABLES)]:
        yield batch
