"""What people and programs see: JSON on stdout, tables and progress on stderr or stdout, folders of results."""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from errata import Client, pb
from errata.errors import InvalidInput
from errata.json_input import parse_json
from errata.messages import (
    ERROR_TYPE_TITLES,
    PROBLEMATIC_TAG_NAMES,
    abstention_note,
    cooccurrence_note,
    format_count,
    format_percentage,
    rule_outcome,
    superclass_note,
    vocabulary_note,
)
from google.protobuf.json_format import ParseDict, ParseError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from service import wire
from service.domain import ERROR_TYPES, SEVERITY, ErrorType, Outcome, ProblematicTag, Severity
from service.storage import write_file

WIDE = 200  # columns
MAX_SUMMARY = 1 << 20  # bytes of a summary.json
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
SUMMARY, VERDICTS, REPORT = "summary.json", "verdicts.jsonl", "report.html"
STYLES = {Severity.NONE: "cyan", Severity.MINOR: "blue", Severity.EXPLAINABLE: "yellow", Severity.SEVERE: "bold red"}


def people() -> Console:
    """Return where people are told what happens: stderr."""
    return _console(stderr=True)


def results() -> Console:
    """Return where results for people go: stdout."""
    return _console(stderr=False)


def _console(stderr: bool) -> Console:
    """Return a console, as wide as its tables need where it is no terminal."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)


def print_json(text: str) -> None:
    """Write a document to stdout."""
    click.echo(text)


def follow(client: Client, name: str, console: Console) -> pb.Analysis:
    """Show the progress of an analysis until it ends; return it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    latest = client.get(name)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("queued", total=None, rate="")
        for latest in client.watch(name):
            at = latest.progress
            rate = f"{at.images_per_second:,.0f} images/s" if at.HasField("images_per_second") else ""
            progress.update(task, description=_stage(latest), completed=at.done, total=at.total or None, rate=rate)
    return latest


def show_analysis(analysis: pb.Analysis, console: Console) -> None:
    """Show an analysis and its summary."""
    state = pb.State.Name(analysis.state).removeprefix("STATE_").lower()
    console.print(
        f"[bold]{shown(analysis.display_name)}[/] on {shown(analysis.dataset)}: {state}  [dim]{analysis.name}[/]"
    )
    if analysis.HasField("failure"):
        console.print(f"[red]{analysis.failure.reason}[/]: {shown(analysis.failure.message)}")
    for warning in analysis.warnings:
        console.print(f"[yellow]warning[/]: {shown(warning)}")
    if not analysis.HasField("summary"):
        return
    groups = analysis.summary.groups
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("all", "organism", "artifact", "other"):
        table.add_column(name, justify="right")
    columns = [groups[name] for name in ("all", "organism", "artifact", "other")]
    table.add_row("images judged", *(format_count(column.num_samples) for column in columns))
    table.add_row("top-1 accuracy", *(format_percentage(_rate(column, "top1_accuracy")) for column in columns))
    table.add_row(
        "multi-label accuracy", *(format_percentage(_rate(column, "multi_label_accuracy")) for column in columns)
    )
    table.add_row("top-1 errors", *(format_count(column.top1_errors) for column in columns))
    for error_type in ERROR_TYPES[1:]:
        silent = int(error_type) in [int(item) for item in analysis.summary.abstained]
        counts = ["–" if silent else _count(column, error_type) for column in columns]
        table.add_row(f"[{STYLES[SEVERITY[error_type]]}]  {ERROR_TYPE_TITLES[error_type]}[/]", *counts)
    console.print(table)
    console.print("[dim]An image may be in several groups. Multi-label accuracy is a mean over classes.[/]")
    if analysis.summary.num_problematic:
        aside = format_count(analysis.summary.num_problematic)
        console.print(f"[dim]{aside} images that the annotators found problematic are set aside, counted nowhere.[/]")
    abstained = [ErrorType(value) for value in analysis.summary.abstained]
    for error_type in abstained:
        after = [
            error_type_ for error_type_ in ERROR_TYPES if error_type_ > error_type and error_type_ not in abstained
        ]
        console.print(f"[dim]Abstained: {abstention_note(error_type, after)}[/]")


