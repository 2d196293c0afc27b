"""Convert an analysis to and from a JSON document: enums by name, times in ISO 8601, undefined rates as null.

See domain/schema_version.py for the rules of schema versions.
"""

import json
import math
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from service.domain import (
    ABSTAINING_TYPES,
    ALL,
    ERROR_TYPES,
    Analysis,
    AnalysisRequest,
    AnswerExample,
    AnswerOutcome,
    AnswerSummary,
    ErrorType,
    Failure,
    GroupSummary,
    ModelInfo,
    Progress,
    RowOrder,
    State,
    Subset,
    Summary,
)
from service.domain.schema_version import check_schema, check_time, known_fields

SCHEMA = 1
MAX_COUNT = (1 << 31) - 1
_BY_TYPE = (
    "counts",
    "portions_of_top1_errors",
    "portions_of_multi_label_errors",
    "gain_if_fixed_top1",
    "gain_if_fixed_multi_label",
)
_VALIDATOR = TypeAdapter(Analysis)  # dataclasses do not check types
_TIMES = ("create_time", "start_time", "end_time")
# Earlier versions write these fields after the others. The bytes of a document are compared while versions are mixed.
_CONVERTED = {"request", "summary", "failure", "model_info", "progress", "subset", "answers", *_TIMES}


def to_document(analysis: Analysis) -> dict[str, Any]:
    """Return an analysis as JSON values."""
    times = {name: getattr(analysis, name) for name in _TIMES}
    return {
        "schema": SCHEMA,
        **{name: value for name, value in vars(analysis).items() if name not in _CONVERTED},
        "state": analysis.state.name,
        "warnings": list(analysis.warnings),
        "assumptions": list(analysis.assumptions),
        "request": _to_values(analysis.request) | {"row_order": analysis.request.row_order.name},
        "progress": {"done": analysis.progress.done, "total": analysis.progress.total},
        **{name: time.isoformat() if time else None for name, time in times.items()},
        "failure": _to_values(analysis.failure),
        "model_info": _to_values(analysis.model_info),
        "answers": _answers_to_json(analysis.answers) if analysis.answers else None,
        "subset": _to_values(analysis.subset),
        "summary": _summary_to_json(analysis.summary) if analysis.summary else None,
    }


def from_document(document: dict[str, Any]) -> Analysis:
    """Return the analysis of a document, and check all its values.

    Raises:
        NewerRecord: A newer version wrote the document.
        ValueError, KeyError, TypeError: The document is damaged.
    """
    analysis = parse_document(document)
    json.dumps(document, ensure_ascii=False).encode()  # raises for a lone surrogate, which JSON can escape
    values = _to_values(analysis)
    analysis = _VALIDATOR.validate_python(values)
    _check_not_converted(values, _to_values(analysis))  # parse_document, which others use, does not convert
    _check_numbers(document)
    _check_complete(analysis)
    return analysis


def parse_document(document: dict[str, Any]) -> Analysis:
    """Return the analysis of a document that `from_document` has accepted. Its values are not checked again."""
    check_schema("an archived analysis", document["schema"], SCHEMA)
    values = known_fields(Analysis, document)
    request = known_fields(AnalysisRequest, values["request"])
    values["request"] = AnalysisRequest(**(request | {"row_order": RowOrder[request["row_order"]]}))
    values["state"] = State[values["state"]]
    values["warnings"] = tuple(values["warnings"])
    values["assumptions"] = tuple(values.get("assumptions", ()))
    values["progress"] = Progress(**known_fields(Progress, values["progress"]))
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["failure"] = Failure(**known_fields(Failure, values["failure"])) if values["failure"] else None
    values["model_info"] = ModelInfo(**known_fields(ModelInfo, values["model_info"])) if values["model_info"] else None
    values["answers"] = _answers_from_json(values["answers"]) if values.get("answers") else None
    subset = values.get("subset")  # earlier versions do not write it
    values["subset"] = Subset(**known_fields(Subset, subset)) if subset else None
    values["summary"] = _summary_from_json(values["summary"]) if values["summary"] else None
    return Analysis(**values)


