"""errata compare, trend, gate: what changed, what is normal at this accuracy, and whether to ship."""

import json
import re
import time
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service import wire
from service.analyses.policy import MAX_BYTES, parse_policy, policy_schema
from service.cli import folders
from service.cli.connect import connected, json_option, server_options
from service.cli.main import ANALYSIS_FAILED, DONE, GATE_FAILED, GATE_UNDECIDED
from service.cli.output import analysis_name, is_folder, people, print_json, results
from service.client import Client, pb
from service.domain import ErrorType, Group, Metric
from service.errors import InvalidInput, InvalidRequest, NotComparable, Unavailable
from service.report.comparison_view import comparison_view
from service.report.junit import to_junit
from service.report.markdown import to_markdown
from service.report.render import render_comparison, render_trend
from service.report.trend_view import trend_view
from service.report.view import headline_of
from service.report.words import ERROR_TYPE_WORDS, METRIC_WORDS, number, points, share
from service.storage import write_file

GROUPS = [group.value for group in Group]
LOOK_SECONDS = 1.0  # between two looks at an analysis that isn't finished
EXIT_CODES = {
    pb.GATE_DECISION_PASS: DONE,
    pb.GATE_DECISION_FAIL: GATE_FAILED,
    pb.GATE_DECISION_UNDECIDED: GATE_UNDECIDED,
    pb.GATE_DECISION_PENDING: GATE_UNDECIDED,
    pb.GATE_DECISION_ERROR: ANALYSIS_FAILED,
}
STYLES = {"pass": "green", "fail": "bold red", "undecided": "yellow", "pending": "yellow", "error": "bold red"}
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the comparison as HTML.")
@click.option("--most", default=10, show_default=True, help="How many fixed and broken images to show.")
@click.option("--reanalyze", is_flag=True, help="Judge B anew with A's evidence, if it was judged with another.")
@json_option
@server_options
def compare(
    a: str, b: str, output: Path | None, most: int, reanalyze: bool, as_json: bool, server: str | None, local: bool
) -> None:
    """Say what changed from A to B: two analyses of the same images, by name or as folders of --output."""
    if folders.all_folders([a, b]) and not reanalyze:
        one, other = folders.read(a), folders.read(b)
        found = folders.compare(one, other)
        message = wire.to_comparison(found)
        if output is not None:
            assert one.analysis.summary is not None and other.analysis.summary is not None, "this is a bug: finished"
            view = comparison_view(found, one.analysis.summary, other.analysis.summary)
            _write(output, render_comparison(view).encode())
    else:
        with connected(server, local) as client:
            name_a, name_b = analysis_name(a), analysis_name(b)
            try:
                message = client.compare(name_a, name_b)
            except NotComparable:
                first, second = client.get(name_a), client.get(name_b)
                if not reanalyze or first.dataset != second.dataset:
                    raise
                name_b = client.reanalyze(second.name, first.evidence).name
                people().print(f"judged anew with A's evidence: {name_b}")
                message = client.compare(name_a, name_b)
            if output is not None:
                _write(output, client.comparison_report(name_a, name_b))
    if as_json:
        print_json(wire.to_json(message))
    else:
        _show_comparison(message, most)
    _tell_written(output)


