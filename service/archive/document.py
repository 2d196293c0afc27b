"""An analysis as a JSON document, schema 1: enums by name, times in ISO 8601, absent rates as null.

What a schema's number promises stands in domain/schema_version.py.
"""

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from service.domain import (
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    ErrorType,
    Failure,
    Group,
    GroupSummary,
    ModelInfo,
    Progress,
    RowOrder,
    State,
    Summary,
)
from service.domain.schema_version import check_schema, known_fields

SCHEMA = 1
MAX_COUNT = (1 << 31) - 1
FIRST_YEAR, LAST_YEAR = 1970, 9998
ABSTAINING = {ErrorType.FINE_GRAINED_OOV, ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL}
_BY_TYPE = (
    "counts",
    "portions_of_top1_errors",
    "portions_of_multi_label_errors",
    "gain_if_fixed_top1",
    "gain_if_fixed_multi_label",
)
_TYPES = TypeAdapter(Analysis)  # dataclasses take what they are given
_TIMES = ("create_time", "start_time", "end_time")


def to_document(analysis: Analysis) -> dict[str, Any]:
    """Return the analysis as plain JSON values."""
    document: dict[str, Any] = {"schema": SCHEMA} | {
        field.name: getattr(analysis, field.name)
        for field in fields(analysis)
        if field.name not in ("request", "summary", "failure", "model_info", "progress", *_TIMES)
    }
    document["state"] = analysis.state.name
    document["warnings"] = list(analysis.warnings)
    document["request"] = asdict(analysis.request) | {"row_order": analysis.request.row_order.name}
    document["progress"] = {"done": analysis.progress.done, "total": analysis.progress.total}
    for name in _TIMES:
        time = getattr(analysis, name)
        document[name] = time.isoformat() if time else None
    document["failure"] = asdict(analysis.failure) if analysis.failure else None
    document["model_info"] = asdict(analysis.model_info) if analysis.model_info else None
    document["summary"] = _from_summary(analysis.summary) if analysis.summary else None
    return document


def from_document(document: dict[str, Any]) -> Analysis:
    """Return the analysis of a document.

    Raise NewerRecord for a schema that isn't known yet, ValueError, KeyError or TypeError for damage.
    """
    check_schema("an archived analysis", document["schema"], SCHEMA)
    values = known_fields(Analysis, document)
    request = known_fields(AnalysisRequest, values["request"])
    values["request"] = AnalysisRequest(**(request | {"row_order": RowOrder[request["row_order"]]}))
    values["state"] = State[values["state"]]
    values["warnings"] = tuple(values["warnings"])
    values["progress"] = Progress(**known_fields(Progress, values["progress"]))
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["failure"] = Failure(**known_fields(Failure, values["failure"])) if values["failure"] else None
    values["model_info"] = ModelInfo(**known_fields(ModelInfo, values["model_info"])) if values["model_info"] else None
    values["summary"] = _to_summary(values["summary"]) if values["summary"] else None
    _check_text(json.dumps(document, ensure_ascii=False))
    analysis = _TYPES.validate_python(asdict(Analysis(**values)))
    _check_numbers(document)
    _check_whole(analysis)
    return analysis


def _check_text(text: str) -> None:
    """Raise ValueError for text that can't be written as UTF-8."""
    text.encode()


def _check_numbers(value: object) -> None:
    """Raise ValueError for a number that no field of the API holds."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_numbers(item)
    elif isinstance(value, int) and not 0 <= value <= MAX_COUNT:
        raise ValueError(f"expected counts up to {MAX_COUNT}, got {value}")


def _check_whole(analysis: Analysis) -> None:
    """Raise ValueError unless an analysis is as finished as all that are archived."""
    if not analysis.state.is_final:
        raise ValueError(f"expected an analysis that has ended, got {analysis.state.name}")
    for time in (analysis.create_time, analysis.start_time, analysis.end_time):
        if time is not None and (time.tzinfo is None or not FIRST_YEAR <= time.year <= LAST_YEAR):
            raise ValueError(f"expected a time with its zone, got {time}")
    summary = analysis.summary
    if (summary is None) == (analysis.state is State.SUCCEEDED):
        raise ValueError("expected a summary of what has succeeded, and of nothing else")
    if summary is not None:
        if {*summary.groups} != {*Group} or any({*group.counts} != {*ERROR_TYPES} for group in summary.groups.values()):
            raise ValueError("expected every group with a count of every error type")
        if len(set(summary.abstained)) != len(summary.abstained) or not set(summary.abstained) <= ABSTAINING:
            raise ValueError(f"expected rules that may abstain, got {summary.abstained}")


def _from_summary(summary: Summary) -> dict[str, Any]:
    plain = {field.name: getattr(summary, field.name) for field in fields(summary)}
    plain["abstained"] = [error_type.name for error_type in summary.abstained]
    plain["groups"] = {group.value: _from_group(each) for group, each in summary.groups.items()}
    return plain


def _from_group(group: GroupSummary) -> dict[str, Any]:
    plain = {field.name: getattr(group, field.name) for field in fields(group)}
    return plain | {name: {key.name: value for key, value in plain[name].items()} for name in _BY_TYPE}


def _to_summary(plain: dict[str, Any]) -> Summary:
    return Summary(
        **known_fields(Summary, plain)
        | {
            "abstained": tuple(ErrorType[name] for name in plain["abstained"]),
            "groups": {Group(name): _to_group(group) for name, group in plain["groups"].items()},
        }
    )


def _to_group(plain: dict[str, Any]) -> GroupSummary:
    by_type = {name: {ErrorType[key]: value for key, value in plain[name].items()} for name in _BY_TYPE}
    return GroupSummary(**known_fields(GroupSummary, plain) | by_type)