def _to_values(value: Any) -> Any:
    """Return a record as dictionaries. `asdict` would also copy each value, which takes most of the time."""
    if is_dataclass(value):
        return {name: _to_values(field_value) for name, field_value in vars(value).items()}
    if isinstance(value, tuple):
        return tuple(map(_to_values, value))
    return {key: _to_values(item) for key, item in value.items()} if isinstance(value, dict) else value


def encode_document(analysis: Analysis) -> bytes:
    """Return the document of an analysis as JSON text."""
    return json.dumps(to_document(analysis)).encode()


def _check_not_converted(value: Any, validated: Any) -> None:
    """Raise ValueError if the validator has converted a value, except integers to floats."""
    if isinstance(value, dict):
        for name, nested in value.items():
            _check_not_converted(nested, validated[name])
    elif isinstance(value, tuple):
        for nested, validated_nested in zip(value, validated, strict=True):
            _check_not_converted(nested, validated_nested)
    elif type(value) is not type(validated) and (type(value), type(validated)) != (int, float):
        raise ValueError(f"expected {type(validated).__name__}, got {value!r:.80}")


def _check_numbers(value: object) -> None:
    """Raise ValueError for an integer that no field of the API can represent, and for NaN and infinity."""
    if isinstance(value, dict | list | tuple):
        for nested in value.values() if isinstance(value, dict) else value:
            _check_numbers(nested)
    elif isinstance(value, int) and not 0 <= value <= MAX_COUNT:
        raise ValueError(f"expected counts up to {MAX_COUNT}, got {value}")
    elif isinstance(value, float) and not math.isfinite(value):  # JSON has neither, but Python's parser accepts both
        raise ValueError(f"expected numbers, got {value}")


def _check_complete(analysis: Analysis) -> None:
    """Raise ValueError unless an analysis is final and has all values of its state."""
    if not analysis.state.is_final:
        raise ValueError(f"the analysis is not finished: its state is {analysis.state.name}")
    for time in (analysis.create_time, analysis.start_time, analysis.end_time):
        if time is not None:
            check_time(time)
    summary = analysis.summary
    if (summary is None) == (analysis.state is State.SUCCEEDED):
        raise ValueError("expected a summary if and only if the analysis has succeeded")
    if summary is not None:
        if ALL not in summary.groups or any({*group.counts} != {*ERROR_TYPES} for group in summary.groups.values()):
            raise ValueError(f"expected the group {ALL!r}, and a count of each error type in each group")
        if len(set(summary.abstained)) != len(summary.abstained) or not set(summary.abstained) <= {*ABSTAINING_TYPES}:
            raise ValueError(f"duplicate rules, or rules that cannot abstain: {summary.abstained}")


def _answers_to_json(answers: AnswerSummary) -> dict[str, Any]:
    examples = [vars(example) | {"outcome": example.outcome.name} for example in answers.examples]
    return vars(answers) | {"examples": examples}


def _answers_from_json(values: dict[str, Any]) -> AnswerSummary:
    examples = tuple(
        AnswerExample(
            **known_fields(AnswerExample, example)
            | {"outcome": AnswerOutcome[example["outcome"]], "classes": tuple(example["classes"])}
        )
        for example in values["examples"]
    )
    return AnswerSummary(**known_fields(AnswerSummary, values) | {"examples": examples})


def _summary_to_json(summary: Summary) -> dict[str, Any]:
    return vars(summary) | {
        "abstained": [error_type.name for error_type in summary.abstained],
        "groups": {group: _group_to_json(group_summary) for group, group_summary in summary.groups.items()},
    }


def _group_to_json(summary: GroupSummary) -> dict[str, Any]:
    values = vars(summary)
    return values | {name: {key.name: value for key, value in values[name].items()} for name in _BY_TYPE}


def _summary_from_json(values: dict[str, Any]) -> Summary:
    return Summary(
        **known_fields(Summary, values)
        | {
            "abstained": tuple(ErrorType[name] for name in values["abstained"]),
            "groups": {name: _group_from_json(group) for name, group in values["groups"].items()},
        }
    )


def _group_from_json(values: dict[str, Any]) -> GroupSummary:
    by_type = {
        name: {ErrorType[key]: value for key, value in values[name].items()} for name in _BY_TYPE if name in values
    }
    added = {error_type: 0 for error_type in ERROR_TYPES if error_type.row.since > 1}
    return GroupSummary(**known_fields(GroupSummary, values) | by_type | {"counts": added | by_type["counts"]})
