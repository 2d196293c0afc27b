"""Messages of verdicts and their evidence."""

import json
from collections.abc import Sequence
from typing import Any

from errata import v1 as pb
from errata.names import verdict_name

from service.analyses.verdicts import VerdictFilter
from service.domain import ALL, LabelSpace, Verdict, VerdictEvidence, VocabularyEvidence, class_name_of
from service.wire.names import error_type_of, optional_class, to_class_index


def to_verdict(verdict: Verdict, names: Sequence[str], analysis: str = "") -> pb.Verdict:
    """Convert a verdict.

    Args:
        verdict: The verdict.
        names: The names of the classes.
        analysis: The ID of the analysis that contains the verdict; empty: the message has no name.
    """
    name = verdict_name(analysis, verdict.file_name) if analysis else ""
    return pb.Verdict(name=name, **_fields(verdict, names))


def verdict_line(verdict: Verdict, names: Sequence[str]) -> str:
    """Return a verdict as one line of proto3 JSON, without its name, because the file is about one analysis."""
    return json.dumps(_fields(verdict, names))


def _fields(verdict: Verdict, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a verdict's message, as in proto3 JSON. Optional fields without a value are absent."""
    fields = {
        "file_name": verdict.file_name,
        "target": verdict.target,
        "predicted": to_class_index(verdict.predicted),
        "error_type": verdict.error_type.key,
        "problematic": [pb.ProblematicTag.Name(tag) for tag in verdict.problematic],
        "target_name": names[verdict.target],
        "predicted_name": class_name_of(names, verdict.predicted),
        "groups": list(verdict.groups),
        "rejected_target": verdict.replaced_by is not None,
        "effective_target": verdict.effective_target,
        "effective_target_name": names[verdict.effective_target],
        "matches_label": verdict.matches_label,
        "answer": verdict.answer,
        "answer_outcome": pb.AnswerOutcome.Name(verdict.answer_outcome),
        "answer_relation": pb.AnswerRelation.Name(verdict.answer_relation),
    }
    if verdict.probability is not None:
        fields["probability"] = verdict.probability
    if verdict.evidence is not None:
        fields["evidence"] = _evidence_fields(verdict.evidence, names)
    return fields


def verdict_filter(message: pb.VerdictFilter, label_space: LabelSpace) -> VerdictFilter:
    """Convert the filter of ListVerdicts, whose classes belong to a label space."""
    return VerdictFilter(
        error_types=frozenset(error_type_of(key, "filter.error_types") for key in message.error_types),
        target=optional_class(message.target_class, "filter.target_class", label_space),
        predicted=optional_class(message.predicted_class, "filter.predicted_class", label_space),
        superclass=message.superclass,
        group=message.group or ALL,
        problematic=message.problematic if message.HasField("problematic") else None,
        slice=message.slice,
    )


def _evidence_fields(evidence: VerdictEvidence, names: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "labels": [
            {"class_index": label, "class_name": names[label], "source": pb.LabelSource.Name(source)}
            for label, source in evidence.labels
        ],
        "shared_superclasses": [
            {"label": shared.label, "label_name": names[shared.label], "superclasses": list(shared.superclasses)}
            for shared in evidence.shared_superclasses
        ],
        "co_occurrences": [
            {
                "label": co_occurrence.label,
                "label_name": names[co_occurrence.label],
                "count": co_occurrence.count,
                "examples": list(co_occurrence.examples),
            }
            for co_occurrence in evidence.co_occurrences
        ],
        "overlap": evidence.overlap,
        "trace": [
            {"error_type": step.error_type.key, "outcome": pb.Outcome.Name(step.outcome), "note": step.note}
            for step in evidence.trace
        ],
        "attributes": [{"attribute": item.attribute, "values": list(item.values)} for item in evidence.attributes],
    }
    if evidence.vocabulary is not None:
        fields["vocabulary"] = _vocabulary_fields(evidence.vocabulary)
    if (judgment := evidence.expert_judgment) is not None:
        severity = pb.ExpertSeverity.Name(judgment.severity)
        fields["expert_judgment"] = {"error_type": judgment.cause.key, "severity": severity}
    return fields


def _vocabulary_fields(vocabulary: VocabularyEvidence) -> dict[str, Any]:
    fields = {
        "gate": vocabulary.gate,
        "best": [
            {"text": text.text, "probability": text.probability, "outside": text.outside} for text in vocabulary.best
        ],
        "num_texts": vocabulary.num_texts,
    }
    if vocabulary.prefers_label is not None:
        fields["prefers_label"] = vocabulary.prefers_label
    return fields
