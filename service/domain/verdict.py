"""Records of a verdict: the error type of one prediction for one image, and its evidence."""

from dataclasses import dataclass

from errata.enums import AnswerOutcome, AnswerRelation, LabelSource, Outcome, ProblematicTag
from errata.error_types import ErrorType

from service.domain.agreement import ExpertJudgment
from service.domain.slices import ImageAttribute


@dataclass(frozen=True)
class SharedSuperclass:
    """A label of the image and the superclasses that it shares with the prediction."""

    label: int
    superclasses: tuple[str, ...]


@dataclass(frozen=True)
class CoOccurrence:
    """A label of the image that forms a co-occurrence pair with the prediction."""

    label: int
    count: int  # images with both classes
    examples: tuple[str, ...]  # file names of some of these images


@dataclass(frozen=True)
class Step:
    """One rule of the trace."""

    error_type: ErrorType
    outcome: Outcome
    note: str = ""  # set only by steps for problematic samples


@dataclass(frozen=True)
class ProposedText:
    """A text that CLIP compared with an image."""

    text: str
    probability: float  # softmax with temperature 100 over the texts of the prediction
    outside: bool  # whether the text belongs to no class of the label space


@dataclass(frozen=True)
class VocabularyEvidence:
    """CLIP's decision for one image and one prediction."""

    gate: bool  # whether the class of a nearest training image shares a superclass with the prediction
    best: tuple[ProposedText, ...]  # five best texts, best first
    num_texts: int
    prefers_label: bool | None = None  # whether a label of the image scores higher than the best text; None: unknown


@dataclass(frozen=True)
class VerdictEvidence:
    """Evidence that explains a verdict."""

    labels: tuple[tuple[int, LabelSource], ...]
    shared_superclasses: tuple[SharedSuperclass, ...]
    co_occurrences: tuple[CoOccurrence, ...]
    vocabulary: VocabularyEvidence | None  # None: the rule of FINE_GRAINED_OOV was not reached or abstains
    overlap: str  # explanation of the overlapping classes; empty: the classes do not overlap
    trace: tuple[Step, ...]
    expert_judgment: ExpertJudgment | None = None  # no rule uses it; None: experts did not judge the prediction
    attributes: tuple[ImageAttribute, ...] = ()  # of the image; no rule uses them


@dataclass(frozen=True)
class Verdict:
    """Error type of one prediction for one image, with its evidence."""

    file_name: str
    target: int
    predicted: int  # class, or NO_CLASS
    error_type: ErrorType
    problematic: tuple[ProblematicTag, ...]
    probability: float | None = None
    evidence: VerdictEvidence | None = None
    groups: tuple[str, ...] = ()  # groups of the sample, without ALL
    matches_label: bool = False  # whether the prediction is one of the labels
    answer: str = ""  # free-text answer; empty if the prediction is a class
    answer_outcome: AnswerOutcome = AnswerOutcome.UNSPECIFIED
    answer_relation: AnswerRelation = AnswerRelation.UNSPECIFIED
    replaced_by: int | None = None  # the first label, if the labels reject the target

    @property
    def effective_target(self) -> int:
        """Return the class under which statistics count the sample."""
        return self.target if self.replaced_by is None else self.replaced_by
