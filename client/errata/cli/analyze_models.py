"""errata analyze with several models: one analysis for each, and one table of results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from errata import Client, pb
from errata.choices import enum_name
from errata.cli.console import safe, stderr_console, stdout_console
from errata.cli.exit_codes import ANALYSIS_FAILED, GATE_FAILED, INTERRUPTED, SUCCESS, UNDECIDED
from errata.cli.folder import JUNIT, make_folder, write_folder
from errata.cli.gate import evaluate_finished, exit_code, show_gate, write_gate
from errata.cli.progress import follow, names_on_error
from errata.cli.value_names import decision_name
from errata.cli.views import new_table
from errata.errors import ErrataError
from errata.groups import ALL
from errata.messages import IMAGE_ACCURACY, MISSING, format_count, format_optional
from errata.proto_json import to_dict

PRIORITY = (ANALYSIS_FAILED, GATE_FAILED, UNDECIDED)  # of the exit codes of several analyses


@dataclass(frozen=True)
class ModelRun:
    """Analyses of several models that are queued together."""

    client: Client
    models: Sequence[str]
    options: Mapping[str, Any]
    wait: bool
    output: Path | None
    has_gate: bool

    def show(self, as_json: bool) -> int:
        """Run the analyses, show their results, and return the first exit code in PRIORITY that an analysis has."""
        analyses: list[pb.Analysis] = [*self.client.analyze_all(self.models, **self.options)]
        if self.wait:
            try:
                with names_on_error(analyses, stderr_console()):
                    analyses = [self._follow(analysis) for analysis in analyses]
            except KeyboardInterrupt:
                self._cancel(analyses)
                return INTERRUPTED
        gates = [evaluate_finished(self.client, analysis) for analysis in analyses] if self.has_gate else []
        if self.output is not None:
            self._write(self.output, analyses, gates)
        if as_json:
            click.echo(json.dumps({"analyses": [to_dict(analysis) for analysis in analyses]}, indent=2))
            for analysis, gate in zip(analyses, gates, strict=False):  # without --gate, there are no gates
                if gate is not None:
                    stderr_console().print(f"{safe(analysis.display_name)}:")
                    show_gate(gate, stderr_console())
        else:
            _show_table(analyses, gates)
        codes = {_exit_code(analysis) for analysis in analyses}
        codes |= {exit_code(gate) for gate in gates}
        return next((code for code in PRIORITY if code in codes), SUCCESS)

    def _follow(self, analysis: pb.Analysis) -> pb.Analysis:
        stderr_console().print(f"{safe(analysis.display_name)}:")
        return follow(self.client, analysis.name, stderr_console())

    def _cancel(self, analyses: Sequence[pb.Analysis]) -> None:
        for analysis in analyses:
            try:
                self.client.cancel(analysis.name)
            except ErrataError as error:
                stderr_console().print(f"{safe(analysis.name)} could not be canceled: {safe(error.message)}")
        stderr_console().print(f"Canceled {len(analyses)} analyses")

    def _write(self, output: Path, analyses: Sequence[pb.Analysis], gates: Sequence[pb.GateResult | None]) -> None:
        """Write each result, and the result of its gate, to a folder with the ID of its analysis."""
        for analysis, gate in zip_longest(analyses, gates):
            has_succeeded = analysis.state == pb.Analysis.STATE_SUCCEEDED
            if not has_succeeded and gate is None:
                continue
            folder = output / analysis.name.rpartition("/")[2]
            make_folder(folder)
            if has_succeeded:
                write_folder(self.client, analysis, folder)
            if gate is not None:
                write_gate(gate, analysis, junit=folder / JUNIT, markdown=None)
            stderr_console().print(f"Written to {safe(str(folder))}", soft_wrap=True)


def _exit_code(analysis: pb.Analysis) -> int:
    has_failed = analysis.state in (pb.Analysis.STATE_FAILED, pb.Analysis.STATE_CANCELLED)
    return ANALYSIS_FAILED if has_failed else SUCCESS


def _show_table(analyses: Sequence[pb.Analysis], gates: Sequence[pb.GateResult | None]) -> None:
    console = stdout_console()
    headers = ["state", "top-1 accuracy", IMAGE_ACCURACY, "top-1 errors", *(["gate"] if gates else [])]
    table = new_table("model", *headers, "analysis", unbroken=["analysis"])
    for number, analysis in enumerate(analyses):
        decision = [_decision(gates[number])] if gates else []
        cells = [enum_name(pb.Analysis.State, analysis.state), *_statistics(analysis), *decision]
        table.add_row(safe(analysis.display_name), *cells, safe(analysis.name.rpartition("/")[2]))
    console.print(table)
    for analysis in analyses:
        if analysis.HasField("failure"):
            name = f"{safe(analysis.display_name)}: [red]{safe(analysis.failure.reason)}[/]"
            console.print(f"{name}: {safe(analysis.failure.message)}")


def _decision(gate: pb.GateResult | None) -> str:
    return MISSING if gate is None else decision_name(gate.decision)


def _statistics(analysis: pb.Analysis) -> list[str]:
    """Return the statistics of all images; dashes unless the analysis has succeeded."""
    if not analysis.HasField("summary"):
        return [MISSING] * 3
    group = analysis.summary.groups[ALL]
    names = ("top1_accuracy", "image_multi_label_accuracy")
    return [*(format_optional(group, name) for name in names), format_count(group.top1_errors)]