@click.command()
@click.argument("analyses", nargs=-1, metavar="[A …]")
@click.option("--dataset", default="", help="Without A: the data set (default: imagenet-real).")
@click.option("--group", type=click.Choice(GROUPS), default="all", show_default=True, help="Whose errors.")
@click.option(
    "--by", default="", metavar="LABEL", help="Tell models apart: architecture, size, pre-training, or your own."
)
@click.option(
    "--reference", type=click.Path(path_type=Path), metavar="FILE", help="Published models, in the authors' CSV layout."
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the trend as HTML.")
@json_option
@server_options
def trend(
    analyses: tuple[str, ...],
    dataset: str,
    group: str,
    by: str,
    reference: Path | None,
    output: Path | None,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Say where analyses (default: all stored ones) stand among models of their accuracy."""
    published = _read(reference) if reference is not None else b""
    if folders.all_folders(analyses):
        found = folders.trend([folders.read(each) for each in analyses], Group(group), by, published)
        message = wire.to_trend(found)
        if output is not None:
            _write(output, render_trend(trend_view(found)).encode())
    else:
        request = pb.GetTrendRequest(
            names=[analysis_name(each) for each in analyses],
            dataset=dataset or ("" if analyses else "imagenet-real"),
            group=f"GROUP_{Group(group).name}",
            by=by,
            reference=published,
        )
        with connected(server, local) as client:
            message = client.trend(request)
            if output is not None:
                _write(output, client.trend_report(request))
    if as_json:
        print_json(wire.to_json(message))
    else:
        _show_trend(message)
    _tell_written(output)


@click.command()
@click.argument("analysis", required=False)
@click.option("--policy", type=click.Path(path_type=Path), metavar="FILE", help="The policy, YAML.")
@click.option("--baseline", default="", metavar="B", help="What changes are held against: an analysis.")
@click.option("--wait", "patience", metavar="DURATION", help="Wait so long for the analysis, such as 90s, 30m or 1h.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the result as JUnit XML.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write the result as Markdown.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of policies, and nothing else.")
@json_option
@server_options
@click.pass_context
def gate(
    ctx: click.Context,
    analysis: str | None,
    policy: Path | None,
    baseline: str,
    patience: str | None,
    junit: Path | None,
    markdown: Path | None,
    schema: bool,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Hold ANALYSIS against a policy: exit code 0 pass, 1 fail, 5 undecided or pending, 4 the analysis failed."""
    if schema:
        print_json(json.dumps(policy_schema(), indent=2))
        return
    if analysis is None:
        raise InvalidRequest("expected an analysis, got none", field="analysis")
    text = read_policy(policy) if policy is not None else ""
    seconds = duration(patience) if patience is not None else 0.0
    if is_folder(analysis) and text and (not baseline or is_folder(baseline)):
        folder = folders.read(analysis)
        found = folders.gate(parse_policy(text), folder, folders.read(baseline) if baseline else None)
        message, title = wire.to_gate_result(found), folder.analysis.title
        assert folder.analysis.summary is not None, "this is a bug: a folder has a summary"
        headline = headline_of(title, folder.analysis.summary)
    else:
        with connected(server, local) as client:
            name = analysis_name(analysis)
            against = analysis_name(baseline) if baseline else ""
            message = awaited(client, name, text, against, seconds)
            title, headline = told(client.get(name))
    write_gate(message, title, headline, junit, markdown)
    if as_json:
        print_json(wire.to_json(message))
    else:
        show_gate(message, results())
    ctx.exit(EXIT_CODES[message.decision])


def awaited(client: Client, name: str, policy: str, baseline: str, seconds: float) -> pb.GateResult:
    """Return a gate's result, once it is no longer pending or the time is over; a service that is away may return."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = client.gate(name, policy, baseline)
        except Unavailable:
            if time.monotonic() + LOOK_SECONDS > end:
                raise
        else:
            if found.decision != pb.GATE_DECISION_PENDING or time.monotonic() + LOOK_SECONDS > end:
                return found
        time.sleep(LOOK_SECONDS)


def told(analysis: pb.Analysis) -> tuple[str, str]:
    """Return what people call an analysis, and the sentence that sums it up; empty without a result."""
    if not analysis.HasField("summary"):
        return analysis.display_name, ""
    found = wire.from_analysis(analysis)
    assert found.summary is not None, "this is a bug: the message has a summary"
    return found.title, headline_of(found.title, found.summary)


def read_policy(file: Path) -> str:
    """Return the text of a policy that is in order; raise InvalidPolicy with its lines."""
    try:
        with file.open("rb") as content:
            text = content.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="policy") from error
    parse_policy(text)
    return text.decode()


def duration(text: str) -> float:
    """Return seconds of `90`, `90s`, `30m` or `1h30m`; raise InvalidRequest for anything else."""
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise InvalidRequest(f"expected a duration such as 90s, 30m or 1h, got {text!r:.40}", field="wait")
    hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def write_gate(message: pb.GateResult, title: str, headline: str, junit: Path | None, markdown: Path | None) -> None:
    """Write a gate's result in the forms that pipelines read."""
    if junit is not None:
        _write(junit, to_junit(wire.told_gate(message), title))
    if markdown is not None:
        _write(markdown, to_markdown(wire.told_gate(message), title, headline).encode())


def show_gate(message: pb.GateResult, console: Console) -> None:
    """Show a gate's decision and its reasons."""
    word = pb.GateDecision.Name(message.decision).removeprefix("GATE_DECISION_").lower()
    console.print(f"[{STYLES[word]}]{word.upper()}[/]  {escape(message.policy)}")
    for reason in message.reasons:
        word = pb.GateDecision.Name(reason.decision).removeprefix("GATE_DECISION_").lower()
        name = f"{escape(reason.bound)}: " if reason.bound else ""
        console.print(f"  [{STYLES[word]}]{word:>9}[/]  {name}{escape(reason.message)}", soft_wrap=True)


def _show_comparison(found: pb.Comparison, most: int) -> None:
    console = results()
    title = f"{found.display_name_a} → {found.display_name_b}"
    console.print(f"[bold]{escape(title)}[/] on {escape(found.dataset)}: {escape(found.verdict)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rate")
    for name in ("A", "B", "A − B, points", "95 % interval"):
        table.add_column(name, justify="right")
    everything = found.groups["all"]
    rows = [("top-1 accuracy", everything.rates["top1"]), ("multi-label accuracy", everything.multi_label_accuracy)]
    rows += [("severe error rate", everything.rates["severe"])] if everything.num_samples else []
    for name, rate in rows if everything.num_samples else []:
        interval = f"{points(rate.low)} to {points(rate.high)}"
        table.add_row(name, share(rate.a), share(rate.b), points(rate.difference), interval)
    console.print(table)
    for what, flips, total in (
        ("broken", found.broken, everything.broken),
        ("fixed", found.fixed, everything.fixed),
    ):
        for each in flips[: max(0, most)]:
            kinds = [ERROR_TYPE_WORDS[ErrorType(kind)].title for kind in (each.error_type_a, each.error_type_b)]
            console.print(
                f"  {what}  {escape(each.file_name)}: {escape(each.target_name)}, {escape(each.predicted_a_name)} "
                f"({kinds[0]}) → {escape(each.predicted_b_name)} ({kinds[1]})"
            )
        if total > most > 0:
            people().print(f"{number(most)} of {number(total)} {what}; --most shows more")
    if found.num_left_out:
        people().print(f"{number(found.num_left_out)} images that only one of both has a prediction for are left out")


def _show_trend(found: pb.Trend) -> None:
    console = results()
    own = [model for model in found.models if model.asked] or [model for model in found.models if model.name]
    for note in found.notes:
        people().print(f"[dim]{escape(note)}[/]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    table.add_column("top-1", justify="right")
    metrics = [metric for metric in Metric if any(metric.name in model.values for model in own)]
    for metric in metrics:
        table.add_column(METRIC_WORDS[metric], justify="right")
    for model in own:
        values = [share(model.values[each.name]) if each.name in model.values else "–" for each in metrics]
        table.add_row(escape(model.display_name), share(model.top1_accuracy), *values)
    console.print(table if own else "no analyses of this data set")
    for model in own[:10]:
        for standing in model.standings:
            name = METRIC_WORDS[list(Metric)[standing.metric - 1]]
            console.print(f"  {escape(model.display_name)}, {name}: {escape(standing.message)}")
    shifts = [fit for fit in found.fits if fit.label and fit.HasField("shift")]
    if shifts:
        _show_shifts(found, shifts)


def _show_shifts(found: pb.Trend, shifts: list[pb.TrendFit]) -> None:
    metrics = list(dict.fromkeys(fit.metric for fit in shifts))
    table = Table(box=None, pad_edge=False, header_style="bold", title="points above the line through all models")
    table.add_column(escape(found.by))
    for metric in metrics:
        table.add_column(METRIC_WORDS[list(Metric)[metric - 1]], justify="right")
    by_label: dict[str, dict[int, float]] = {}
    for fit in shifts:
        by_label.setdefault(fit.label, {})[fit.metric] = fit.shift
    for label, values in by_label.items():
        told = [points(values[metric]) if metric in values else "–" for metric in metrics]
        table.add_row(escape(label), *told)
    results().print(table)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="reference") from error


def _write(file: Path, content: bytes) -> None:
    try:
        write_file(file, content)
    except OSError as error:
        raise InvalidInput(f"can't write {file}: {error.strerror}", field="output") from error


def _tell_written(output: Path | None) -> None:
    if output is not None:
        people().print(f"written: {output}")
