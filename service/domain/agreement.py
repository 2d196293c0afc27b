"""Records of the judgments of experts, and of the agreement between these judgments and the verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass

from errata.enums import ExpertSeverity
from errata.error_types import ErrorType


@dataclass(frozen=True)
class ExpertJudgment:
    """The judgment of experts about one prediction for one image, from the data set imagenet-mistakes."""

    cause: ErrorType
    severity: ExpertSeverity


@dataclass(frozen=True)
class TypeAgreement:
    """Agreement about one error type, over the pairs of an image and a prediction that experts judged."""

    num_judged: int  # pairs with this verdict
    num_experts: int  # pairs for which experts name this cause; 0 for a model failure, which experts cannot name
    num_agreed: int  # pairs that count in both num_judged and num_experts
    kappa: float | None  # Cohen's kappa of "has this type"; None: the verdicts or the experts never vary
    num_severity_agreed: int  # of num_judged: Errata and the experts agree whether the error is severe or major

    @property
    def precision(self) -> float | None:
        """Return the share of pairs with this verdict for which experts name this cause; None if there are no pairs."""
        return self.num_agreed / self.num_judged if self.num_judged else None

    @property
    def recall(self) -> float | None:
        """Return the share of pairs with this cause that have this verdict; None if experts never name the cause."""
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
