"""Records of what experts judged, and of how often they agree with the verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass

from errata.enums import ExpertSeverity
from errata.error_types import ErrorType


@dataclass(frozen=True)
class ExpertJudgment:
    """The judgment of experts about one prediction for one image (imagenet-mistakes)."""

    cause: ErrorType
    severity: ExpertSeverity


@dataclass(frozen=True)
class TypeAgreement:
    """Agreement about one error type, over the pairs of an image and a prediction that experts judged."""

    num_judged: int  # pairs with this verdict
    num_experts: int  # pairs for which experts name this cause; 0 for a model failure, which is no cause of theirs
    num_agreed: int  # both
    kappa: float | None  # Cohen's kappa of "has this type"; None: one side is constant
    num_severity_agreed: int  # of num_judged: severe errors that experts call major, and others that they do not

    @property
    def precision(self) -> float | None:
        """Return the share of this verdict whose cause experts confirm; None without such verdicts."""
        return self.num_agreed / self.num_judged if self.num_judged else None

    @property
    def recall(self) -> float | None:
        """Return the share of the experts' cause that has this verdict; None if experts never name the cause."""
        return self.num_agreed / self.num_experts if self.num_experts else None


@dataclass(frozen=True)
class Agreement:
    """Agreement of a bundle's verdicts with the experts.

    A multi-label error is *explained* if it has any type except model failure. The two fine-grained types count as one
    cause, because FINE_GRAINED_OOV abstains without CLIP. Severities agree if Errata's verdict is severe exactly when
    the experts' judgment is major.
    """

    num_pairs: int  # distinct pairs of an image and a prediction that experts judged
    num_explained: int
    num_cause_agreed: int  # of num_explained
    cause_kappa: float | None  # over explained errors
    num_severity_agreed: int  # of num_pairs
    severity_kappa: float | None
    types: Mapping[ErrorType, TypeAgreement]  # the types of multi-label errors
    abstained: tuple[ErrorType, ...]
