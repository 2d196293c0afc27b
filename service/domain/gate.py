"""Whether to ship: bounds on what an analysis says, and what became of each (spec/statistics: "gate UNDECIDED")."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from errata.enums import ErrorType, Group

DEFAULT_MIN_SAMPLES = 100


class GateDecision(IntEnum):
    """What a gate says; everything but PASS blocks."""

    UNSPECIFIED = 0
    PASS = 1
    FAIL = 2
    UNDECIDED = 3  # the data don't say
    PENDING = 4  # the analysis isn't finished
    ERROR = 5  # the analysis failed or was cancelled


class Measure(StrEnum):
    """What can be bounded. Rates, portions and accuracies are fractions of 1."""

    TOP1_ACCURACY = "top1_accuracy"
    MULTI_LABEL_ACCURACY = "multi_label_accuracy"
    MULTI_LABEL_ACCURACY_FORGIVING_MINOR = "multi_label_accuracy_forgiving_minor"
    MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE = "multi_label_accuracy_forgiving_explainable"
    TOP1_ERROR_RATE = "top1_error_rate"
    MULTI_LABEL_ERROR_RATE = "multi_label_error_rate"
    SEVERE_ERROR_RATE = "severe_error_rate"
    IMAGENET_M_ERRORS = "imagenet_m_errors"
    COUNT = "count"  # samples with one of the types
    RATE = "rate"  # their share of the samples
    PORTION_OF_TOP1_ERRORS = "portion_of_top1_errors"  # their share of types 2 to 8
    PORTION_OF_MULTI_LABEL_ERRORS = "portion_of_multi_label_errors"  # their share of types 4 to 8


class UndecidedReason(StrEnum):
    """Why a bound is undecided, or the whole gate pending or in error."""

    FEW_SAMPLES = "few_samples"
    ABSTAINED = "abstained"
    OTHER_EVIDENCE = "other_evidence"
    WIDE_INTERVAL = "wide_interval"
    NO_VALUE = "no_value"
    NOT_FINISHED = "not_finished"
    ENDED_WITHOUT_RESULT = "ended_without_result"


@dataclass(frozen=True)
class Bound:
    """One bound of a policy: on a measure's value, or on its change against the baseline."""

    name: str
    measure: Measure
    types: tuple[ErrorType, ...] = ()  # of COUNT, RATE and the portions
    group: Group = Group.ALL
    min: float | None = None
    max: float | None = None
    max_increase: float | None = None  # value - baseline's value
    max_decrease: float | None = None
    alpha: float | None = None  # a change counts only if McNemar's p-value is below
    undecided_within_interval: bool = False  # undecided while the 95 % interval of the change holds the bound

    @property
    def on_change(self) -> bool:
        """Say whether it needs a baseline."""
        return self.max_increase is not None or self.max_decrease is not None


@dataclass(frozen=True)
class GatePolicy:
    """What a model must meet."""

    name: str
    bounds: tuple[Bound, ...]
    min_samples: int = DEFAULT_MIN_SAMPLES
    min_coverage: float | None = None  # share of the judged images that must have a prediction

    @property
    def needs_baseline(self) -> bool:
        """Say whether any bound is on a change."""
        return any(bound.on_change for bound in self.bounds)


@dataclass(frozen=True)
class GateReason:
    """What became of one bound."""

    decision: GateDecision
    bound: Bound | None  # None: about the coverage, or the analysis as a whole
    value: float | None = None
    limit: float | None = None  # what the value, or its change, was held against
    baseline: float | None = None  # the baseline's value
    p_value: float | None = None
    num_samples: int | None = None
    causes: tuple[UndecidedReason, ...] = ()
    abstained: tuple[ErrorType, ...] = ()  # rules whose silence makes a count of model failures an upper bound


@dataclass(frozen=True)
class GateResult:
    """A gate's decision and its reasons, a reason a bound."""

    decision: GateDecision
    policy: str
    analysis: str  # id; empty: a folder
    baseline: str
    reasons: tuple[GateReason, ...]
