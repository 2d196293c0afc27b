"""What Errata says of one prediction for one image, and why."""

from dataclasses import dataclass

from errata.enums import ErrorType, Group, LabelSource, Outcome, ProblematicTag


@dataclass(frozen=True)
class SharedSuperclass:
    """A label of the image and the superclasses that it shares with the prediction."""

    label: int
    superclasses: tuple[str, ...]


@dataclass(frozen=True)
class CoOccurrence:
    """A label of the image that is often seen together with the prediction."""

    label: int
    count: int  # images that show both
    examples: tuple[str, ...]  # their file names, a few


@dataclass(frozen=True)
class Step:
    """One rule of the trace."""

    error_type: ErrorType
    outcome: Outcome
    note: str = ""  # for a step that only problematic samples take


@dataclass(frozen=True)
class ProposedText:
    """One of the texts that CLIP compared an image with."""

    text: str
    probability: float  # softmax over the texts of the same prediction, temperature 100
    outside: bool  # whether its synset is none of the 1000 classes


@dataclass(frozen=True)
class VocabularyEvidence:
    """What CLIP said of one image and one prediction."""

    gate: bool  # whether a near training image's class shares a superclass with the prediction
    best: tuple[ProposedText, ...]  # the five with the highest scores, the winner first
    num_texts: int


@dataclass(frozen=True)
class VerdictEvidence:
    """Why a verdict is what it is."""

    labels: tuple[tuple[int, LabelSource], ...]
    shared_superclasses: tuple[SharedSuperclass, ...]
    co_occurrences: tuple[CoOccurrence, ...]
    vocabulary: VocabularyEvidence | None  # where the rule was asked and had evidence
    overlap: str  # the sentence of the overlapping pair; empty: they don't overlap
    trace: tuple[Step, ...]


@dataclass(frozen=True)
class Verdict:
    """What Errata says of one prediction for one image."""

    file_name: str
    target: int
    predicted: int
    error_type: ErrorType
    problematic: tuple[ProblematicTag, ...]
    probability: float | None = None
    evidence: VerdictEvidence | None = None
    groups: tuple[Group, ...] = ()  # besides ALL
