"""errata analyze: judge a model or a predictions file."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource
from errata import Client, pb
from errata.errors import ErrataError, InvalidInput, InvalidRequest

from service import wire
from service.cli.connect import Choice, chosen, connected, json_option, server_options
from service.cli.gate import EXIT_CODES, read_policy, show_gate, told, write_gate
from service.cli.main import ANALYSIS_FAILED, INTERRUPTED
from service.cli.output import analysis_name, follow, make_folder, people, print_json, show_analysis, write_folder

JUNIT = "junit.xml"
ROW_ORDERS = {"path": pb.ROW_ORDER_PATH, "file-name": pb.ROW_ORDER_FILE_NAME}


@dataclass(frozen=True)
class Gate:
    """What the analysis is to be held against; an empty policy: nothing."""

    policy: str
    baseline: str


@click.command()
@click.argument("model", required=False)
@click.option("--predictions", type=click.Path(path_type=Path), help="A predictions file instead of a model.")
@click.option("--dataset", default="imagenet-real", show_default=True, help="The data set.")
@click.option("--evidence", default="", metavar="BUNDLE", help="Digest prefix of a bundle; with --local also its path.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write summary, verdicts and report there."
)
@click.option(
    "--row-order", type=click.Choice([*ROW_ORDERS]), help="How the rows of npz and npy stand (default: path)."
)
@click.option("--name", "display_name", default="", help="What to call it.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of your own; may be repeated.")
@click.option("--wait/--no-wait", default=True, help="Wait for the result (default), or return once it is queued.")
@click.option("--gate", "policy", type=click.Path(path_type=Path), metavar="POLICY", help="Hold it against a policy.")
@click.option("--baseline", default="", metavar="B", help="With --gate: what changes are held against, an analysis.")
@click.option("--fresh", is_flag=True, help="Neither read what was computed before nor join a running computation.")
@json_option
@server_options
@click.pass_context
def analyze(
    ctx: click.Context,
    model: str | None,
    predictions: Path | None,
    dataset: str,
    evidence: str,
    output: Path | None,
    row_order: str | None,
    display_name: str,
    labels: tuple[str, ...],
    wait: bool,
    policy: Path | None,
    baseline: str,
    fresh: bool,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Judge MODEL (such as demo:efficientnet_lite0 or timm:resnet50.a1_in1k), or a file of predictions."""
    if model and not predictions and Path(model).is_file():
        raise InvalidRequest(f"{model} is a file: did you mean --predictions {model}?", field="model")
    if bool(model) == bool(predictions):
        raise InvalidRequest("expected a model or --predictions FILE, one of them", field="model")
    if local and not wait:
        raise InvalidRequest("--local ends with this command, so it can't be combined with --no-wait", field="wait")
    if output is not None and not wait:
        raise InvalidRequest("--output needs the result, so it can't be combined with --no-wait", field="wait")
    if baseline and policy is None:
        raise InvalidRequest("expected --baseline together with --gate, got it alone", field="baseline")
    gate = Gate(read_policy(policy) if policy else "", analysis_name(baseline) if baseline else "")
    bundle = chosen(evidence, local)
    dataset = _dataset_of(ctx, dataset, bundle)
    own_labels = _labels(labels)
    if output is not None:
        make_folder(output)
    with connected(server, local, bundle) as client:
        if predictions is not None:
            analysis = _upload(
                client, predictions, dataset, bundle.prefix, display_name, own_labels, row_order, fresh, gate
            )
        else:
            submit = partial(
                client.analyze,
                str(model),
                dataset,
                evidence=bundle.prefix,
                display_name=display_name,
                labels=own_labels,
                fresh=fresh,
                request_id=uuid.uuid4().hex,
                gate_policy=gate.policy,
                gate_baseline=gate.baseline,
            )
            analysis = _run(ctx, client, submit) if wait else submit()
        if output is not None and analysis.state == pb.STATE_SUCCEEDED:
            write_folder(client, analysis, output)
        decided = client.gate(analysis.name) if gate.policy and wait else None
    if as_json:
        print_json(wire.to_json(analysis))
    else:
        show_analysis(analysis, people())
        if output is not None and analysis.state == pb.STATE_SUCCEEDED:
            files = ["summary.json", "verdicts.jsonl", "report.html", *([JUNIT] if gate.policy else [])]
            people().print(f"written to {output}: {', '.join(files)}")
    if decided is not None:
        write_gate(decided, *told(analysis), junit=output / JUNIT if output is not None else None, markdown=None)
        if not as_json:
            show_gate(decided, people())
        ctx.exit(EXIT_CODES[decided.decision])
    if analysis.state in (pb.STATE_FAILED, pb.STATE_CANCELLED):
        ctx.exit(ANALYSIS_FAILED)


def _upload(
    client: Client,
    file: Path,
    dataset: str,
    evidence: str,
    display_name: str,
    labels: dict[str, str],
    row_order: str | None,
    fresh: bool,
    gate: Gate,
) -> pb.Analysis:
    order = ROW_ORDERS[row_order] if row_order else pb.ROW_ORDER_UNSPECIFIED
    try:
        content = file.open("rb")
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="predictions") from error
    with content:
        return client.upload(
            content,
            dataset,
            evidence=evidence,
            display_name=display_name or file.name,
            labels=labels,
            row_order=order,
            fresh=fresh,
            gate_policy=gate.policy,
            gate_baseline=gate.baseline,
        )


def _run(ctx: click.Context, client: Client, submit: Callable[[], pb.Analysis]) -> pb.Analysis:
    """Submit an analysis and follow it to its end; Ctrl-C cancels it, even before its name has come."""
    try:
        return follow(client, submit().name, people())
    except KeyboardInterrupt:
        try:
            name = submit().name  # the same request: the same analysis
            client.cancel(name)
            people().print(f"cancelled {name}")
        except ErrataError as error:
            people().print(f"the analysis could not be cancelled: {error.message}", markup=False)
        ctx.exit(INTERRUPTED)


def _dataset_of(ctx: click.Context, dataset: str, bundle: Choice) -> str:
    """Return the data set to judge on: that of a bundle at a path; raise InvalidRequest if another was asked for."""
    if bundle.path is None:
        return dataset
    if ctx.get_parameter_source("dataset") is not ParameterSource.DEFAULT and dataset != bundle.dataset:
        raise InvalidRequest(
            f"expected a bundle of {dataset}, got one of {bundle.dataset} at {bundle.path}", field="evidence"
        )
    return bundle.dataset


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    result = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidRequest(f"expected KEY=VALUE, got {pair!r}", field="label")
        result[key] = value
    return result
