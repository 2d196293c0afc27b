"""errata list, show, report, explain, wait, reanalyze, retry, cancel, delete: look at analyses and end them."""

import sys
from pathlib import Path

import click
from click.core import ParameterSource
from errata import pb
from errata.errors import InvalidInput, InvalidRequest
from errata.messages import format_count, format_percentage
from rich.table import Table

from service import wire
from service.cli.connect import chosen, connected, json_option, server_options
from service.cli.main import ANALYSIS_FAILED
from service.cli.output import (
    REPORT,
    VERDICTS,
    analysis_name,
    follow,
    is_folder,
    people,
    print_json,
    read_folder,
    results,
    show_analysis,
    show_breakdown,
    show_verdicts,
    shown,
)
from service.domain import ERROR_TYPES, MULTI_LABEL_ERROR_TYPES
from service.taxonomy.classes import parse_class

STATES = [state.removeprefix("STATE_").lower() for state in pb.State.keys()[1:]]
TYPES = [error_type_.name.lower() for error_type_ in ERROR_TYPES]
ERRORS = [type_.name.lower() for type_ in MULTI_LABEL_ERROR_TYPES]
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
    table.add_column("analysis", no_wrap=True, overflow="ignore")
    for title in ("created, UTC", "name", "data set", "state"):
        table.add_column(title)
    for title in ("top-1", "multi-label", "failures"):
        table.add_column(title, justify="right")
    for analysis in analyses:
        state = pb.State.Name(analysis.state).removeprefix("STATE_").lower()
        row = ["–"] * 3
        if analysis.HasField("summary"):
            everything = analysis.summary.groups["all"]
            row = [
                format_percentage(everything.top1_accuracy),
                format_percentage(everything.multi_label_accuracy),
                format_count(everything.counts["MODEL_FAILURE"]),
            ]
        created = f"{analysis.create_time.ToDatetime():%Y-%m-%d %H:%M}"
        name = analysis.name.removeprefix("analyses/")
        table.add_row(name, created, shown(analysis.display_name), shown(analysis.dataset), state, *row)
    none = "none match" if states or dataset or model else "no analyses yet"
    results().print(table if analyses else none)


