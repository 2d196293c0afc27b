"""errata analyze: a model or a predictions file becomes an analysis."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from errata import Client, pb
from errata.cli.analyze_models import ModelRun
from errata.cli.commands import FilePath, command
from errata.cli.connect import (
    Connection,
    Target,
    connect,
    evidence_option,
    json_option,
    server_options,
)
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.coverage import min_coverage_option, read_subset
from errata.cli.exit_codes import ANALYSIS_FAILED, INTERRUPTED
from errata.cli.folder import (
    CLASSES,
    JUNIT,
    REPORT,
    SUMMARY,
    VERDICTS,
    clear_folder,
    is_folder,
    make_folder,
    write_folder,
)
from errata.cli.gate import evaluate_finished, exit_code, policy_errors, read_policy, show_gate, write_gate
from errata.cli.labels import label_option, parse_labels
from errata.cli.output import STDOUT, check_outputs, read_text, resolve_path
from errata.cli.progress import follow, names_on_error
from errata.cli.resolve import resolve
from errata.cli.views import show_analysis
from errata.errors import ErrataError, InvalidInput, InvalidRequest
from errata.files import describe_read_error
from errata.proto_json import to_json
from errata.requests import DEFAULT_DATASET

MAX_MAPPING = 1_000_000  # bytes; the limit of the service
ROW_ORDERS = ["path", "file-name"]
PREDICTIONS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".npz", ".npy", ".gz", ".zst")
WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
EXAMPLES = """
errata analyze --predictions predictions.csv
errata analyze timm:resnet50.a1_in1k --name resnet50 --label team=vision
errata analyze --predictions predictions.npz --row-order file-name --output results/
errata analyze --predictions answers.csv --answers-mapping mapping.csv
errata analyze --local --predictions predictions.csv --evidence bundles/imagenet
errata analyze timm:resnet50.a1_in1k timm:resnet18.a1_in1k hf:microsoft/resnet-50
errata analyze timm:resnet50.a1_in1k --gate policy.yaml --baseline resnet50-v1
"""


@command(examples=EXAMPLES)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option(
    "--predictions",
    type=FilePath(),
    metavar="FILE",
    help="A predictions file, or a folder with a JSON file for each image, instead of models.",
)
@click.option("--dataset", default=DEFAULT_DATASET, show_default=True, help="The data set.")
@evidence_option
@click.option("--output", type=FilePath(), metavar="PATH", help="A folder for the summary, verdicts, and report.")
@click.option(
    "--row-order",
    type=click.Choice(ROW_ORDERS),
    help="The order of the rows of a file without file names: npz, npy, JSON without names, or CSV with the column "
    "index. Default: path.",
)
@click.option(
    "--accept-implausible",
    is_flag=True,
    help="Accept predictions whose row order or class numbering looks wrong. No trend uses them.",
)
@click.option(
    "--answers-mapping",
    "mapping",
    type=FilePath(),
    metavar="FILE",
    help="For free-text answers: a CSV file with the columns answer and class.",
)
@min_coverage_option(
    "Minimum share of the evaluated images that must have a prediction. Default: 0. With --gate, it replaces the "
    "minimum of the policy."
)
@click.option(
    "--subset",
    type=FilePath(),
    metavar="FILE",
    help="A file with the names of the images that should have predictions, one per line. Default: all images.",
)
@click.option("--name", "display_name", default="", help="Display name. Default: the model, or the name of the file.")
@label_option("A label of the analysis. Can be repeated.")
@click.option("--wait/--no-wait", default=True, help="Wait for the result (default), or return when it is queued.")
@click.option("--gate", "policy", type=FilePath(), metavar="POLICY", help="Evaluate against a gate policy.")
@click.option(
    "--baseline",
    default="",
    metavar="ANALYSIS",
    help="With --gate: the analysis from which the policy measures changes.",
)
@click.option(
    "--markdown",
    type=FilePath(),
    metavar="FILE",
    help="With --gate and one model or file: write the result as Markdown.",
)
@click.option("--fresh", is_flag=True, help="Ignore cached and in-progress results.")
@json_option
@server_options
@click.pass_context
def analyze(
    ctx: click.Context,
    models: tuple[str, ...],
    predictions: Path | None,
    dataset: str,
    evidence: str,
    output: Path | None,
    row_order: str | None,
    accept_implausible: bool,
    mapping: Path | None,
    min_coverage: float | None,
    subset: Path | None,
    display_name: str,
    labels: tuple[str, ...],
    wait: bool,
    policy: Path | None,
    baseline: str,
    markdown: Path | None,
    fresh: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Analyze each MODEL, such as timm:resnet50.a1_in1k, or a file of predictions.

    The results of several models are shown in one table. If a model ID is refused, no model is analyzed.

    Exit code: 0, or with --gate the exit code of the gate; 4 if an analysis failed or was canceled.

    With --gate and --no-wait, the exit code is 5 if an analysis has not finished. Run 'errata gate ANALYSIS --wait 1h'.
    With --json, stderr has the decision of the gate and its reasons.
    """
    keeps_result = _has_input(output, baseline, predictions)
    with _cleared_after_error(output, keeps_result):
        _check_source(models, predictions, display_name, markdown)
        upload_options: dict[str, Any] = {"row_order": row_order or "", "accept_implausible": accept_implausible}
        upload_options |= _coverage_options(predictions, min_coverage, subset)
        upload_options["answers_mapping"] = _read_mapping(mapping, predictions)
        _check_options(output, wait, baseline, markdown, policy, target)
        check_outputs(as_json, markdown)
        options: dict[str, Any] = {"display_name": display_name, "labels": parse_labels(labels), "fresh": fresh}
        options["gate_policy"] = read_policy(policy) if policy is not None else ""
        if output is not None:
            make_folder(output)
        with connect(target, evidence) as connection, policy_errors(policy):
            client = connection.client
            dataset = _dataset_of(ctx, dataset, connection)
            options |= {"dataset": dataset, "evidence": connection.evidence}
            options["gate_baseline"] = resolve(client, baseline) if baseline else ""
            if len(models) > 1:
                run = ModelRun(client, models, options, wait=wait, output=output, has_gate=policy is not None)
                ctx.exit(run.show(as_json))  # also clears the folder: each result is in a folder of its own
            if predictions is not None:
                analysis = _upload(client, predictions, options | upload_options)
            else:
                submit = partial(client.analyze, models[0], request_id=uuid.uuid4().hex, **options)
                analysis = _run(ctx, client, submit) if wait else submit()
            if output is not None and analysis.state == pb.Analysis.STATE_SUCCEEDED:
                write_folder(client, analysis, output)
            elif output is not None:
                clear_folder(output, keeps_result=keeps_result)
            result = evaluate_finished(client, analysis, min_coverage) if policy is not None else None
    if result is not None:  # files first, because printing ends the command if the reader of stdout has ended
        write_gate(result, analysis, junit=output / JUNIT if output is not None else None, markdown=markdown)
    if as_json:
        click.echo(to_json(analysis))
    elif markdown != STDOUT:
        show_analysis(analysis, stdout_console())
    if result is not None and markdown != STDOUT:
        show_gate(result, stderr_console() if as_json else stdout_console())
    if output is not None and not as_json and analysis.state == pb.Analysis.STATE_SUCCEEDED:
        files = ", ".join([SUMMARY, VERDICTS, REPORT, CLASSES, *([JUNIT] if result is not None else [])])
        stderr_console().print(f"Written to {safe(str(output))}: {files}", soft_wrap=True)
    if policy is not None:
        ctx.exit(exit_code(result))
    if analysis.state in (pb.Analysis.STATE_FAILED, pb.Analysis.STATE_CANCELLED):
        ctx.exit(ANALYSIS_FAILED)


