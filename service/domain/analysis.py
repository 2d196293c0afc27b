"""Records of an analysis, from the request to the summary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from errata.enums import RowOrder, State
from errata.error_types import CORRECT_TYPES, SEVERE_TYPES, TOP1_ERROR_TYPES, ErrorType
from errata.groups import ALL

from service.domain.answers import AnswerSummary

UNNAMED = "upload"  # title of an upload without a display name


@dataclass(frozen=True)
class GroupSummary:
    """Aggregates of one group, without problematic samples. Accuracies are None if the group has no samples."""

    num_samples: int
    counts: Mapping[ErrorType, int]  # number of verdicts of each type
    top1_errors: int  # predictions that are not the original label
    top1_accuracy: float | None
    multi_label_accuracy: float | None  # mean over target classes
    multi_label_accuracy_forgiving_minor: float | None
    multi_label_accuracy_forgiving_explainable: float | None
    portions_of_top1_errors: Mapping[ErrorType, float]  # share among non-CORRECT verdicts; empty without errors
    portions_of_multi_label_errors: Mapping[ErrorType, float]  # share among multi-label errors; empty without errors
    # Documents of the first versions have none of the following fields.
    gain_if_fixed_top1: Mapping[ErrorType, float] = field(default_factory=dict)  # empty if targets are rejected
    gain_if_fixed_multi_label: Mapping[ErrorType, float] = field(default_factory=dict)  # 0 for correct types
    accuracy_against_labels: float | None = None  # predictions that are one of the labels

    @property
    def num_errors(self) -> int:
        """Return the number of verdicts that are not CORRECT: the top-1 errors, if no target is rejected."""
        return sum(self.counts[error_type] for error_type in TOP1_ERROR_TYPES)

    @property
    def image_multi_label_accuracy(self) -> float | None:
        """Return the share of samples whose type counts as correct; None without samples.

        In contrast, `multi_label_accuracy` is the mean of the shares of the target classes.
        """
        correct = sum(self.counts[error_type] for error_type in CORRECT_TYPES)
        return correct / self.num_samples if self.num_samples else None

    @property
    def severe_errors(self) -> int:
        """Return the number of severe errors."""
        return sum(self.counts[error_type] for error_type in SEVERE_TYPES)

    @property
    def severe_error_rate(self) -> float | None:
        """Return the share of severe errors among the samples; None without samples."""
        return self.severe_errors / self.num_samples if self.num_samples else None


@dataclass(frozen=True)
class Summary:
    """Aggregates of an analysis."""

    groups: Mapping[str, GroupSummary]
    abstained: tuple[ErrorType, ...]  # types whose rule had no evidence; counts of later types are upper bounds
    num_problematic: int
    num_images: int  # images of the data set
    num_predicted: int  # images with a prediction, evaluated or not
    top1_accuracy_all_images: float | None  # None: some images have no prediction
    # Documents of earlier versions can have none of the following fields.
    top1_accuracy_among_classes: float | None = None  # of the top-1 class among the data set's own; None: no scores
    imagenet_m_errors: int | None = None  # multi-label errors in the 68 samples of ImageNet-M; None: samples unknown
    num_judged: int | None = None  # images that the bundle evaluates
    num_rejected_targets: int | None = None  # samples whose labels reject the target

    @property
    def num_covered(self) -> int:
        """Return the number of evaluated images with a prediction, including problematic ones."""
        return self.groups[ALL].num_samples + self.num_problematic


@dataclass(frozen=True)
class Subset:
    """The images of a data set that an upload covers on purpose."""

    digest: str  # SHA-256 of the names of these images, in the order of the data set
    num_images: int
    num_judged: int  # those of these images that the bundle evaluates


@dataclass(frozen=True)
class Failure:
    """The reason why an analysis failed, in a form that users can read."""

    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """Progress of the predictions."""

    done: int = 0
    total: int = 0
    images_per_second: float | None = None
    eta_seconds: float | None = None
    queue_position: int | None = None  # number of analyses ahead in the queue; None: not queued
    live_workers: int | None = None  # number of workers that can run the model
    shards_done: int | None = None
    shards: int | None = None  # None: needs no worker
    waiting_reason: str = ""  # what is missing before a queued analysis can run


@dataclass(frozen=True)
class ModelInfo:
    """Details of a model, from the worker that ran it."""

    model: str
    architecture: str
    weights_sha256: str
    transform: str
    # SHA-256 of the settings that change what the weights compute; empty: none. Workers of earlier versions do not send
    # it, so it is not compared.
    settings_sha256: str = field(default="", compare=False)


@dataclass(frozen=True)
class AnalysisRequest:
    """Request of a caller: evaluate one model, or one upload, on one data set."""

    dataset: str
    model: str = ""  # empty: an upload
    display_name: str = ""
    evidence: str = ""  # digest prefix; empty: the data set's default bundle
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    row_order: RowOrder = RowOrder.UNSPECIFIED
    fresh: bool = False
    gate_policy: str = ""  # YAML; EvaluateGate uses this policy by default for this analysis
    gate_baseline: str = ""  # id of the analysis that a gate compares this one with
    accept_implausible: bool = False  # whether to judge an upload that the input checks refuse
    min_coverage: float = 0.0  # for uploads: share of the evaluated images that must have a prediction
    subset: str = ""  # names of the images that an upload covers, one per line; an analysis does not store them
    answers_mapping: str = ""  # CSV `answer,class`; archived analyses have its digest instead


@dataclass(frozen=True)
class Analysis:
    """A request, its state, and its results."""

    id: str
    request: AnalysisRequest
    state: State
    evidence: str  # digest of the evidence bundle
    create_time: datetime
    owner: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    progress: Progress = Progress()
    predictions_digest: str = ""
    computation: str = ""  # digest of the inputs of the predictions: the pinned model and the images
    images: str = ""  # digest of the image names, in the order of the predictions
    classes: str = ""  # digest of the classes that the predictions refer to; empty: ImageNet-1k
    model_info: ModelInfo | None = None
    summary: Summary | None = None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    request_digest: str = ""  # digest of the request body; a repeated request ID must have the same one
    cached: bool = False  # whether the result was reused from an earlier analysis
    implausible: bool = False  # whether an input check failed; no trend uses the analysis
    subset: Subset | None = None  # images that the upload covers on purpose; None: all evaluated images
    answers: AnswerSummary | None = None  # None: the predictions are classes, not free-text answers
    assumptions: tuple[str, ...] = ()  # assumptions made to read an upload, one sentence each
    trace: str = ""  # trace context of the request, which the write-back continues; empty: not traced

    @property
    def title(self) -> str:
        """Return the display name, or the model if there is no display name."""
        return self.request.display_name or self.request.model or UNNAMED


@dataclass(frozen=True)
class Confusion:
    """A target class and a class that is predicted instead."""

    target: int
    predicted: int
    count: int
    types: Mapping[ErrorType, int]


@dataclass(frozen=True)
class BreakdownRow:
    """Verdicts of the samples whose target is one class, or is in one superclass, without problematic samples.

    A gain is the increase in the accuracy of the whole data set if these samples had no error of the type. The gains
    of superclasses do not add up, because superclasses overlap.
    """

    name: str
    class_index: int | None  # None: the row of a superclass
    num_samples: int
    counts: Mapping[ErrorType, int]
    multi_label_accuracy: float | None
    gain_if_fixed_top1: Mapping[ErrorType, float]  # top-1 errors; empty if targets are rejected
    gain_if_fixed_multi_label: Mapping[ErrorType, float]  # top-1 errors

    @property
    def severe_errors(self) -> int:
        """Return the number of severe errors."""
        return sum(self.counts[error_type] for error_type in SEVERE_TYPES)