@click.command()
@click.argument("analysis")
@click.option(
    "--type", "types", type=click.Choice(TYPES, case_sensitive=False), multiple=True, help="Show verdicts of this type."
)
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
@click.pass_context
def show(
    ctx: click.Context,
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
    filtered = bool(errors or types or target or predicted or superclass or group)
    most_typed = ctx.get_parameter_source("most") is not ParameterSource.DEFAULT
    if sum([filtered, by is not None, form is not None]) > 1:
        raise InvalidRequest("expected --by, --export or filters, got several of them", field="show")
    if most_typed and not filtered:
        raise InvalidRequest("expected --most together with a filter such as --errors, got it alone", field="most")
    if form is not None and as_json:
        raise InvalidRequest("expected --export or --json, got both", field="export")
    if by is not None:
        with connected(server, local) as client:
            rows = client.breakdown(analysis_name(analysis), BREAKDOWNS[by])
        if as_json:
            print_json(wire.to_json(rows))
        else:
            show_breakdown(rows, by == "superclass", results())
    elif form is not None:
        _export(analysis, form, server, local)
    elif filtered:
        wanted = pb.VerdictFilter(
            error_types=[f"ERROR_TYPE_{type_.upper()}" for type_ in (*types, *(ERRORS if errors else ()))],
            target=_class(target, "--target"),
            predicted=_class(predicted, "--predicted"),
            superclass=superclass,
            group=f"GROUP_{group.upper()}" if group else None,
            problematic=False if errors else None,
        )
        with connected(server, local) as client:
            page = client.some_verdicts(analysis_name(analysis), wanted, None if as_json and not most_typed else most)
        if as_json:
            print_json(wire.to_json(page))
        else:
            show_verdicts(page.verdicts, results())
            if page.total_size > len(page.verdicts):
                people().print(
                    f"{format_count(len(page.verdicts))} of {format_count(page.total_size)}; --most shows more"
                )
    elif is_folder(analysis):
        _show(read_folder(Path(analysis)), as_json)
    else:
        with connected(server, local) as client:
            _show(client.get(analysis), as_json)


def _export(analysis: str, form: str, server: str | None, local: bool) -> None:
    """Write all verdicts to stdout; a folder holds them as JSONL."""
    if is_folder(analysis) and form == "jsonl":
        sys.stdout.buffer.write(_read(Path(analysis) / VERDICTS))
        return
    with connected(server, local) as client:
        for piece in client.export(analysis_name(analysis), FORMATS[form]):
            sys.stdout.buffer.write(piece)


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
@click.option(
    "--evidence", default="", metavar="BUNDLE", help="Without an analysis: digest prefix; --local: or a path."
)
@click.option("--predicted", metavar="CLASS", help="Any class: an index, a WordNet id or a unique name.")
@json_option
@server_options
def explain(
    image: str,
    analysis: str | None,
    dataset: str | None,
    evidence: str,
    predicted: str | None,
    as_json: bool,
    server: str | None,
    local: bool,
) -> None:
    """Say what a prediction for IMAGE (a file name of the data set) means, and what each rule said."""
    predicted_class = _class(predicted, "--predicted")
    if analysis and (dataset or evidence):
        raise InvalidRequest("expected --analysis, or --dataset and --evidence, got both", field="analysis")
    if analysis is None and predicted_class is None:
        raise InvalidRequest("expected --predicted CLASS, or --analysis whose model predicted one", field="predicted")
    bundle = chosen(evidence, local)
    with connected(server, local, bundle) as client:
        if analysis is not None:
            verdict = client.explain(analysis_name(analysis), image, predicted_class)
        else:
            assert predicted_class is not None, "this is a bug: checked above"
            where = dataset or bundle.dataset or "imagenet-real"
            verdict = client.explain_any(where, image, predicted_class, bundle.prefix)
    if as_json:
        print_json(wire.to_json(verdict))
    else:
        show_verdicts([verdict], results())


@click.command()
@click.argument("analysis")
@json_option
@server_options
def cancel(analysis: str, as_json: bool, server: str | None, local: bool) -> None:
    """Cancel ANALYSIS if it is open; one that has ended stays as it is."""
    with connected(server, local) as client:
        _show(client.cancel(analysis_name(analysis)), as_json)


@click.command()
@click.argument("analysis")
@json_option
@server_options
@click.pass_context
def wait(ctx: click.Context, analysis: str, as_json: bool, server: str | None, local: bool) -> None:
    """Wait for the end of ANALYSIS and show it; end with 4 if it failed or was cancelled."""
    with connected(server, local) as client:
        last = follow(client, analysis_name(analysis), people())
    _show(last, as_json)
    if last.state != pb.STATE_SUCCEEDED:
        ctx.exit(ANALYSIS_FAILED)


@click.command()
@click.argument("analysis")
@json_option
@server_options
def retry(analysis: str, as_json: bool, server: str | None, local: bool) -> None:
    """Queue ANALYSIS, which has failed, again."""
    with connected(server, local) as client:
        _show(client.retry(analysis_name(analysis)), as_json)


@click.command()
@click.argument("analysis")
@click.option("--evidence", default="", metavar="BUNDLE", help="Digest prefix; --local: or a path.")
@json_option
@server_options
def reanalyze(analysis: str, evidence: str, as_json: bool, server: str | None, local: bool) -> None:
    """Judge the stored predictions of ANALYSIS with another bundle: a new analysis."""
    bundle = chosen(evidence, local)
    with connected(server, local, bundle) as client:
        _show(client.reanalyze(analysis_name(analysis), bundle.prefix), as_json)


@click.command()
@click.argument("analysis")
@server_options
def delete(analysis: str, server: str | None, local: bool) -> None:
    """Delete ANALYSIS and its predictions."""
    with connected(server, local) as client:
        client.delete(analysis_name(analysis))
    people().print(f"deleted {analysis}")


def _show(analysis: pb.Analysis, as_json: bool) -> None:
    if as_json:
        print_json(wire.to_json(analysis))
    else:
        show_analysis(analysis, results())


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"can't read {file}: {error.strerror}", field="analysis") from error


def _class(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    class_ = parse_class(text)
    if class_ is None:
        raise InvalidRequest(
            f"expected a class index 0..999, a WordNet id or a unique name, got {text!r}", field=option
        )
    return class_
