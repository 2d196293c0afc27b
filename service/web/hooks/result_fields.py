"""The fields of a result that registries receive, under names that each registry prefixes."""

from collections.abc import Mapping
from typing import Any

from service.analyses.write_back import WriteBack
from service.domain import ALL, State
from service.report.messages.gate import reason_lines
from service.web.hooks.payload import MAX_TEXT

PASSED_ALIAS = "errata-passed"


def metrics_of(result: WriteBack) -> dict[str, float]:
    """Return the metrics of a result: accuracies as fractions of 1, and counts of error types."""
    if result.analysis.state is not State.SUCCEEDED or result.analysis.summary is None:
        return {}
    overall = result.analysis.summary.groups[ALL]
    accuracies = {
        "top1": overall.top1_accuracy,
        "multi_label": overall.multi_label_accuracy,
        "multi_label_forgiving_minor": overall.multi_label_accuracy_forgiving_minor,
        "multi_label_forgiving_explainable": overall.multi_label_accuracy_forgiving_explainable,
    }
    abstained = result.analysis.summary.abstained  # their count is unknown, not 0
    counts = {
        f"count.{error_type.name.lower()}": float(count)
        for error_type, count in overall.counts.items()
        if error_type not in abstained
    }
    return {name: value for name, value in accuracies.items() if value is not None} | counts


def state_fields(result: WriteBack, public_url: str) -> dict[str, str]:
    """Return the state of the analysis. The last field is its ID, which shows that the result is complete."""
    analysis = result.analysis
    fields = {
        "state": analysis.state.name.lower(),
        "dataset": analysis.request.dataset,
        "error": analysis.failure.message[:MAX_TEXT] if analysis.failure else "",
    }
    if link := link_of(result, public_url):
        fields["report"] = link
    return fields | {"analysis": analysis.id}


def gate_fields(result: WriteBack) -> dict[str, str]:
    """Return the decision of the gate."""
    assert result.decision is not None, "This is a bug: the result has no gate"
    return {
        "gate": result.decision.name.lower(),
        "gate_reasons": "\n".join(reason_lines(result.gate, result.without_baseline))[:MAX_TEXT],
        "gate_analysis": result.analysis.id,
    }


def is_latest(result: WriteBack, existing: Mapping[str, Any]) -> bool:
    """Return whether the existing fields of a version have no later result. IDs of analyses sort by time."""
    return str(existing.get("analysis", "")) <= result.analysis.id


def is_latest_gate(result: WriteBack, existing: Mapping[str, Any]) -> bool:
    """Return whether a result has a decision, and the existing fields of a version have none of a later analysis.

    For the alias, the version is the one that has the alias: it must not move back to a version that passed earlier.
    """
    return result.decision is not None and str(existing.get("gate_analysis", "")) <= result.analysis.id


def link_of(result: WriteBack, public_url: str) -> str:
    """Return the address of the page of the analysis; empty without a public URL."""
    return f"{public_url.rstrip('/')}/analyses/{result.analysis.id}" if public_url else ""
