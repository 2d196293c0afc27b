"""Analyses, breakdowns, and verdicts as tables and lines."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table

from errata import pb
from errata.choices import enum_name
from errata.cli.console import safe
from errata.cli.value_names import ClassKey, distinct_names
from errata.coverage import describe_coverage, partial_coverage_note
from errata.enums import AnswerOutcome, AnswerRelation, ExpertSeverity, Outcome, ProblematicTag, Severity
from errata.error_types import TOP1_ERROR_TYPES, error_keys, find_error_type, num_errors, severe_total, title_of
from errata.groups import sort_groups
from errata.messages import (
    CLASS_ACCURACY,
    IMAGE_ACCURACY,
    MISSING,
    PROBLEMATIC_TAG_NAMES,
    abstention_notes,
    answer_names,
    answer_note,
    answers_notes,
    attribute_note,
    cooccurrence_note,
    expert_note,
    format_count,
    format_optional,
    format_percentage,
    format_points,
    labels_accuracy_name,
    rejected_target_note,
    rejected_targets_note,
    rule_outcome,
    superclass_note,
    vocabulary_note,
)
from errata.names import dataset_id

IMPLAUSIBLE = " [yellow](implausible)[/]"
MAX_GROUPS = 4  # columns of a table
NARROW = 100  # columns below which a table has less detail
STYLES = {Severity.NONE: "cyan", Severity.MINOR: "blue", Severity.EXPLAINABLE: "yellow", Severity.SEVERE: "bold red"}


def new_table(*titles: str, left: int = 1, title: str | None = None, unbroken: Collection[str] = ()) -> Table:
    """Return an empty table without a frame. In a narrow terminal, long words continue on the next line of their cell.

    Args:
        titles: The titles of the columns.
        left: Number of columns that are aligned to the left, from the first one.
        title: The title of the table.
        unbroken: Titles of columns whose cells stay on one line, such as times and IDs, so that users can copy them.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for number, name in enumerate(titles):
        justify: JustifyMethod = "left" if number < left else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in unbroken)
    return table


def indented(text: str, columns: int, style: str = "none") -> Padding:
    """Return text with markup, with each line indented by a number of columns."""
    return Padding(text, (0, 0, 0, columns), style=style, expand=False)