def _has_input(folder: Path | None, baseline: str, predictions: Path | None) -> bool:
    """Return whether a folder is the baseline, or contains the predictions."""
    inputs = [Path(baseline)] if baseline else []
    inputs += [predictions, predictions.parent] if predictions is not None else []
    return folder is not None and str(resolve_path(folder)) in map(os.path.realpath, inputs)


@contextmanager
def _cleared_after_error(folder: Path | None, keeps_result: bool) -> Iterator[None]:
    """If a block raises an exception, remove the result of an earlier call from a folder: it is not that of this call.

    A folder that `keeps_result`, because it is an input of the call, loses only the result of the gate.

    The exception may be an error, Ctrl-C, or the one with which click exits.
    """
    try:
        yield
    except BaseException:
        with suppress(InvalidInput, OSError):  # for example, the folder cannot be changed; the first error is reported
            if folder is not None and folder.is_dir():
                clear_folder(folder, keeps_result=keeps_result)
        raise


def _check_source(models: Sequence[str], predictions: Path | None, display_name: str, markdown: Path | None) -> None:
    """Raise an error unless there are either model IDs or an existing predictions file."""
    if bool(models) == bool(predictions):
        problem = "Both MODEL and --predictions are present" if models else "MODEL and --predictions are missing"
        raise InvalidRequest(f"{problem}. Use one of them.", field="model")
    if len(models) > 1 and display_name:
        raise InvalidRequest(
            f"--name cannot name {len(models)} models. Omit it, or analyze one model.", field="display_name"
        )
    if len(models) > 1 and markdown is not None:
        raise InvalidRequest(
            f"--markdown cannot describe {len(models)} models. Omit it, and run 'errata gate ANALYSIS --markdown FILE' "
            "for each analysis.",
            field="markdown",
        )
    if predictions is not None and not predictions.exists():
        raise InvalidInput(f"Predictions file {str(predictions)!r} not found. Check the path.", field="predictions")
    if predictions is not None and is_folder(str(predictions)) and (predictions / VERDICTS).is_file():
        raise InvalidInput(
            f"The folder {predictions} is a result of 'errata analyze': it has {SUMMARY} and {VERDICTS}. Choose a "
            "predictions file, or a folder with one JSON file per image.",
            field="predictions",
        )
    for model in models:
        _check_model(model)


