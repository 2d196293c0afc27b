"""errata gate: the decision of a policy, as an exit code and in formats that pipelines read."""

import codecs
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from errata import Client, pb
from errata.cli.commands import FilePath, command
from errata.cli.connect import Target, connect, json_option, server_options
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.coverage import min_coverage_option
from errata.cli.durations import parse_duration
from errata.cli.exit_codes import ANALYSIS_FAILED, GATE_FAILED, SUCCESS, UNDECIDED
from errata.cli.extensions import EXTENSIONS_GROUP, load_extension
from errata.cli.folder import is_folder, read_analysis, remove_gate_result
from errata.cli.junit import to_junit
from errata.cli.markdown import to_markdown
from errata.cli.output import STDOUT, check_outputs, read_input, write_output
from errata.cli.resolve import resolve
from errata.cli.retries import POLL_SECONDS, retry
from errata.cli.value_names import decision_name
from errata.cli.views import labeled
from errata.connection import ConnectionFailed
from errata.enums import State
from errata.errors import InvalidPolicy, InvalidRequest
from errata.proto_json import to_json

MAX_POLICY = 64 << 10  # bytes
EXIT_CODES = {
    pb.GATE_DECISION_PASS: SUCCESS,
    pb.GATE_DECISION_FAIL: GATE_FAILED,
    pb.GATE_DECISION_UNDECIDED: UNDECIDED,
    pb.GATE_DECISION_PENDING: UNDECIDED,
    pb.GATE_DECISION_ERROR: ANALYSIS_FAILED,
}
STYLES = {"pass": "green", "fail": "bold red", "undecided": "yellow", "pending": "yellow", "error": "bold red"}
EXAMPLES = """
errata gate resnet50 --policy policy.yaml
errata gate 01kb4t9z --policy policy.yaml --baseline resnet50-v1 --wait 30m --junit gate.xml
errata gate results/ --policy policy.yaml --markdown gate.md
errata gate --schema > policy.schema.json
"""