def show_breakdown(breakdown: pb.Breakdown, overlapping: bool, console: Console) -> None:
    """Show the verdicts row by row, those with the most severe errors first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for title in ("images", "multi-label", "noise", "minor", "explainable", "failures", "gain if failures fixed"):
        table.add_column(title, justify="right")
    for row in sorted(breakdown.rows, key=lambda row: -row.counts["MODEL_FAILURE"]):
        by_severity = dict.fromkeys(Severity, 0)
        for error_type in ERROR_TYPES[1:]:
            by_severity[SEVERITY[error_type]] += row.counts[error_type.name]
        accuracy = row.multi_label_accuracy if row.HasField("multi_label_accuracy") else None
        counts = [format_count(by_severity[severity]) for severity in list(Severity)[1:]]
        gain = f"{100 * row.gain_if_fixed_multi_label['MODEL_FAILURE']:.2f} points"
        table.add_row(shown(row.name), format_count(row.num_samples), format_percentage(accuracy), *counts, gain)
    console.print(table)
    if overlapping:
        console.print("[dim]Superclasses overlap, so their gains don't add up.[/]")


def show_verdicts(verdicts: Iterable[pb.Verdict], console: Console) -> None:
    """Show verdicts, each with its reasons where they came."""
    for verdict in verdicts:
        error_type = ErrorType(verdict.error_type)
        probability = f" ({format_percentage(verdict.probability)})" if verdict.HasField("probability") else ""
        console.print(
            f"[{STYLES[SEVERITY[error_type]]}]{ERROR_TYPE_TITLES[error_type]}[/]  {shown(verdict.file_name)}: "
            f"[bold]{shown(verdict.target_name)}[/] taken for [bold]{shown(verdict.predicted_name)}[/]{probability}"
            if verdict.predicted != verdict.target
            else f"{ERROR_TYPE_TITLES[error_type]}  {shown(verdict.file_name)}: "
            f"[bold]{shown(verdict.target_name)}[/]{probability}"
        )
        if verdict.problematic:
            tags = ", ".join(PROBLEMATIC_TAG_NAMES[ProblematicTag(item)] for item in verdict.problematic)
            console.print(f"    set aside, counted nowhere: {shown(tags)}", style="yellow")
        if verdict.HasField("evidence"):
            for reason in reasons(verdict):
                console.print(f"    {shown(reason)}", style="dim")


def reasons(verdict: pb.Verdict) -> Iterator[str]:
    """Yield the evidence of a verdict in sentences, and what each rule said."""
    evidence = verdict.evidence
    labels = ", ".join(label.class_name for label in evidence.labels) or "nothing that has a class"
    yield f"in the image: {labels}"
    if evidence.overlap:
        yield evidence.overlap
    predicted = verdict.predicted_name
    for shared in evidence.shared_superclasses:
        if shared.label != verdict.predicted:
            yield superclass_note(predicted, shared.label_name, shared.superclasses)
    if evidence.HasField("vocabulary"):
        best = [(item.text, item.probability) for item in evidence.vocabulary.best]
        yield vocabulary_note(predicted, evidence.vocabulary.gate, evidence.vocabulary.num_texts, best)
    for together in evidence.co_occurrences:
        yield cooccurrence_note(predicted, together.label_name, together.count, together.examples)
    asked = [step for step in evidence.trace if step.outcome != pb.OUTCOME_NOT_REACHED]
    said = [rule_outcome(ErrorType(step.error_type), step.note, Outcome(step.outcome)) for step in asked]
    yield "rules asked: " + " · ".join(said)


def make_folder(folder: Path) -> None:
    """Make the folder for results; raise InvalidInput, before any work is done, if it can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"can't write to {folder}: {error.strerror}", field="output") from error


def write_folder(client: Client, analysis: pb.Analysis, folder: Path) -> None:
    """Write summary.json, verdicts.jsonl and report.html into a folder, the summary last."""
    try:
        write_file(folder / VERDICTS, b"".join(client.export(analysis.name)))
        write_file(folder / REPORT, client.report(analysis.name))
        write_file(folder / SUMMARY, f"{wire.to_json(analysis)}\n".encode())
    except OSError as error:
        raise InvalidInput(f"can't write to {folder}: {error.strerror}", field="output") from error


def write(file: Path, content: bytes) -> None:
    """Write a file that a command was asked for; raise InvalidInput where it can't be.

    What is no plain file, such as a pipe, is written to and never replaced; a link stays one.
    """
    try:
        target = file.resolve()
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                stream.write(content)
        else:
            write_file(target, content)
    except OSError as error:
        raise InvalidInput(f"can't write {file}: {error.strerror}", field="output") from error


def read(file: Path, limit: int) -> bytes:
    """Return the content of a plain file; raise OSError for any other, or for more bytes than the limit."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as content:
        result = os.fstat(content.fileno())
        if not stat.S_ISREG(result.st_mode):
            raise OSError(errno.EINVAL, "no plain file")
        if result.st_size > limit:
            raise OSError(errno.EFBIG, f"more than {limit} bytes")
        return content.read()


def shown(text: str) -> str:
    """Return text as a terminal may show it: no markup of rich's, and nothing that steers a terminal."""
    return escape(_STEERING.sub("\N{REPLACEMENT CHARACTER}", text))


def tell_written(output: Path | None) -> None:
    """Say where a file was written, if it was."""
    if output is not None:
        people().print(f"written: {output}", markup=False)


def analysis_name(given: str) -> str:
    """Return the name of an analysis that is given as a name, an id or a folder that --output wrote."""
    return read_folder(Path(given)).name if is_folder(given) else given


def is_folder(name: str) -> bool:
    """Say whether an analysis is given as a folder that --output wrote."""
    try:
        return (Path(name) / SUMMARY).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_folder(folder: Path) -> pb.Analysis:
    """Return the analysis of a folder that --output wrote; raise InvalidInput if it isn't one."""
    file = folder / SUMMARY
    try:
        return ParseDict(parse_json(read(file, MAX_SUMMARY)), pb.Analysis())
    except (OSError, ValueError, TypeError, AttributeError, SystemError, ParseError) as error:
        raise InvalidInput(f"{file}: expected an analysis that errata wrote, got {error!s:.200}") from error


def _stage(analysis: pb.Analysis) -> str:
    if analysis.state == pb.STATE_QUEUED:
        if analysis.progress.HasField("live_workers") and not analysis.progress.live_workers:
            return "queued; no worker is alive"
        return f"queued, {analysis.progress.queue_position} before it"
    if analysis.state == pb.STATE_RUNNING and not analysis.progress.done:
        return "loading the model"
    return "predicting"


def _count(group: pb.GroupSummary, error_type: ErrorType) -> str:
    count = group.counts[error_type.name]
    return f"{format_count(count)}  {format_percentage(count / group.top1_errors if group.top1_errors else None):>7}"


def _rate(group: pb.GroupSummary, name: str) -> float | None:
    return getattr(group, name) if group.HasField(name) else None  # type: ignore[arg-type]