def labeled(label: str, text: str, width: int | None = None) -> Table:
    """Return a label and a text, both with markup. All lines of the text start in the column after the label.

    Each text is a table of its own, so that no line ends with spaces in a pipe.

    Args:
        label: The label.
        text: The text.
        width: Width in columns of labels that are aligned to the right. None: the label has its own width.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="left" if width is None else "right", width=width, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(label, text)
    return table


def show_owner(analysis: pb.Analysis, console: Console) -> None:
    """Show the owner of an analysis, if it is known."""
    if analysis.owner:
        console.print(f"[dim]Owner: {safe(analysis.owner)}[/]")


def show_owner_and_coverage(analysis: pb.Analysis, console: Console) -> None:
    """Show the owner of an analysis, and its coverage if it does not cover all evaluated images."""
    show_owner(analysis, console)
    if note := partial_coverage_note(analysis):
        console.print(safe(note))


def show_abstentions(abstained: Collection[str], console: Console) -> None:
    """Show which rules have no evidence, and the effect on the counts."""
    for note in abstention_notes(abstained):
        console.print(f"[dim]{safe(note)}[/]")


def show_analysis(analysis: pb.Analysis, console: Console) -> None:
    """Show an analysis and its summary."""
    state = enum_name(pb.Analysis.State, analysis.state) + (IMPLAUSIBLE if analysis.implausible else "")
    console.print(
        f"[bold]{safe(analysis.display_name)}[/] on {safe(dataset_id(analysis.dataset))}: {state}  "
        f"[dim]{safe(analysis.name)}[/]"
    )
    show_owner(analysis, console)
    if analysis.HasField("failure"):
        console.print(f"[red]{safe(analysis.failure.reason)}[/]: {safe(analysis.failure.message)}")
    for warning in analysis.warnings:
        console.print(f"[yellow]Warning[/]: {safe(warning)}")
    if analysis.assumptions:
        console.print(f"[dim]Assumed: {safe(' '.join(analysis.assumptions))}[/]")
    if not analysis.HasField("summary"):
        return
    if coverage := describe_coverage(analysis):
        console.print(f"Coverage: {safe(coverage)}")
    names = sort_groups(analysis.summary.groups)
    for start in range(0, len(names), MAX_GROUPS):
        console.print(_summary_table(analysis, names[start : start + MAX_GROUPS], console.width < NARROW))
    groups_note = "An image can be in several groups. " if len(names) > 1 else ""
    console.print(f"[dim]{groups_note}Class mean: the mean over target classes.[/]")
    if analysis.summary.num_problematic:
        count = format_count(analysis.summary.num_problematic)
        console.print(f"[dim]Problematic images, which are excluded from all statistics: {count}.[/]")
    if analysis.summary.num_rejected_targets:
        console.print(f"[dim]{safe(rejected_targets_note(analysis.summary.num_rejected_targets))}[/]")
    show_abstentions(analysis.summary.abstained, console)
    if analysis.HasField("answers"):
        _show_answers(analysis.answers, console)


def _show_answers(answers: pb.AnswerMapping, console: Console) -> None:
    """Show how free-text answers were mapped to classes, and the most frequent answers without a class."""
    for note in answers_notes(answers):
        console.print(safe(note))
    table = new_table("answer", "names", "images", left=2, title="Answers without a class")
    for example in answers.examples:
        names = answer_names(AnswerOutcome(example.outcome), example.classes)
        table.add_row(safe(example.answer) or MISSING, safe(names), format_count(example.count))
    if answers.examples:
        console.print(table)


def _summary_table(analysis: pb.Analysis, names: Sequence[str], narrow: bool) -> Table:
    """Return the statistics of some groups."""
    summary = analysis.summary
    groups = [summary.groups[name] for name in names]
    table = new_table("", *map(safe, names))
    table.add_row("counted images", *(format_count(group.num_samples) for group in groups))
    table.add_row("top-1 accuracy", *(format_optional(group, "top1_accuracy") for group in groups))
    name = labels_accuracy_name(dataset_id(analysis.dataset), summary.num_rejected_targets)
    if any(group.HasField("accuracy_against_labels") for group in groups):
        table.add_row(name, *(format_optional(group, "accuracy_against_labels") for group in groups))
    table.add_row(IMAGE_ACCURACY, *(format_optional(group, "image_multi_label_accuracy") for group in groups))
    table.add_row(CLASS_ACCURACY, *(format_optional(group, "multi_label_accuracy") for group in groups))
    table.add_row("top-1 errors", *(format_count(group.top1_errors) for group in groups))
    if summary.num_rejected_targets:
        table.add_row("all errors", *(format_count(num_errors(group.counts)) for group in groups))
    for key in error_keys(key for group in groups for key in group.counts):
        cells = [MISSING] * len(groups)
        if key not in summary.abstained:
            cells = [_share(group, key, narrow and number > 0) for number, group in enumerate(groups)]
        table.add_row(_styled(key, "  "), *cells)
    return table


def show_breakdown(breakdown: pb.Breakdown, abstained: Collection[str], overlapping: bool, console: Console) -> None:
    """Show a breakdown by class or superclass: most model failures first, without empty rows."""
    evaluated = {error_type.severity for error_type in TOP1_ERROR_TYPES if error_type.key not in abstained}
    table = new_table("", "images", "multi-label", "noise", "minor", "explainable", "failures", "gain")
    names = distinct_names((row.class_index, row.display_name) for row in breakdown.rows)
    for row in sorted(breakdown.rows, key=lambda row: -severe_total(row.counts)):
        if not row.num_samples:
            continue
        by_severity = dict.fromkeys(Severity, 0)
        for error_type in TOP1_ERROR_TYPES:
            by_severity[error_type.severity] += row.counts[error_type.key]
        accuracy = format_optional(row, "multi_label_accuracy")
        counts = [
            format_count(by_severity[severity]) if severity in evaluated else MISSING for severity in list(Severity)[1:]
        ]
        gain = format_points(severe_total(row.gain_if_fixed_multi_label))
        name = names[row.class_index, row.display_name]
        table.add_row(safe(name), format_count(row.num_samples), accuracy, *counts, gain)
    console.print(table)
    console.print("[dim]gain: rise of multi-label accuracy in percentage points if there were no model failures.[/]")
    if overlapping:
        console.print("[dim]If a class has several superclasses, the gains do not add up.[/]")


def show_verdicts(verdicts: Iterable[pb.Verdict], console: Console) -> None:
    """Show verdicts, with their evidence if they have it."""
    for verdict in verdicts:
        title, names = _styled(verdict.error_type), _class_names(verdict)
        target = (verdict.target, verdict.target_name)
        if verdict.rejected_target:
            target = (verdict.effective_target, verdict.effective_target_name)
        classes = f"[bold]{safe(names[target])}[/]"
        if verdict.rejected_target or verdict.predicted != verdict.target:
            classes += f" predicted as [bold]{safe(names[verdict.predicted, verdict.predicted_name])}[/]"
        if verdict.HasField("probability"):
            classes += f" ({format_percentage(verdict.probability)})"
        console.print(f"{title}  {safe(verdict.file_name)}: {classes}")
        if verdict.rejected_target:
            console.print(indented(safe(rejected_target_note(names[verdict.target, verdict.target_name])), 4, "dim"))
        if verdict.problematic:
            tags = ", ".join(PROBLEMATIC_TAG_NAMES[ProblematicTag(tag)] for tag in verdict.problematic)
            console.print(indented(f"problematic, excluded from all statistics: {safe(tags)}", 4, "yellow"))
        if verdict.answer_outcome:
            outcome, relation = AnswerOutcome(verdict.answer_outcome), AnswerRelation(verdict.answer_relation)
            console.print(indented(safe(answer_note(verdict.answer, outcome, relation)), 4, "dim"))
        if verdict.HasField("evidence"):
            for line in evidence_lines(verdict):
                console.print(indented(safe(line), 4, "dim"))


def evidence_lines(verdict: pb.Verdict) -> Iterator[str]:
    """Yield the evidence of a verdict in sentences, and the outcome of each rule."""
    evidence, names = verdict.evidence, _class_names(verdict)
    yield f"Labels: {', '.join(names[label.class_index, label.class_name] for label in evidence.labels) or 'none'}"
    if evidence.overlap:
        yield evidence.overlap
    predicted = names[verdict.predicted, verdict.predicted_name]
    for shared in evidence.shared_superclasses:
        if shared.label != verdict.predicted:
            yield superclass_note(predicted, names[shared.label, shared.label_name], shared.superclasses)
    if evidence.HasField("vocabulary"):
        best = [(text.text, text.probability) for text in evidence.vocabulary.best]
        vocabulary = evidence.vocabulary
        yield vocabulary_note(predicted, vocabulary.gate, vocabulary.num_texts, best, vocabulary.prefers_label)
    for pair in evidence.co_occurrences:
        yield cooccurrence_note(predicted, names[pair.label, pair.label_name], pair.count, pair.examples)
    if evidence.HasField("expert_judgment"):
        judgment = evidence.expert_judgment
        yield expert_note(judgment.error_type, ExpertSeverity(judgment.severity))
    for item in evidence.attributes:
        yield attribute_note(item.attribute, item.values)
    steps = [step for step in evidence.trace if step.outcome != pb.OUTCOME_NOT_REACHED]
    outcomes = [rule_outcome(step.error_type, step.note, Outcome(step.outcome)) for step in steps]
    yield f"Rules: {' · '.join(outcomes)}"


def _class_names(verdict: pb.Verdict) -> Mapping[ClassKey, str]:
    """Return the names of the classes of a verdict and its evidence."""
    evidence = verdict.evidence
    return distinct_names(
        [
            *((label.class_index, label.class_name) for label in evidence.labels),
            *((shared.label, shared.label_name) for shared in evidence.shared_superclasses),
            *((pair.label, pair.label_name) for pair in evidence.co_occurrences),
            (verdict.effective_target, verdict.effective_target_name),
            (verdict.target, verdict.target_name),
            (verdict.predicted, verdict.predicted_name),
        ]
    )


def _styled(key: str, indent: str = "") -> str:
    """Return the title of an error type in the color of its severity."""
    error_type = find_error_type(key)
    title = f"{indent}{safe(title_of(key))}"
    return f"[{STYLES[error_type.severity]}]{title}[/]" if error_type else title


def _share(group: pb.GroupSummary, key: str, percentage_only: bool) -> str:
    count, errors = group.counts[key], num_errors(group.counts)
    percentage = format_percentage(count / errors if errors else None)
    return percentage if percentage_only else f"{format_count(count)} {percentage:>8}"
