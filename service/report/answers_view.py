"""How free-text answers were mapped to classes, as records for the template of the report."""

from dataclasses import dataclass

from errata.messages import MISSING, answer_names, answers_notes, format_count

from service.domain import AnswerSummary


@dataclass(frozen=True)
class AnswerRow:
    """An answer without a class."""

    answer: str
    names: str  # what the answer names
    count: str


@dataclass(frozen=True)
class AnswersView:
    """How answers were mapped to classes."""

    notes: tuple[str, ...]
    rows: tuple[AnswerRow, ...]  # most frequent answers without a class


def answers_view(answers: AnswerSummary) -> AnswersView:
    """Convert how answers were mapped to classes for display."""
    return AnswersView(
        tuple(answers_notes(answers)),
        tuple(
            AnswerRow(
                example.answer or MISSING,
                answer_names(example.outcome, example.classes),
                format_count(example.count),
            )
            for example in answers.examples
        ),
    )
