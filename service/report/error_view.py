"""One error with its evidence, as the report and the page of an image show it."""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.messages import (
    LABEL_SOURCE_NAMES,
    PROBLEMATIC_TAG_NAMES,
    answer_note,
    attribute_note,
    cooccurrence_note,
    expert_note,
    format_percentage,
    rejected_target_note,
    rule_outcome,
    superclass_note,
    vocabulary_note,
)

from service.domain import ExpertJudgment, Verdict, class_name_of
from service.report.elements import css_class


@dataclass(frozen=True)
class ErrorRow:
    """One error with its evidence."""

    file_name: str
    target: str
    predicted: str
    error_type: str
    css_class: str
    probability: str
    has_probability: bool
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    evidence: tuple[str, ...]  # sentences
    trace: tuple[str, ...]  # the outcome of each rule
    attributes: tuple[str, ...] = ()  # such as "atypical: smaller"


def error_row(verdict: Verdict, names: Sequence[str]) -> ErrorRow:
    """Convert a verdict for display; `names` are the names of the classes."""
    evidence = verdict.evidence
    return ErrorRow(
        file_name=verdict.file_name,
        target=names[verdict.effective_target],
        predicted=class_name_of(names, verdict.predicted),
        error_type=verdict.error_type.title,
        css_class=css_class(verdict.error_type),
        probability=format_percentage(verdict.probability),
        has_probability=verdict.probability is not None,
        tags=tuple(PROBLEMATIC_TAG_NAMES[tag] for tag in verdict.problematic),
        labels=tuple(f"{names[label]} ({LABEL_SOURCE_NAMES[source]})" for label, source in evidence.labels)
        if evidence
        else (),
        evidence=evidence_notes(verdict, names),
        attributes=tuple(attribute_note(item.attribute, item.values) for item in evidence.attributes)
        if evidence
        else (),
        trace=tuple(rule_outcome(step.error_type.key, step.note, step.outcome) for step in evidence.trace)
        if evidence
        else (),
    )


def evidence_notes(verdict: Verdict, names: Sequence[str]) -> tuple[str, ...]:
    """Return sentences about the evidence of a verdict, in the order of the rules, and then the judgment of experts."""
    evidence = verdict.evidence
    if evidence is None:
        return ()
    predicted = class_name_of(names, verdict.predicted)
    notes = [] if verdict.replaced_by is None else [rejected_target_note(names[verdict.target])]
    if verdict.answer_outcome:
        notes.append(answer_note(verdict.answer, verdict.answer_outcome, verdict.answer_relation))
    notes += [evidence.overlap] if evidence.overlap else []
    notes += [
        superclass_note(predicted, names[shared.label], shared.superclasses)
        for shared in evidence.shared_superclasses
        if shared.label != verdict.predicted
    ]
    vocabulary = evidence.vocabulary
    if vocabulary is not None:
        best = [(text.text, text.probability) for text in vocabulary.best]
        prefers_label = bool(vocabulary.prefers_label)
        notes.append(vocabulary_note(predicted, vocabulary.gate, vocabulary.num_texts, best, prefers_label))
    notes += [
        cooccurrence_note(predicted, names[pair.label], pair.count, pair.examples) for pair in evidence.co_occurrences
    ]
    if evidence.expert_judgment is not None:
        notes.append(judgment_note(evidence.expert_judgment))
    return tuple(notes)


def judgment_note(judgment: ExpertJudgment) -> str:
    """Describe the judgment of experts about a prediction."""
    return expert_note(judgment.cause.key, judgment.severity)
