"""Messages of verdicts and their evidence."""

import json
from typing import Any

from errata.proto_json import to_json
from errata.v1 import errata_pb2 as pb

from service.analyses.verdicts import VerdictFilter
from service.domain import Verdict, VerdictEvidence, VocabularyEvidence
from service.taxonomy.classes import class_names
from service.wire.names import class_in, error_type_of, group_of, group_value


def to_verdict(verdict: Verdict) -> pb.Verdict:
    """Convert a verdict."""
    names = class_names()
    return pb.Verdict(
        file_name=verdict.file_name,
        target=verdict.target,
        predicted=verdict.predicted,
        error_type=verdict.error_type.key,
        problematic=[pb.ProblematicTag.Name(tag) for tag in verdict.problematic],
        target_name=names[verdict.target],
        predicted_name=names[verdict.predicted],
        probability=verdict.probability,
        evidence=_verdict_evidence(verdict.evidence) if verdict.evidence else None,
        groups=[group_value(group) for group in verdict.groups],
    )


def verdict_line(verdict: Verdict) -> str:
    """Return a verdict in proto3 JSON form, on one line; without evidence, twenty times as fast as `to_json`."""
    if verdict.evidence is not None:
        return to_json(to_verdict(verdict), indent=None)
    names = class_names()
    fields: dict[str, Any] = {
        "file_name": verdict.file_name,
        "target": verdict.target,
        "predicted": verdict.predicted,
        "error_type": verdict.error_type.key,
        "problematic": [f"PROBLEMATIC_TAG_{tag.name}" for tag in verdict.problematic],
        "target_name": names[verdict.target],
        "predicted_name": names[verdict.predicted],
        "groups": [group_value(group) for group in verdict.groups],
    }
    if verdict.probability is not None:
        fields["probability"] = verdict.probability
    return json.dumps(fields)


def verdict_filter(message: pb.VerdictFilter) -> VerdictFilter:
    """Convert the filter of ListVerdicts."""
    return VerdictFilter(
        error_types=frozenset(error_type_of(key, "filter.error_types") for key in message.error_types),
        target=class_in(message, "target", "filter.target"),
        predicted=class_in(message, "predicted", "filter.predicted"),
        superclass=message.superclass,
        group=group_of(message.group, "filter.group"),
        problematic=message.problematic if message.HasField("problematic") else None,
    )


def _vocabulary(vocabulary: VocabularyEvidence) -> pb.VocabularyEvidence:
    return pb.VocabularyEvidence(
        gate=vocabulary.gate,
        best=[
            pb.ProposedText(text=text.text, probability=text.probability, outside=text.outside)
            for text in vocabulary.best
        ],
        num_texts=vocabulary.num_texts,
    )


def _verdict_evidence(evidence: VerdictEvidence) -> pb.VerdictEvidence:
    names = class_names()
    return pb.VerdictEvidence(
        labels=[
            pb.Label(class_index=label, class_name=names[label], source=pb.LabelSource.Name(source))
            for label, source in evidence.labels
        ],
        shared_superclasses=[
            pb.SharedSuperclass(
                label=shared_superclass.label,
                label_name=names[shared_superclass.label],
                superclasses=shared_superclass.superclasses,
            )
            for shared_superclass in evidence.shared_superclasses
        ],
        co_occurrences=[
            pb.CoOccurrence(
                label=co_occurrence.label,
                label_name=names[co_occurrence.label],
                count=co_occurrence.count,
                examples=co_occurrence.examples,
            )
            for co_occurrence in evidence.co_occurrences
        ],
        overlap=evidence.overlap,
        vocabulary=_vocabulary(evidence.vocabulary) if evidence.vocabulary else None,
        trace=[
            pb.Step(error_type=step.error_type.key, outcome=pb.Outcome.Name(step.outcome), note=step.note)
            for step in evidence.trace
        ],
    )