@command(examples=EXAMPLES)
@click.argument("analysis", required=False)
@click.option("--policy", type=FilePath(), metavar="FILE", help="The policy (YAML).")
@click.option("--baseline", default="", metavar="ANALYSIS", help="The analysis from which the policy measures changes.")
@min_coverage_option("Minimum share of the evaluated images with a prediction. Default: the policy's minimum, or 0.99.")
@click.option(
    "--wait", "patience", metavar="DURATION", help="Maximum time to wait for the analysis, such as 90s, 30m, or 1h."
)
@click.option("--junit", type=FilePath(), metavar="FILE", help="Write the result as JUnit XML.")
@click.option("--markdown", type=FilePath(), metavar="FILE", help="Write the result as Markdown.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of policies. Needs errata-service.")
@json_option
@server_options
@click.pass_context
def gate(
    ctx: click.Context,
    analysis: str | None,
    policy: Path | None,
    baseline: str,
    min_coverage: float | None,
    patience: str | None,
    junit: Path | None,
    markdown: Path | None,
    schema: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Evaluate ANALYSIS against a policy. Without --policy, the policy of the analysis applies.

    Exit code: 0 pass, 1 fail, 4 the analysis failed, 5 undecided or not finished.

    To evaluate a folder that 'errata analyze --output' wrote, install errata-service. No running service is needed.
    """
    check_outputs(as_json, junit, markdown)
    if schema:
        policy_schema = load_extension(EXTENSIONS_GROUP, "policy-schema", "'errata gate --schema'")
        click.echo(json.dumps(policy_schema(), indent=2))
        return
    if analysis is None:
        raise InvalidRequest("The argument ANALYSIS is missing. Pass an analysis or a folder.", field="analysis")
    if junit is not None and junit.is_file():  # not a device or `-`
        remove_gate_result(junit)
    text = read_policy(policy) if policy is not None else ""
    seconds = parse_duration(patience, "wait") if patience is not None else 0.0
    if is_folder(analysis) and text and (not baseline or is_folder(baseline)) and not target.is_explicit:
        evaluate_folder = load_extension(EXTENSIONS_GROUP, "gate-folder", "'errata gate' on folders")
        with policy_errors(policy):
            result = evaluate_folder(text, Path(analysis), Path(baseline) if baseline else None, min_coverage)
        subject = read_analysis(Path(analysis))
    else:
        with connect(target) as connection, policy_errors(policy):
            end = time.monotonic() + seconds
            name = retry(partial(resolve, connection.client, analysis), end)
            baseline_name = retry(partial(resolve, connection.client, baseline), end) if baseline else ""
            request = partial(connection.client.gate, name, text, baseline_name, min_coverage)
            try:
                result = evaluate(request, end)
            except ConnectionFailed as error:
                if text or target.is_explicit or not is_folder(analysis):
                    raise
                raise ConnectionFailed(
                    f"{error.message} To evaluate the folder {analysis} without a service, pass --policy FILE."
                ) from error
            subject = retry(partial(connection.client.get, name), end) if junit or markdown else pb.Analysis()
    write_gate(result, subject, junit, markdown)
    if as_json:
        click.echo(to_json(result))
    elif STDOUT not in (junit, markdown):
        show_gate(result, stdout_console())
    ctx.exit(exit_code(result))


def exit_code(result: pb.GateResult | None) -> int:
    """Return the exit code of a gate; None: the gate was not evaluated, because the analysis has not finished."""
    return UNDECIDED if result is None else EXIT_CODES.get(result.decision, UNDECIDED)


def evaluate(request: Callable[[], pb.GateResult], end: float) -> pb.GateResult:
    """Return the result of a gate.

    Args:
        request: Requests the result from the service.
        end: Time of `time.monotonic` after which the request is not repeated. Until then, it is repeated while the
            analysis has not finished, and while the service is unavailable or too busy.
    """
    while True:
        result = retry(request, end)
        if result.decision != pb.GATE_DECISION_PENDING or time.monotonic() + POLL_SECONDS > end:
            return result
        time.sleep(POLL_SECONDS)


def evaluate_finished(client: Client, analysis: pb.Analysis, min_coverage: float | None = None) -> pb.GateResult | None:
    """Return the result of the gate of an analysis; None, with a message on stderr, if it has not finished."""
    if State(analysis.state).is_final:
        return retry(partial(client.gate, analysis.name, min_coverage=min_coverage))
    name = analysis.name.rpartition("/")[2]
    stderr_console().print(
        f"The gate was not evaluated, because the analysis has not finished. Run 'errata gate {safe(name)} --wait 1h'.",
        soft_wrap=True,
    )
    return None


def read_policy(file: Path) -> str:
    """Return the text of a policy, which the service validates.

    Raises:
        InvalidInput: The file cannot be read, or is too large.
        InvalidPolicy: The file is empty, or is not text in UTF-8 or UTF-16.
    """
    content = read_input(file, MAX_POLICY, "policy")
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidPolicy(
            f"Policy {file} is not UTF-8 text: see line {line}. Save it as UTF-8.", field="policy", line=line
        ) from error
    if not text.strip():  # the service evaluates the stored policy if a request has none
        raise InvalidPolicy(f"Policy {file} is empty. Write a mapping with 'version' and 'bounds'.", field="policy")
    return text


@contextmanager
def policy_errors(file: Path | None) -> Iterator[None]:
    """Add the name of a policy file to the errors of the service about its content."""
    try:
        yield
    except InvalidPolicy as error:
        if file is None:
            raise
        raise InvalidPolicy(f"{file}: {error.message}", violations=error.violations) from error


def write_gate(result: pb.GateResult, analysis: pb.Analysis, junit: Path | None, markdown: Path | None) -> None:
    """Write the result of a gate in the formats that pipelines read, and the format for stdout last."""
    title, outputs = analysis.display_name, list[tuple[Path, bytes]]()
    if junit is not None:
        outputs.append((junit, to_junit(result, title)))
    if markdown is not None:
        outputs.append((markdown, to_markdown(result, title, analysis.summary.headline).encode()))
    for path, content in sorted(outputs, key=lambda output: output[0] == STDOUT):
        write_output(path, content)


def show_gate(result: pb.GateResult, console: Console) -> None:
    """Show the decision of a gate and its reasons."""
    decision = decision_name(result.decision)
    console.print(f"[{STYLES.get(decision, 'yellow')}]{decision.upper()}[/]  {safe(result.policy)}")
    for reason in result.reasons:
        decision = decision_name(reason.decision)
        name = f"{safe(reason.bound)}: " if reason.bound else ""
        style = STYLES.get(decision, "yellow")
        console.print(labeled(f"[{style}]{decision}[/]", f"{name}{safe(reason.message)}", len("  undecided")))
