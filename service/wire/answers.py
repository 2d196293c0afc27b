"""Messages of free-text answers."""

from dataclasses import fields

from errata import v1 as pb

from service.domain import AnswerExample, AnswerOutcome, AnswerSummary
from service.wire.names import enum_of

_PLAIN = [field.name for field in fields(AnswerSummary) if field.name != "examples"]


def to_answer_mapping(summary: AnswerSummary) -> pb.AnswerMapping:
    """Convert a summary of how answers were mapped to classes."""
    return pb.AnswerMapping(
        **{name: getattr(summary, name) for name in _PLAIN},
        examples=[
            pb.AnswerExample(
                answer=example.answer,
                outcome=pb.AnswerOutcome.Name(example.outcome),
                count=example.count,
                classes=example.classes,
            )
            for example in summary.examples
        ],
    )


def from_answer_mapping(message: pb.AnswerMapping) -> AnswerSummary:
    """Convert a message to a summary of mapped answers; raise InvalidRequest for an unknown outcome."""
    return AnswerSummary(
        **{name: getattr(message, name) for name in _PLAIN},
        examples=tuple(
            AnswerExample(
                example.answer,
                enum_of(AnswerOutcome, example.outcome, "examples.outcome"),
                example.count,
                tuple(example.classes),
            )
            for example in message.examples
        ),
    )
