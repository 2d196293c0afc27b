"""The SQL of a query: filters, orders, and cursors as conditions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.archive.index.schema import state_names
from service.domain import NEWEST_FIRST, AnalysisFilter, Cursor, Order
from service.domain.listing import microseconds

Value = str | int | float
MAX_COUNTED = 1000  # analyses that are counted for a condition; a condition that fewer analyses meet is rare
TRIGRAM = 3  # length of the shortest word that the table `search` can find
# Fields of a filter that are compared for equality. The columns have the same names.
_EQUALITY = ("dataset", "model", "display_name", "evidence", "request_id", "owner", "computation")
_FIRST_TIME, _LAST_TIME = (time.replace(tzinfo=UTC) for time in (datetime.min, datetime.max))


@dataclass(frozen=True)
class Start:
    """A condition with an index from which a query can start."""

    condition: str
    values: tuple[Value, ...]
    test: str  # the same condition, as a test of the rows that another one selects; {created}: column of creation times
    source: str = "analyses a"  # the table of the condition
    tables: str = "analyses a"  # the tables of a query that starts from it; CROSS JOIN keeps their order
    time_table: str = ""  # the table whose index is ordered by time for this condition; empty: none


@dataclass
class Query:
    """A query of ids: the tables, the conditions, and the values of their parameters."""

    order: Order = NEWEST_FIRST
    source: str = "analyses a"
    conditions: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    table: str = "a"  # the table with the columns of the order
    is_sorted: bool = False  # whether SQLite sorts the rows, which are few; otherwise an index has their order

    def add(self, condition: str, *values: Value) -> None:
        """Add a condition that rows must meet."""
        self.conditions.append(condition)
        self.values += values

    def after(self, cursor: Cursor) -> None:
        """Add the condition that rows come after a position."""
        operator = "<" if self.order.is_descending else ">"
        self._add_bound(operator, cursor)

    def until(self, cursor: Cursor) -> None:
        """Add the condition that rows come before a position or are at it."""
        operator = ">=" if self.order.is_descending else "<="
        self._add_bound(operator, cursor)

    def _add_bound(self, operator: str, cursor: Cursor) -> None:
        """Add a bound before other conditions: of two bounds of a column, SQLite looks up the first in the index."""
        self.conditions.insert(0, f"({self._column}, {self.table}.id) {operator} (?, ?)")
        self.values[:0] = cursor.value, cursor.id

    def select(self, limit: int) -> str:
        """Return the statement that selects the first ids in order."""
        direction = "DESC" if self.order.is_descending else "ASC"
        order = f"{self._column} {direction}, {self.table}.id {direction}"
        return f"SELECT a.id {self._rows} ORDER BY {order} LIMIT {int(limit)}"

    def count(self, limit: int | None) -> str:
        """Return the statement that counts the rows, at most up to `limit`."""
        if limit is None:
            return f"SELECT count(*) {self._rows}"
        return f"SELECT count(*) FROM (SELECT 1 {self._rows} LIMIT {int(limit)})"  # noqa: S608 - values are parameters

    @property
    def _rows(self) -> str:
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        return f"FROM {self.source}{where}"

    @property
    def _column(self) -> str:
        return f"{'+' if self.is_sorted else ''}{self.table}.{self.order.name}"


def make_query(analysis_filter: AnalysisFilter, order: Order, count: Callable[[Start], int]) -> Query:
    """Return the query of a filter.

    A query starts from the rarest condition. If none is rare, it reads the index of the order instead: sorting all rows
    of a large data set for each page would take longer.

    Args:
        analysis_filter: The filter.
        order: The order.
        count: Returns the number of analyses that meet a condition, at most MAX_COUNTED.
    """
    query, is_by_time = Query(order), order.name == NEWEST_FIRST.name
    starts = [*_starts(analysis_filter)]
    first = _choose_start(starts, is_by_time, count)
    if first is not None:
        query.source = first.tables
        query.is_sorted = not (is_by_time and first.time_table)
        query.table = "a" if query.is_sorted else first.time_table
        query.add(first.condition, *first.values)
    # In the order of time, the index of the first condition continues with the creation time.
    created = f"{'' if is_by_time and not query.is_sorted else '+'}{query.table}.create_time"
    for start in starts:
        if start is not first and start.test:
            query.add(start.test.format(created=created), *start.values)
    _add_tests(query, analysis_filter)
    return query


def _choose_start(starts: Sequence[Start], is_by_time: bool, count: Callable[[Start], int]) -> Start | None:
    counts = {start: count(start) for start in starts}
    usable = [start for start in starts if counts[start] < MAX_COUNTED or (is_by_time and start.time_table)]
    return min(usable, key=counts.__getitem__, default=None)


def _starts(analysis_filter: AnalysisFilter) -> Iterator[Start]:
    """Yield the conditions with an index. In a test, a unary plus keeps SQLite from using the index of a column."""
    for label in analysis_filter.labels.items():
        yield Start(
            "l.key = ? AND l.value = ?",
            label,
            "EXISTS (SELECT 1 FROM labels m WHERE m.key = ? AND m.value = ? AND m.create_time = a.create_time "
            "AND m.id = a.id)",
            source="labels l",
            tables="labels l CROSS JOIN analyses a ON a.id = l.id",
            time_table="l",
        )
    for name in _EQUALITY:
        if value := getattr(analysis_filter, name):
            time_table = "" if name == "request_id" else "a"
            yield Start(f"a.{name} = ?", (value,), f"+a.{name} = ?", time_table=time_table)
    if len(analysis_filter.states) == 1:  # an index has no common order of several states
        yield Start("a.state = ?", tuple(state_names(analysis_filter.states)), "+a.state = ?", time_table="a")
    for name, prefix in (("id", analysis_filter.id_prefix), ("evidence", analysis_filter.evidence_prefix)):
        if prefix:
            yield Start(f"a.{name} >= ? AND a.{name} < ?", prefix_range(prefix), f"+a.{name} >= ? AND +a.{name} < ?")
    if phrases := [_phrase(word) for word in analysis_filter.words if len(word) >= TRIGRAM and "\0" not in word]:
        tables = "search CROSS JOIN analyses a ON a.rowid = search.rowid"
        yield Start("search MATCH ?", (" AND ".join(phrases),), "", source="search", tables=tables)
    after, before = analysis_filter.created_after, analysis_filter.created_before
    if after is not None or before is not None:
        values = microseconds(after or _FIRST_TIME), microseconds(before or _LAST_TIME)
        test = "{created} >= ? AND {created} < ?"
        yield Start(test.format(created="a.create_time"), values, test, time_table="a")


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the first text with a prefix, and a text after the last one, for texts in ASCII."""
    return prefix, prefix + "\x7f"


def _phrase(word: str) -> str:
    """Return a word as a quoted phrase of FTS5, the full-text search of SQLite."""
    quoted = word.replace('"', '""')
    return f'"{quoted}"'


def _add_tests(query: Query, analysis_filter: AnalysisFilter) -> None:
    """Add the conditions from which no query starts."""
    for word in analysis_filter.words:
        query.add("instr(a.searchable, ?) > 0", word)
    if len(analysis_filter.states) > 1:
        names = state_names(analysis_filter.states)
        query.add(f"+a.state IN ({', '.join('?' * len(names))})", *names)
    if analysis_filter.ended_before is not None:
        query.add("a.end_time < ?", microseconds(analysis_filter.ended_before))