def _check_model(model: str) -> None:
    """Raise an error if a model ID is the name of a file."""
    suffix = Path(model).suffix.lower()
    if ":" not in model and suffix in (".onnx", *WEIGHTS):
        model_id = f"onnx:{model}" if suffix == ".onnx" else f"file:{model}#ARCHITECTURE"
        raise InvalidRequest(
            f"{model!r:.200} is a file name. To run a model from the service's folder ERRATA_MODELS, use {model_id} "
            "(onnx: for ONNX graphs, file: for PyTorch weights). To upload predictions, use --predictions FILE.",
            field="model",
        )
    if Path(model).is_file() or (":" not in model and suffix in PREDICTIONS):
        raise InvalidRequest(f"{model!r:.200} is a file. Use --predictions {model} to upload it.", field="model")


def _coverage_options(predictions: Path | None, min_coverage: float | None, subset: Path | None) -> dict[str, Any]:
    """Return the options about the images of an upload; raise InvalidRequest if there is no upload."""
    if predictions is None and (min_coverage is not None or subset is not None):
        option = "--subset" if subset is not None else "--min-coverage"
        raise InvalidRequest(
            f"{option} needs --predictions. Add --predictions FILE, or remove {option}.", field="model"
        )
    return {"min_coverage": min_coverage or 0.0, "subset": read_subset(subset) if subset is not None else ()}


def _check_options(
    output: Path | None, wait: bool, baseline: str, markdown: Path | None, policy: Path | None, target: Target
) -> None:
    if target.local and not wait:
        raise InvalidRequest(
            "--local and --no-wait cannot be used together: the local service ends with this command.",
            field="wait",
        )
    if output is not None and not wait:
        raise InvalidRequest(
            "--output and --no-wait cannot be used together, because --output needs the result. Remove one.",
            field="wait",
        )
    for name, value in (("baseline", baseline), ("markdown", markdown)):
        if value and policy is None:
            raise InvalidRequest(f"--{name} needs --gate. Add --gate POLICY, or remove --{name}.", field=name)


def _read_mapping(file: Path | None, predictions: Path | None) -> str:
    """Return the content of a mapping file; empty if there is no file."""
    if file is None:
        return ""
    if predictions is None:
        raise InvalidRequest(
            "--answers-mapping needs --predictions with free-text answers. Add it, or remove --answers-mapping.",
            field="answers_mapping",
        )
    return read_text(file, MAX_MAPPING, "answers_mapping")


def _dataset_of(ctx: click.Context, dataset: str, connection: Connection) -> str:
    """Return the data set of the evidence bundle if --evidence is a path, else the value of --dataset.

    Raises:
        InvalidRequest: --dataset differs from the data set of the bundle.
    """
    if not connection.dataset:
        return dataset
    if ctx.get_parameter_source("dataset") is not ParameterSource.DEFAULT and dataset != connection.dataset:
        raise InvalidRequest(
            f"The evidence bundle is for the data set {connection.dataset!r:.80}, not for {dataset!r:.80}. "
            "Correct --dataset, or omit it.",
            field="evidence",
        )
    return connection.dataset


def _upload(client: Client, file: Path, options: dict[str, Any]) -> pb.Analysis:
    options = options | {"display_name": options["display_name"] or file.name}
    if file.is_dir():
        return client.upload(file, **options)
    try:
        content = file.open("rb", buffering=0)  # a buffer cannot be closed while a thread waits for a pipe
    except OSError as error:
        raise InvalidInput(describe_read_error(file, error), field="predictions") from error
    with content:
        return client.upload(content, **options)


def _run(ctx: click.Context, client: Client, submit: Callable[[], pb.Analysis]) -> pb.Analysis:
    """Submit an analysis and follow it until it has finished; Ctrl-C cancels it, even before its name is known."""
    try:
        analysis = submit()
        with names_on_error([analysis], stderr_console()):
            return follow(client, analysis.name, stderr_console())
    except KeyboardInterrupt:
        try:
            name = submit().name  # the request ID makes this call return the same analysis
            client.cancel(name)
            stderr_console().print(f"Canceled {safe(name)}")
        except ErrataError as error:
            stderr_console().print(f"The analysis could not be canceled: {safe(error.message)}")
        ctx.exit(INTERRUPTED)
