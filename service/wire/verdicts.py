"""Messages of verdicts and their evidence."""

import json
from collections.abc import Sequence
from typing import Any

from errata import v1 as pb
from errata.names import verdict_name
from errata.proto_json import to_dict

from service.analyses.verdicts import VerdictFilter
from service.domain import ALL, ExpertJudgment, LabelSpace, Verdict, VerdictEvidence, VocabularyEvidence, class_name_of
from service.wire.names import error_type_of, optional_class, to_class_index


def to_verdict(verdict: Verdict, names: Sequence[str], analysis: str = "") -> pb.Verdict:
    """Convert a verdict.

    Args:
        verdict: The verdict.
        names: The names of the classes.
        analysis: The ID of the analysis that contains the verdict; empty: the message has no name.
    """
    return pb.Verdict(
        name=verdict_name(analysis, verdict.file_name) if analysis else "",
        file_name=verdict.file_name,
        target=verdict.target,
        predicted=to_class_index(verdict.predicted),
        error_type=verdict.error_type.key,
        problematic=[pb.ProblematicTag.Name(tag) for tag in verdict.problematic],
        target_name=names[verdict.target],
        predicted_name=class_name_of(names, verdict.predicted),
        probability=verdict.probability,
        evidence=_verdict_evidence(verdict.evidence, names) if verdict.evidence else None,
        groups=list(verdict.groups),
        rejected_target=verdict.replaced_by is not None,
        effective_target=verdict.effective_target,
        effective_target_name=names[verdict.effective_target],
        matches_label=verdict.matches_label,
        answer=verdict.answer,
        answer_outcome=pb.AnswerOutcome.Name(verdict.answer_outcome),
        answer_relation=pb.AnswerRelation.Name(verdict.answer_relation),
    )


def verdict_line(verdict: Verdict, names: Sequence[str]) -> str:
    """Return a verdict as one line of proto3 JSON, without its name.

    A verdict without evidence is converted without a protobuf message, which is 20 times as fast.
    """
    fields: dict[str, Any]
    if verdict.evidence is not None:
        fields = to_dict(to_verdict(verdict, names))
        del fields["name"]  # the file is about one analysis
        return json.dumps(fields)
    fields = {
        "file_name": verdict.file_name,
        "target": verdict.target,
        "predicted": to_class_index(verdict.predicted),
        "error_type": verdict.error_type.key,
        "problematic": [f"PROBLEMATIC_TAG_{tag.name}" for tag in verdict.problematic],
        "target_name": names[verdict.target],
        "predicted_name": class_name_of(names, verdict.predicted),
        "groups": list(verdict.groups),
        "rejected_target": verdict.replaced_by is not None,
        "effective_target": verdict.effective_target,
        "effective_target_name": names[verdict.effective_target],
        "matches_label": verdict.matches_label,
        "answer": verdict.answer,
        "answer_outcome": f"ANSWER_OUTCOME_{verdict.answer_outcome.name}",
        "answer_relation": f"ANSWER_RELATION_{verdict.answer_relation.name}",
    }
    if verdict.probability is not None:
        fields["probability"] = verdict.probability
    return json.dumps(fields)


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


def _vocabulary(vocabulary: VocabularyEvidence) -> pb.VocabularyEvidence:
    return pb.VocabularyEvidence(
        gate=vocabulary.gate,
        best=[
            pb.ProposedText(text=text.text, probability=text.probability, outside=text.outside)
            for text in vocabulary.best
        ],
        num_texts=vocabulary.num_texts,
        prefers_label=vocabulary.prefers_label,
    )


def _expert_judgment(judgment: ExpertJudgment) -> pb.ExpertJudgment:
    return pb.ExpertJudgment(error_type=judgment.cause.key, severity=pb.ExpertSeverity.Name(judgment.severity))


def _verdict_evidence(evidence: VerdictEvidence, names: Sequence[str]) -> pb.VerdictEvidence:
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
        expert_judgment=_expert_judgment(evidence.expert_judgment) if evidence.expert_judgment else None,
        trace=[
            pb.Step(error_type=step.error_type.key, outcome=pb.Outcome.Name(step.outcome), note=step.note)
            for step in evidence.trace
        ],
        attributes=[pb.ImageAttribute(attribute=item.attribute, values=item.values) for item in evidence.attributes],
    )
