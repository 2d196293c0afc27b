"""errata gate: whether to ship, as an exit code and in the forms that pipelines read."""

import codecs
import json
import re
import time
from pathlib import Path

import click
from errata import Client, pb
from errata.errors import InvalidInput, InvalidRequest, Unavailable
from rich.console import Console

from service import wire
from service.analyses.gate import decided
from service.analyses.policy import MAX_BYTES, check_baseline, parse_policy, policy_schema
from service.cli import folders
from service.cli.connect import connected, json_option, server_options
from service.cli.main import ANALYSIS_FAILED, DONE, GATE_FAILED, GATE_UNDECIDED
from service.cli.output import analysis_name, is_folder, print_json, read, read_folder, results, shown, write
from service.domain import GatePolicy, GateResult
from service.report.junit import to_junit
from service.report.markdown import to_markdown
from service.report.view import headline_of

LOOK_SECONDS = 1.0  # between two looks at an analysis that isn't finished
EXIT_CODES = {
    pb.GATE_DECISION_PASS: DONE,
    pb.GATE_DECISION_FAIL: GATE_FAILED,
    pb.GATE_DECISION_UNDECIDED: GATE_UNDECIDED,
    pb.GATE_DECISION_PENDING: GATE_UNDECIDED,
    pb.GATE_DECISION_ERROR: ANALYSIS_FAILED,
}
STYLES = {"pass": "green", "fail": "bold red", "undecided": "yellow", "pending": "yellow", "error": "bold red"}
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?", re.ASCII)


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
        result = _of_folders(parse_policy(text), analysis, baseline)
        message = wire.to_gate_result(result)
        title, headline = told(read_folder(Path(analysis)))
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
            result = client.gate(name, policy, baseline)
        except Unavailable:
            if time.monotonic() + LOOK_SECONDS > end:
                raise
        else:
            if result.decision != pb.GATE_DECISION_PENDING or time.monotonic() + LOOK_SECONDS > end:
                return result
        time.sleep(LOOK_SECONDS)


def told(analysis: pb.Analysis) -> tuple[str, str]:
    """Return what people call an analysis, and the sentence that sums it up; empty without a result."""
    if not analysis.HasField("summary"):
        return analysis.display_name, ""
    result = wire.from_analysis(analysis)
    assert result.summary is not None, "this is a bug: the message has a summary"
    return result.title, headline_of(result.title, result.summary)


def read_policy(file: Path) -> str:
    """Return the text of a policy that is in order; raise InvalidPolicy with its lines."""
    try:
        content = read(file, MAX_BYTES)
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="policy") from error
    parse_policy(content)
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


def duration(text: str) -> float:
    """Return seconds of `90`, `90s`, `30m` or `1h30m`; raise InvalidRequest for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise InvalidRequest(f"expected a duration such as 90s, 30m or 1h, got {text!r:.40}", field="wait")
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def write_gate(message: pb.GateResult, title: str, headline: str, junit: Path | None, markdown: Path | None) -> None:
    """Write a gate's result in the forms that pipelines read."""
    if junit is not None:
        write(junit, to_junit(wire.from_gate_result(message), title))
    if markdown is not None:
        write(markdown, to_markdown(wire.from_gate_result(message), title, headline).encode())


def show_gate(message: pb.GateResult, console: Console) -> None:
    """Show a gate's decision and its reasons."""
    word = pb.GateDecision.Name(message.decision).removeprefix("GATE_DECISION_").lower()
    console.print(f"[{STYLES[word]}]{word.upper()}[/]  {shown(message.policy)}")
    for reason in message.reasons:
        word = pb.GateDecision.Name(reason.decision).removeprefix("GATE_DECISION_").lower()
        name = f"{shown(reason.bound)}: " if reason.bound else ""
        console.print(f"  [{STYLES[word]}]{word:>9}[/]  {name}{shown(reason.message)}", soft_wrap=True)


def _of_folders(policy: GatePolicy, folder: str, baseline: str) -> GateResult:
    """Return what a policy says of a folder's analysis, held against another folder where it bounds changes."""
    check_baseline(policy, baseline)
    if not policy.needs_baseline:
        return decided(policy, folders.read(folder))
    side = folders.read_side(folder)
    return decided(policy, side.analysis, side, folders.read_side(baseline))
