"""Records of quality gates: policies with bounds, and their decisions (spec/statistics: "gate UNDECIDED")."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from errata.error_types import ErrorType
from errata.groups import ALL

from service.domain.analysis import Analysis
from service.domain.coverage import Coverage

DEFAULT_MIN_SAMPLES = 100
DEFAULT_MIN_COVERAGE = 0.99


class GateDecision(IntEnum):
    """Decision of a gate. A model is accepted only on PASS."""

    UNSPECIFIED = 0
    PASS = 1
    FAIL = 2
    UNDECIDED = 3  # the data are not sufficient to decide
    PENDING = 4  # the analysis is not finished
    ERROR = 5  # the analysis failed or was canceled


class Measure(StrEnum):
    """Quantity that a bound limits. Rates, portions, and accuracies are fractions of 1."""

    TOP1_ACCURACY = "top1_accuracy"
    ACCURACY_AGAINST_LABELS = "accuracy_against_labels"  # on imagenet-real: ReaL accuracy
    MULTI_LABEL_ACCURACY = "multi_label_accuracy"
    MULTI_LABEL_ACCURACY_FORGIVING_MINOR = "multi_label_accuracy_forgiving_minor"
    MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE = "multi_label_accuracy_forgiving_explainable"
    TOP1_ERROR_RATE = "top1_error_rate"
    MULTI_LABEL_ERROR_RATE = "multi_label_error_rate"
    SEVERE_ERROR_RATE = "severe_error_rate"
    IMAGENET_M_ERRORS = "imagenet_m_errors"
    COUNT = "count"  # number of samples with the bound's types
    RATE = "rate"  # share of samples with the bound's types
    PORTION_OF_TOP1_ERRORS = "portion_of_top1_errors"  # share of these types among the verdicts that are not CORRECT
    PORTION_OF_MULTI_LABEL_ERRORS = "portion_of_multi_label_errors"  # share of these types among multi-label errors


class UndecidedReason(StrEnum):
    """Reason why a bound is undecided, or why the gate is pending or in error."""

    FEW_SAMPLES = "few_samples"
    ABSTAINED = "abstained"
    OTHER_EVIDENCE = "other_evidence"
    WIDE_INTERVAL = "wide_interval"
    INEXACT_VALUE = "inexact_value"  # the value is only a bound, and the exact value may meet or miss the limit
    NO_VALUE = "no_value"
    NO_INTERVAL = "no_interval"  # the policy needs the confidence interval of the change, which does not exist
    OTHER_DIRECTION = "other_direction"  # the share of images changed in the opposite direction to the class mean
    UNKNOWN_SLICE = "unknown_slice"  # the data set has no such slice, or several attributes have this value
    OTHER_IMAGES = "other_images"  # the baseline covers other images, and no value is known for the common images
    NOT_FINISHED = "not_finished"
    ENDED_WITHOUT_RESULT = "ended_without_result"


class Exactness(StrEnum):
    """Relation of a value to the value that would result if no rule abstained."""

    EXACT = "exact"
    UPPER_BOUND = "upper_bound"  # the value may be too high
    LOWER_BOUND = "lower_bound"  # the value may be too low
    INEXACT = "inexact"  # the value may be too high or too low


@dataclass(frozen=True)
class Bound:
    """Limit on the value of a measure, or on its change from the baseline."""

    name: str
    measure: Measure
    types: tuple[ErrorType, ...] = ()  # error types of COUNT, RATE, and the portions
    group: str = ALL
    slice: str = ""  # id of a slice, or a value that only one attribute has; empty: all samples of the group
    min: float | None = None
    max: float | None = None
    max_increase: float | None = None  # limit of value - baseline value
    max_decrease: float | None = None  # limit of baseline value - value
    alpha: float | None = None  # only a change with a McNemar p-value below alpha can fail
    undecided_within_interval: bool = False  # undecided if the 95 % interval of the change contains the limit
    non_inferiority: bool = False  # passes only if the one-sided 95 % limit of the change is below the limit
    group_line: int | None = field(default=None, compare=False)  # line of `group` in the text of the policy, for errors

    @property
    def is_on_change(self) -> bool:
        """Return whether the bound limits a change and therefore needs a baseline."""
        return self.max_increase is not None or self.max_decrease is not None


@dataclass(frozen=True)
class GatePolicy:
    """Requirements that a model must meet."""

    name: str
    bounds: tuple[Bound, ...]
    min_samples: int = DEFAULT_MIN_SAMPLES
    min_coverage: float | None = None  # required coverage; None: any

    @property
    def needs_baseline(self) -> bool:
        """Return whether any bound limits a change."""
        return any(bound.is_on_change for bound in self.bounds)

    @property
    def has_slices(self) -> bool:
        """Return whether any bound is about a slice."""
        return any(bound.slice for bound in self.bounds)


@dataclass(frozen=True)
class GateReason:
    """Decision on one bound."""

    decision: GateDecision
    bound: Bound | None  # None: about the coverage or the analysis as a whole
    value: float | None = None
    limit: float | None = None  # limit of the value, or of its change
    baseline: float | None = None  # value of the baseline
    p_value: float | None = None
    num_samples: int | None = None
    causes: tuple[UndecidedReason, ...] = ()
    abstained: tuple[ErrorType, ...] = ()  # abstained rules that make the value inexact
    exactness: Exactness = Exactness.EXACT
    detectable_change: float | None = None  # McNemar's test finds it with 80 % power; None: no test, or no power
    change_limits: tuple[float, float] | None = None  # one-sided 95 % limits of value - baseline; for non-inferiority
    coverage: Coverage | None = None  # only if the reason is about the coverage; None also: unknown
    is_opposite_to_images: bool = False  # a mean over classes and the share of images changed in opposite directions
    has_rejected_targets: bool = False  # whether labels reject targets: not all errors are top-1 errors
    on_common_images: bool = False  # whether a change is over only the images that both analyses cover
    min_samples: int | None = None  # samples that the policy requires
    without_result: Analysis | None = None  # the analysis or baseline that has not succeeded
    implausible: Analysis | None = None  # the analysis or baseline whose predictions are implausible
    is_baseline: bool = False  # whether `without_result` or `implausible` is the baseline


@dataclass(frozen=True)
class GateResult:
    """Decision of a gate, with one reason per bound."""

    decision: GateDecision
    policy: str
    analysis: str  # id; empty: an output folder
    baseline: str
    reasons: tuple[GateReason, ...]
