"""Enumerations: severities, tags, states. Values are stored and never renumbered."""

from enum import IntEnum

from errata.errors import ErrataError


class UnknownValue(ErrataError, ValueError):
    """Raised for a value of an enumeration that this version does not know."""

    reason = "UNKNOWN_VALUE"


class _WireEnum(IntEnum):
    """An enumeration to which newer versions of Errata add values. Services and files can contain these values."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise UnknownValue(
            f"Unknown {cls.__name__} value {value!r:.40}. A newer version of Errata may know it. "
            "Upgrade this installation of Errata."
        )


class Severity(_WireEnum):
    """Severity of an error type."""

    UNSPECIFIED = 0
    NONE = 1
    MINOR = 2
    EXPLAINABLE = 3
    SEVERE = 4


class ExpertSeverity(_WireEnum):
    """Severity that experts gave to a single error. It is not the severity of an error type."""

    UNSPECIFIED = 0
    MINOR = 1
    BORDERLINE = 2
    MAJOR = 3


class ProblematicTag(_WireEnum):
    """Tag of a problematic sample. In the verdict table, the first tag of a sample has a value from 1 to 4."""

    UNSPECIFIED = 0
    EMPTY_CORRECT = 1
    EMPTY_CORRECT_BY_OVERLAP = 2
    EMPTY_WRONG = 3
    CORRECT_BUT_WRONG_LABEL = 4
    OOV_SIMILAR_TO_TARGET = 5
    CO_OCCURRENCE_WITH_TARGET = 6
    UNTAGGED = 7


class LabelSource(_WireEnum):
    """Origin of a label."""

    UNSPECIFIED = 0
    ORIGINAL = 1
    REAL = 2
    CORRECT = 3
    UNCLEAR = 4
    REVIEW = 5


class State(_WireEnum):
    """State of an analysis. Only the server sets it."""

    UNSPECIFIED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def is_final(self) -> bool:
        """Return whether the state never changes again."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class RowOrder(_WireEnum):
    """Order of the rows in an upload without file names."""

    UNSPECIFIED = 0
    PATH = 1  # sorted by the original label, then by name
    FILE_NAME = 2  # sorted by file name


class Outcome(_WireEnum):
    """Outcome of one rule for one prediction."""

    UNSPECIFIED = 0
    HIT = 1
    MISS = 2
    ABSTAINED = 3
    NOT_REACHED = 4


class AnswerOutcome(_WireEnum):
    """Result of mapping a free-text answer to a class."""

    UNSPECIFIED = 0
    MAPPED = 1
    UNKNOWN = 2  # names nothing that is known
    AMBIGUOUS = 3  # names several classes
    OUTSIDE = 4  # names something that is no class of the label space


class AnswerRelation(_WireEnum):
    """Relation of a wrong answer to the labels of its image."""

    UNSPECIFIED = 0
    TOO_GENERAL = 1
    MORE_SPECIFIC = 2
