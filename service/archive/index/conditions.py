"""The SQL of a query: filters, orders, and cursors as conditions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.archive.index.schema import state_names
from service.domain import NEWEST_FIRST, AnalysisFilter, Cursor, Order
from service.domain.listing import microseconds

Value = str | int | float
Label = tuple[str, str]
# Conditions on equality, which are also names of columns.
_EQUALITY = ("dataset", "model", "display_name", "evidence", "request_id", "owner", "computation")


@dataclass
class Query:
    """A query of ids: the tables, the conditions, and the values of their parameters."""

    order: Order = NEWEST_FIRST
    source: str = "analyses a"
    conditions: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    table: str = "a"  # the table whose index has the order

    def add(self, condition: str, *values: Value) -> None:
        """Add a condition that rows must meet."""
        self.conditions.append(condition)
        self.values += values

    def after(self, cursor: Cursor) -> None:
        """Add the condition that rows come after a position."""
        operator = "<" if self.order.is_descending else ">"
        self.add(f"{self._key} {operator} (?, ?)", cursor.value, cursor.id)

    def until(self, cursor: Cursor) -> None:
        """Add the condition that rows come before a position or are at it."""
        operator = ">=" if self.order.is_descending else "<="
        self.add(f"{self._key} {operator} (?, ?)", cursor.value, cursor.id)

    def select(self, columns: str, limit: int | None = None) -> str:
        """Return the statement; with a limit, its rows are in order."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        statement = f"SELECT {columns} FROM {self.source}{where}"  # noqa: S608 - values are parameters
        if limit is None:
            return statement
        direction = "DESC" if self.order.is_descending else "ASC"
        name = f"{self.table}.{self.order.name}"
        return f"{statement} ORDER BY {name} {direction}, {self.table}.id {direction} LIMIT {int(limit)}"

    @property
    def _key(self) -> str:
        return f"({self.table}.{self.order.name}, {self.table}.id)"


def make_query(
    analysis_filter: AnalysisFilter, order: Order, rarest: Callable[[Sequence[Label]], Label | None]
) -> Query:
    """Return the query of a filter.

    Newest first, the query starts from the index of a filter's column, which continues with the time. In another order,
    it reads the index of the order instead: sorting all rows of a large data set for each page would take longer.

    Args:
        analysis_filter: The filter.
        order: The order.
        rarest: Returns the label from which a query starts; None if there are no labels.
    """
    query = Query(order)
    is_by_time = order.name == NEWEST_FIRST.name
    first = rarest(list(analysis_filter.labels.items())) if is_by_time else None
    if first is not None:
        query.source, query.table = "labels l CROSS JOIN analyses a ON a.id = l.id", "l"
        query.add("l.key = ? AND l.value = ?", *first)
    plus = "" if is_by_time and first is None else "+"  # a unary plus keeps SQLite from starting with this column
    for name in _EQUALITY:
        if value := getattr(analysis_filter, name):
            query.add(f"{plus}a.{name} = ?", value)
    if analysis_filter.states:
        names = state_names(analysis_filter.states)
        sign = plus if len(names) == 1 else "+"  # several states have no common order
        query.add(f"{sign}a.state IN ({', '.join('?' * len(names))})", *names)
    for label in analysis_filter.labels.items():
        if label != first:
            query.add(
                "EXISTS (SELECT 1 FROM labels m WHERE m.key = ? AND m.value = ? AND m.create_time = a.create_time "
                "AND m.id = a.id)",
                *label,
            )
    _add_ranges(query, analysis_filter, plus)
    return query


def _add_ranges(query: Query, analysis_filter: AnalysisFilter, plus: str) -> None:
    if prefix := analysis_filter.id_prefix:
        query.add(f"{plus}a.id >= ? AND {plus}a.id < ?", prefix, prefix + "\x7f")  # ids are ASCII
    for word in analysis_filter.words:
        query.add("instr(a.lower_name, ?) > 0", word)
    if analysis_filter.created_from is not None:
        query.add("a.create_time >= ?", microseconds(analysis_filter.created_from))
    if analysis_filter.created_before is not None:
        query.add("a.create_time < ?", microseconds(analysis_filter.created_before))
    if analysis_filter.ended_before is not None:
        query.add("a.end_time < ?", microseconds(analysis_filter.ended_before))
