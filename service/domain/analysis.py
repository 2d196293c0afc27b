"""What an analysis is, from the request to its summary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from errata.enums import ErrorType, Group, RowOrder, State


@dataclass(frozen=True)
class GroupSummary:
    """The aggregates of one group of samples that aren't problematic. A rate without samples is None."""

    num_samples: int
    counts: Mapping[ErrorType, int]  # verdicts 1 to 8
    top1_errors: int
    top1_accuracy: float | None
    multi_label_accuracy: float | None
    multi_label_accuracy_forgiving_minor: float | None
    multi_label_accuracy_forgiving_explainable: float | None
    portions_of_top1_errors: Mapping[ErrorType, float]  # types 2 to 8; empty without errors
    portions_of_multi_label_errors: Mapping[ErrorType, float]  # types 4 to 8; empty without errors
    gain_if_fixed_top1: Mapping[ErrorType, float]  # top-1 accuracy won if a type never occurred, types 2 to 8
    gain_if_fixed_multi_label: Mapping[ErrorType, float]  # multi-label accuracy won; 0 for types 2 and 3


@dataclass(frozen=True)
class Summary:
    """What an analysis says in numbers."""

    groups: Mapping[Group, GroupSummary]
    abstained: tuple[ErrorType, ...]  # rules that had no evidence: the types after them are upper bounds
    num_problematic: int
    num_images: int  # of the data set
    num_predicted: int  # rows that came, judged or not
    top1_accuracy_all_images: float | None  # where every image of the data set has a prediction
    top1_accuracy_among_classes: float | None  # ranking the data set's own classes alone, where scores came
    imagenet_m_errors: int | None  # multi-label errors among the 68 samples of ImageNet-M, where they are known
    num_judged: int | None = None  # images that the bundle judges, predicted or not; None: archived before it was kept


@dataclass(frozen=True)
class Failure:
    """Why an analysis failed, in words that its user can act on."""

    reason: str
    message: str


@dataclass(frozen=True)
class Progress:
    """How far the prediction of images has come."""

    done: int = 0
    total: int = 0
    images_per_second: float | None = None
    eta_seconds: float | None = None
    queue_position: int | None = None  # analyses before this one; None unless queued
    live_workers: int | None = None  # 0: nobody will take it
    shards_done: int | None = None
    shards: int | None = None  # None: it needs no worker


@dataclass(frozen=True)
class ModelInfo:
    """What the worker knows of the model that it ran."""

    model: str
    architecture: str
    weights_sha256: str
    transform: str


@dataclass(frozen=True)
class AnalysisRequest:
    """What a caller asked for: one model's predictions, or one upload's, on one data set."""

    dataset: str
    model: str = ""  # empty: an upload
    display_name: str = ""
    evidence: str = ""  # digest prefix; empty: the data set's default bundle
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    row_order: RowOrder = RowOrder.UNSPECIFIED
    fresh: bool = False
    gate_policy: str = ""  # YAML; what EvaluateGate holds the analysis against if it isn't told another
    gate_baseline: str = ""  # id of the analysis that changes are held against


@dataclass(frozen=True)
class Analysis:
    """One request and what became of it."""

    id: str
    request: AnalysisRequest
    state: State
    evidence: str  # digest of the bundle that judges
    create_time: datetime
    owner: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    progress: Progress = Progress()
    predictions_digest: str = ""
    computation: str = ""  # digest of what was computed: the model, at what its reference meant, and the images
    images: str = ""  # digest of the names of the data set's images, in the order of the predictions
    model_info: ModelInfo | None = None
    summary: Summary | None = None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    request_digest: str = ""  # of the request's body: a request id that comes again must bring the same
    cached: bool = False  # answered from what was computed before

    @property
    def title(self) -> str:
        """Return what people call it."""
        return self.request.display_name or self.request.model or "upload"


@dataclass(frozen=True)
class Confusion:
    """One target and what is predicted instead of it."""

    target: int
    predicted: int
    count: int
    types: Mapping[ErrorType, int]


@dataclass(frozen=True)
class BreakdownRow:
    """The verdicts of the samples whose target is one class, or is in one superclass; none of them problematic.

    A gain is what the accuracy of the whole data set wins if a type never occurred among these samples. Superclasses
    overlap, so their gains don't add up.
    """

    name: str
    class_index: int | None  # None: a superclass
    num_samples: int
    counts: Mapping[ErrorType, int]
    multi_label_accuracy: float | None
    gain_if_fixed_top1: Mapping[ErrorType, float]  # types 2 to 8
    gain_if_fixed_multi_label: Mapping[ErrorType, float]  # types 2 to 8
