"""Small HTML tables of results, for notebooks."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from errata import v1 as pb
from errata.accuracies import find_class_accuracy
from errata.changes import changes_of
from errata.coverage import partial_coverage_note
from errata.enums import State
from errata.error_types import error_keys, num_errors, title_of
from errata.groups import ALL, group_title, sort_groups
from errata.messages import (
    CLASS_ACCURACY,
    IMAGE_ACCURACY,
    METRIC_NAMES,
    MISSING,
    STATE_NAMES,
    abstention_notes,
    error_noun,
    format_change,
    format_count,
    format_optional,
    format_p_value,
    format_percentage,
    format_range,
    labels_accuracy_name,
    pluralize,
    rejected_targets_note,
)
from errata.names import dataset_id
from errata.trend_metrics import model_title, value_title

MAX_MODELS = 20  # rows of a trend
MAX_CHANGES = 10  # rows of each table of changes
_METRICS = {"top1": "top-1 accuracy", "multi_label": IMAGE_ACCURACY, "severe": "model failures"}


def analysis_html(analysis: pb.Analysis) -> str:
    """Return an analysis as HTML: its state, and the counts and portions of its error types in each group."""
    title = f"{analysis.display_name} on {dataset_id(analysis.dataset)}: {STATE_NAMES[State(analysis.state)]}"
    notes = [*analysis.warnings]
    if analysis.assumptions:
        notes.append(f"Assumed: {' '.join(analysis.assumptions)}")
    if analysis.HasField("failure"):
        notes.append(f"{analysis.failure.reason}: {analysis.failure.message}")
    if not analysis.HasField("summary"):
        if analysis.progress.total:
            done, total = format_count(analysis.progress.done), format_count(analysis.progress.total)
            notes.append(f"Predicted images: {done} of {total}.")
        return _document(title, [], notes)
    abstained = analysis.summary.abstained
    if analysis.summary.num_rejected_targets:
        notes.append(rejected_targets_note(analysis.summary.num_rejected_targets))
    notes += abstention_notes(abstained)
    notes += filter(None, [partial_coverage_note(analysis)])
    groups = sort_groups(analysis.summary.groups)
    summaries = [analysis.summary.groups[group] for group in groups]
    labels_accuracy = labels_accuracy_name(dataset_id(analysis.dataset), analysis.summary.num_rejected_targets)
    rows = [
        ("images", [format_count(summary.num_samples) for summary in summaries]),
        ("top-1 accuracy", [format_optional(summary, "top1_accuracy") for summary in summaries]),
        (labels_accuracy, [format_optional(summary, "accuracy_against_labels") for summary in summaries]),
        (IMAGE_ACCURACY, [format_optional(summary, "image_multi_label_accuracy") for summary in summaries]),
        (CLASS_ACCURACY, [format_optional(summary, "multi_label_accuracy") for summary in summaries]),
        ("top-1 errors", [format_count(summary.top1_errors) for summary in summaries]),
    ]
    if analysis.summary.num_rejected_targets:
        rows.append(("all errors", [format_count(num_errors(summary.counts)) for summary in summaries]))
    for key in error_keys(key for summary in summaries for key in summary.counts):
        cells = [MISSING if key in abstained else _count_and_portion(summary, key) for summary in summaries]
        rows.append((title_of(key), cells))
    noun = error_noun(analysis.summary.num_rejected_targets)
    caption = f"Error types, and their percentages of the {noun}s"
    return _document(title, [_table(caption, ["", *(group_title(group) for group in groups)], rows)], notes)


def comparison_html(comparison: pb.Comparison) -> str:
    """Return a comparison as HTML: rates with their intervals, and the transitions between error types."""
    title = f"A: {comparison.display_name_a}, B: {comparison.display_name_b}, on {dataset_id(comparison.dataset)}"
    notes = [comparison.headline] if comparison.headline else []
    notes += abstention_notes(comparison.abstained)
    if comparison.num_left_out:
        notes.append(f"Only one of the analyses has a prediction for {pluralize(comparison.num_left_out, 'image')}.")
    if ALL not in comparison.groups:
        return _document(title, [], notes)
    everything = comparison.groups[ALL]
    intervals = {_METRICS[name]: everything.rates[name] for name in _METRICS if name in everything.rates}
    if everything.HasField("accuracy_against_labels"):
        name = labels_accuracy_name(dataset_id(comparison.dataset), comparison.num_rejected_targets)
        intervals[name] = everything.accuracy_against_labels
    if (accuracy := find_class_accuracy(everything)) is not None:
        intervals[CLASS_ACCURACY] = accuracy
    rates = [
        (
            name,
            [
                format_percentage(interval.a),
                format_percentage(interval.b),
                format_change(interval),
                format_range(interval),
            ],
        )
        for name, interval in intervals.items()
    ]
    keys = [transitions.error_type for transitions in everything.transitions]
    abstained = {*comparison.abstained}
    counts = [
        (
            title_of(transitions.error_type),
            [
                MISSING if {key, transitions.error_type} & abstained else format_count(transitions.counts.get(key, 0))
                for key in keys
            ],
        )
        for transitions in everything.transitions
    ]
    rate_header = ["", "A", "B", "change, points", "95 % interval"]
    tables = [
        _table("Rates over all images", rate_header, rates),
        _table(
            "Images by error type in A (rows) and in B (columns)",
            ["", *map(title_of, keys)],
            counts,
        ),
        *_change_tables(everything),
    ]
    return _document(title, tables, notes)


def _change_tables(group: pb.GroupComparison) -> Iterator[str]:
    """Yield a table for each kind of change: error types, superclasses, and classes."""
    header = ["", "only A", "only B", "change, points", "95 % interval", "p", "adjusted p"]
    for caption, name in (
        ("Error types with changes", "error_type"),
        ("Superclasses with changed errors", "superclass"),
        ("Classes with changed errors", "class"),
    ):
        rows = [
            (
                title_of(change.name) if name == "error_type" else change.name,
                [
                    format_count(change.only_a),
                    format_count(change.only_b),
                    format_change(change.share),
                    format_range(change.share),
                    format_p_value(change.test.p_value),
                    format_p_value(change.test.adjusted_p_value),
                ],
            )
            for change in changes_of(group, name)
        ]
        if rows:
            total = f": {MAX_CHANGES} of {format_count(len(rows))}" if len(rows) > MAX_CHANGES else ""
            yield _table(f"{caption}{total}", header, rows[:MAX_CHANGES])


def trend_html(trend: pb.Trend) -> str:
    """Return a trend as HTML: metrics and percentiles of the requested models, or else of the most accurate models."""
    models = [model for model in trend.models if model.requested]
    models = models or sorted(trend.models, key=lambda model: -model.top1_accuracy)
    notes = [*trend.notes]
    if len(models) > MAX_MODELS:
        notes.append(f"Showing {MAX_MODELS} of {format_count(len(models))} models. to_pandas() returns all of them.")
    names = [metric for metric in METRIC_NAMES if any(metric in model.values for model in models)]
    rows = []
    for model in models[:MAX_MODELS]:
        ranks = {rank.metric: rank for rank in model.percentile_ranks if rank.HasField("percentile")}
        cells = [format_percentage(model.top1_accuracy)]
        for name in names:
            value = format_percentage(model.values.get(name))
            rank = ranks.get(name)
            cells.append(value if rank is None else f"{value} ({_percentile(rank)})")
        rows.append((model_title(model), cells))
    header = ["", "top-1 accuracy", *(value_title(trend, name) for name in names)]
    return _document(
        f"Trend on {dataset_id(trend.dataset)}", [_table("Models, and their percentages", header, rows)], notes
    )


def _percentile(rank: pb.PercentileRank) -> str:
    """Return a percentile with its interval, such as "percentile 40, 20 to 65"."""
    interval = f", {100 * rank.low:.0f} to {100 * rank.high:.0f}" if rank.HasField("low") else ""
    return f"percentile {100 * rank.percentile:.0f}{interval}"


def _document(title: str, tables: Sequence[str], notes: Iterable[str]) -> str:
    paragraphs = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f'<div class="errata-result"><p><strong>{escape(title)}</strong></p>{"".join(tables)}{paragraphs}</div>'


def _table(caption: str, header: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    columns = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in header)
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(_table_rows(rows))}</tbody></table>"
    )


def _table_rows(rows: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    for name, cells in rows:
        values = "".join(f'<td style="text-align: right">{escape(cell)}</td>' for cell in cells)
        yield f'<tr><th scope="row" style="text-align: left">{escape(name)}</th>{values}</tr>'


def _count_and_portion(summary: pb.GroupSummary, key: str) -> str:
    count = summary.counts.get(key, 0)
    errors = num_errors(summary.counts)
    portion = count / errors if errors else None
    return f"{format_count(count)} ({format_percentage(portion)})"
