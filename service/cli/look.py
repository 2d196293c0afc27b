"""errata list, show, report, explain, cancel, delete: look at analyses and end them."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service import wire
from service.cli.connect import connected, json_option, server_options
from service.cli.output import (
    REPORT,
    VERDICTS,
    is_folder,
    people,
    print_json,
    read_folder,
    show_analysis,
    show_breakdown,
    show_verdicts,
)
from service.client import pb
from service.domain import ErrorType
from service.errors import InvalidInput, InvalidRequest
from service.report.words import number, share
from service.taxonomy.classes import parse_class

STATES = [state.removeprefix("STATE_").lower() for state in pb.State.keys()[1:]]
TYPES = [each.name.lower() for each in ErrorType][1:]
BREAKDOWNS = {"class": pb.BREAKDOWN_BY_CLASS, "superclass": pb.BREAKDOWN_BY_SUPERCLASS}
FORMATS = {"jsonl": pb.VERDICT_FORMAT_JSONL, "csv": pb.VERDICT_FORMAT_CSV, "parquet": pb.VERDICT_FORMAT_PARQUET}


@click.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only analyses in this state.")
@click.option("--dataset", default="", help="Only of this data set.")
@click.option("--model", default="", help="Only of this model identifier.")
@json_option
@server_options
def list_(states: tuple[str, ...], dataset: str, model: str, as_json: bool, server: str | None, local: bool) -> None:
    """List analyses, newest first."""
    wanted = pb.AnalysisFilter(states=[f"STATE_{state.upper()}" for state in states], dataset=dataset, model=model)
    with connected(server, local) as client:
        analyses = [*client.list(wanted)]
    if as_json:
        print_json(wire.to_json(pb.ListAnalysesResponse(analyses=analyses)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("analysis", "name", "data set", "state"):
        table.add_column(title)
    for title in ("top-1", "multi-label", "failures"):
        table.add_column(title, justify="right")
    for each in analyses:
        state = pb.State.Name(each.state).removeprefix("STATE_").lower()
        row = ["–"] * 3
        if each.HasField("summary"):
            everything = each.summary.groups["all"]
            row = [
                share(everything.top1_accuracy),
                share(everything.multi_label_accuracy),
                number(everything.counts["MODEL_FAILURE"]),
            ]
        table.add_row(each.name, escape(each.display_name), escape(each.dataset), state, *row)
    Console(highlight=False).print(table if analyses else "no analyses yet: try errata demo")


@click.command()
@click.argument("analysis")
@click.option("--type", "types", type=click.Choice(TYPES), multiple=True, help="Show verdicts of this type.")
@click.option("--target", metavar="CLASS", help="Show verdicts of this original label.")
@click.option("--predicted", metavar="CLASS", help="Show verdicts with this prediction.")
@click.option("--superclass", default="", help="Show verdicts with a label or prediction in this superclass.")
@click.option(
    "--group", type=click.Choice(["all", "organism", "artifact", "other"]), help="Show verdicts of this group."
)
@click.option("--errors", is_flag=True, help="Show all multi-label errors.")
@click.option("--most", default=50, show_default=True, help="How many verdicts at most.")
@click.option("--by", type=click.Choice([*BREAKDOWNS]), help="Show the verdicts by target class or superclass.")
@click.option("--export", "form", type=click.Choice([*FORMATS]), help="Write all verdicts to stdout in this form.")
@json_option
@server_options
def show(
    analysis: str,
    types: tuple[str, ...],
    target: str | None,
    predicted: str | None,
    superclass: str,
    group: str | None,
    errors: bool,
    most: int,
    by: str | None,
    form: str | None,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Show ANALYSIS (a name, an id, or a folder that --output wrote), or some of its verdicts."""
    if errors:
        types = (*types, *TYPES[3:])
    if by is not None:
        with connected(server, local) as client:
            rows = client.breakdown(analysis, BREAKDOWNS[by])
        if as_json:
            print_json(wire.to_json(rows))
        else:
            show_breakdown(rows, Console(highlight=False))
        return
    filtered = bool(types or target or predicted or superclass or group)
    if is_folder(analysis):
        if filtered:
            raise InvalidRequest("a folder holds no filters: its verdicts are in verdicts.jsonl; ask a server instead")
        if form:
            _show_file(Path(analysis) / VERDICTS, form)
            return
        _show(read_folder(Path(analysis)), as_json)
        return
    with connected(server, local) as client:
        if form:
            for piece in client.export(analysis, FORMATS[form]):
                sys.stdout.buffer.write(piece)
        elif not filtered:
            _show(client.get(analysis), as_json)
        else:
            wanted = pb.VerdictFilter(
                error_types=[f"ERROR_TYPE_{each.upper()}" for each in types],
                target=_class(target, "--target"),
                predicted=_class(predicted, "--predicted"),
                superclass=superclass,
                group=f"GROUP_{group.upper()}" if group else None,
            )
            found = [*client.verdicts(analysis, wanted, with_evidence=True, most=most)]
            if as_json:
                print_json(wire.to_json(pb.ListVerdictsResponse(verdicts=found, total_size=len(found))))
            else:
                show_verdicts(found, Console(highlight=False))


