"""Data frames, made by pandas and pyarrow from `errata-client[pandas]`."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from errata import v1 as pb
from errata.changes import changes_of
from errata.choices import enum_name
from errata.error_types import ErrorType, error_keys, find_error_type
from errata.errors import ErrataError, NotReady
from errata.groups import sort_groups
from errata.trend_metrics import metric_axes

if TYPE_CHECKING:
    import pandas as pd


CHANGE_COLUMNS = (
    *("group", "name", "samples", "only_a", "only_b", "rate_a", "rate_b", "difference", "low", "high"),
    *("p_value", "adjusted_p_value", "significant", "class_index"),
)
TREND_COLUMNS = (
    *("model", "analysis", "label", "requested", "num_analyses", "top1_accuracy", "multi_label_accuracy"),
    *("metric", "portion_of", "value", "percentile", "percentile_low", "percentile_high"),
)
_PREFIXES = {  # prefix of enum names by the start of the column's name
    "problematic": "PROBLEMATIC_TAG_",
    "rule_": "OUTCOME_",
    "answer_outcome": "ANSWER_OUTCOME_",
    "answer_relation": "ANSWER_RELATION_",
}


class MissingPackage(ErrataError, ImportError):
    """Raised when a package of an extra is not installed."""

    reason = "MISSING_PACKAGE"


def import_optional(module: str) -> Any:
    """Import a module of `errata-client[pandas]`.

    Raises:
        MissingPackage: If its package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"The package {module.partition('.')[0]!r} is not installed. "
            "Install errata-client[pandas] from a checkout (pip install './client[pandas]'), or from your package "
            "index."
        ) from error


def import_pandas() -> Any:
    """Import pandas; raise MissingPackage if pandas or pyarrow is not installed."""
    import_optional("pyarrow")
    return import_optional("pandas")


def verdicts_frame(content: bytes, limit: int | None) -> "pd.DataFrame":
    """Return exported verdicts as a data frame.

    Args:
        content: An Arrow IPC stream.
        limit: The maximum number of rows.
    """
    pandas, arrow = import_pandas(), import_optional("pyarrow")
    table = import_optional("pyarrow.ipc").open_stream(content).read_all()
    if limit is not None:
        table = table.slice(0, max(limit, 0))

    def arrow_type(column_type: Any) -> Any:
        """Keep lists and structures in Arrow: converting 50,000 rows of evidence to Python objects takes seconds."""
        return pandas.ArrowDtype(column_type) if arrow.types.is_nested(column_type) else None

    for position, name in enumerate(table.column_names):
        if prefix := next((prefix for start, prefix in _PREFIXES.items() if name.startswith(start)), ""):
            chunks = [_without_prefix(arrow, chunk, prefix) for chunk in table.column(position).chunks]
            table = table.set_column(position, name, arrow.chunked_array(chunks, table.schema.types[position]))
    return table.to_pandas(types_mapper=arrow_type)


def _without_prefix(arrow: Any, values: Any, prefix: str) -> Any:
    """Return a dictionary array of distinct names, in lowercase and without their prefix."""
    names = [name.replace(prefix, "").lower() for name in values.dictionary.to_pylist()]
    distinct = arrow.array(names, arrow.string()).dictionary_encode()  # older services repeat names
    indices = distinct.indices.cast(values.indices.type).take(values.indices)
    return arrow.DictionaryArray.from_arrays(indices, distinct.dictionary)


def analysis_rows(analysis: pb.Analysis) -> Iterator[dict[str, Any]]:
    """Yield a row for each group and error type of a finished analysis.

    Raises:
        NotReady: If the analysis has no summary.
    """
    if not analysis.HasField("summary"):
        state = enum_name(pb.Analysis.State, analysis.state)
        raise NotReady(
            f"{analysis.name or 'The analysis'} has no summary, because its state is {state}. "
            f"{analysis.failure.message or 'Pass it to client.wait first.'}"
        )
    for group in sort_groups(analysis.summary.groups):
        summary = analysis.summary.groups[group]
        for name in (ErrorType.CORRECT.key, *error_keys(summary.counts)):
            error_type = find_error_type(name)
            yield {
                "group": group,
                "error_type": name,
                "severity": error_type.severity.name.lower() if error_type else None,
                "count": summary.counts.get(name, 0),
                "samples": summary.num_samples,
                "portion_of_top1_errors": summary.portions_of_top1_errors.get(name),
                "portion_of_multi_label_errors": summary.portions_of_multi_label_errors.get(name),
                "top1_gain_if_fixed": summary.gain_if_fixed_top1.get(name),
                "multi_label_gain_if_fixed": summary.gain_if_fixed_multi_label.get(name),
                "evaluated": name not in analysis.summary.abstained,
            }


def comparison_rows(comparison: pb.Comparison) -> Iterator[dict[str, Any]]:
    """Yield a row for each group and pair of an error type in A and an error type in B."""
    for group in sort_groups(comparison.groups):
        rows = comparison.groups[group].transitions
        for transitions in rows:
            for other in rows:
                yield {
                    "group": group,
                    "error_type_a": transitions.error_type,
                    "error_type_b": other.error_type,
                    "count": transitions.counts.get(other.error_type, 0),
                }


def change_rows(comparison: pb.Comparison, kind: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each group and changed item of a kind in KINDS; raise InvalidRequest for other kinds."""
    for group in sort_groups(comparison.groups):
        for change in changes_of(comparison.groups[group], kind):
            yield {
                "group": group,
                "name": change.name,
                "samples": change.num_samples,
                "only_a": change.only_a,
                "only_b": change.only_b,
                "rate_a": change.share.a,
                "rate_b": change.share.b,
                "difference": change.share.difference,
                "low": change.share.low,
                "high": change.share.high,
                "p_value": change.test.p_value,
                "adjusted_p_value": change.test.adjusted_p_value,
                "significant": change.test.significant,
                "class_index": change.class_index,
            }


def trend_rows(trend: pb.Trend) -> Iterator[dict[str, Any]]:
    """Yield a row for each model and metric."""
    portions_of = {metric: portion_of for metric, (_, portion_of) in metric_axes(trend).items()}
    for model in trend.models:
        ranks = {rank.metric: rank for rank in model.percentile_ranks}
        for metric, value in sorted(model.values.items()):
            rank = ranks.get(metric, pb.PercentileRank())
            yield {
                "model": model.display_name,
                "analysis": model.analysis,
                "label": model.label,
                "requested": model.requested,
                "num_analyses": model.num_analyses,
                "top1_accuracy": model.top1_accuracy,
                "multi_label_accuracy": _optional(model, "multi_label_accuracy"),
                "metric": metric,
                "portion_of": portions_of.get(metric, ""),
                "value": value,
                "percentile": _optional(rank, "percentile"),
                "percentile_low": _optional(rank, "low"),
                "percentile_high": _optional(rank, "high"),
            }


def _optional(message: pb.TrendModel | pb.PercentileRank, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def frame_of(rows: Iterator[dict[str, Any]], columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Return rows as a data frame; raise MissingPackage if pandas or pyarrow is not installed.

    Args:
        rows: The rows.
        columns: The names of the columns. The data frame has these columns even if there are no rows.
    """
    return import_pandas().DataFrame(list(rows), columns=columns)