@click.command()
@click.argument("analysis")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it (default: report.html)."
)
@server_options
def report(analysis: str, output: Path | None, server: str | None, local: bool) -> None:
    """Write the report of ANALYSIS, one self-contained HTML file."""
    if is_folder(analysis):
        content = _read(Path(analysis) / REPORT)
    else:
        with connected(server, local) as client:
            content = client.report(analysis)
    target = output or Path(REPORT)
    try:
        target.write_bytes(content)
    except OSError as error:
        raise InvalidInput(f"can't write {target}: {error.strerror}", field="output") from error
    people().print(f"written: {target}")


@click.command()
@click.argument("image")
@click.option("--analysis", help="Explain what this analysis' model predicted.")
@click.option("--dataset", help="Without an analysis: the data set (default: imagenet-real).")
@click.option("--predicted", metavar="CLASS", help="Any class: an index, a WordNet id or a unique name.")
@json_option
@server_options
def explain(
    image: str,
    analysis: str | None,
    dataset: str | None,
    predicted: str | None,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Say what a prediction for IMAGE (a file name of the data set) means, and what each rule said."""
    predicted_class = _class(predicted, "--predicted")
    if analysis and dataset:
        raise InvalidRequest("expected --analysis or --dataset, got both", field="analysis")
    if analysis is None and predicted_class is None:
        raise InvalidRequest("expected --predicted CLASS, or --analysis whose model predicted one", field="predicted")
    with connected(server, local) as client:
        if analysis is not None:
            verdict = client.explain(analysis, image, predicted_class)
        else:
            assert predicted_class is not None, "this is a bug: checked above"
            verdict = client.explain_any(dataset or "imagenet-real", image, predicted_class)
    if as_json:
        print_json(wire.to_json(verdict))
    else:
        show_verdicts([verdict], Console(highlight=False))


@click.command()
@click.argument("analysis")
@json_option
@server_options
def cancel(analysis: str, as_json: bool, server: str | None, local: bool) -> None:
    """Cancel ANALYSIS if it is open; one that has ended stays as it is."""
    with connected(server, local) as client:
        _show(client.cancel(analysis), as_json)


@click.command()
@click.argument("analysis")
@click.option("--evidence", default="", metavar="BUNDLE", help="Digest prefix of the bundle; default: the data set's.")
@json_option
@server_options
def reanalyze(analysis: str, evidence: str, as_json: bool, server: str | None, local: bool) -> None:
    """Judge the stored predictions of ANALYSIS with another bundle: a new analysis."""
    with connected(server, local) as client:
        _show(client.reanalyze(analysis, evidence), as_json)


@click.command()
@click.argument("analysis")
@server_options
def delete(analysis: str, server: str | None, local: bool) -> None:
    """Delete ANALYSIS and its predictions."""
    with connected(server, local) as client:
        client.delete(analysis)
    people().print(f"deleted {analysis}")


def _show(analysis: pb.Analysis, as_json: bool) -> None:
    if as_json:
        print_json(wire.to_json(analysis))
    else:
        show_analysis(analysis, Console(highlight=False))


def _show_file(file: Path, form: str) -> None:
    if form != "jsonl":
        raise InvalidRequest(
            f"a folder holds verdicts as jsonl alone, got {form}: ask a server instead", field="export"
        )
    sys.stdout.buffer.write(_read(file))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="analysis") from error


def _class(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    found = parse_class(text)
    if found is None:
        raise InvalidRequest(
            f"expected a class index 0..999, a WordNet id or a unique name, got {text!r}", field=option
        )
    return found
