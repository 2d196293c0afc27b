"""Domain records, all frozen. Array shapes use N evaluated samples, A images, C classes, S superclasses."""

from errata.enums import (
    AnswerOutcome,
    AnswerRelation,
    ExpertSeverity,
    LabelSource,
    Outcome,
    ProblematicTag,
    RowOrder,
    Severity,
    State,
)
from errata.error_types import (
    ABSTAINING_TYPES,
    CORRECT_TYPES,
    ERROR_TYPES,
    MULTI_LABEL_ERROR_TYPES,
    SEVERE_TYPES,
    TOP1_CORRECT_TYPES,
    TOP1_ERROR_TYPES,
    ErrorType,
)
from errata.groups import ALL

from service.domain.adjusted_test import AdjustedTest
from service.domain.agreement import Agreement, ExpertJudgment, TypeAgreement
from service.domain.analysis import (
    UNNAMED,
    Analysis,
    AnalysisRequest,
    BreakdownRow,
    Confusion,
    Failure,
    GroupSummary,
    ModelInfo,
    Progress,
    Subset,
    Summary,
)
from service.domain.answers import (
    NO_CLASS,
    NO_CLASS_NAME,
    NO_PREDICTION,
    AnswerExample,
    Answers,
    AnswerSummary,
    class_name_of,
    normalize_answer,
)
from service.domain.audit import PUBLICATIONS, RETENTION, UNAUTHENTICATED, AuditAction, AuditEvent
from service.domain.calibration import Bin, Calibration
from service.domain.class_relations import DENSE_CLASSES, Classes, ClassPairs, Mask, Superclasses
from service.domain.class_table import class_lines, classes_digest, parse_class_lines
from service.domain.comparison import (
    BROKEN,
    FIXED,
    METRIC_TYPES,
    ChangedImage,
    ChangeQuery,
    ChangeRow,
    Comparison,
    GroupComparison,
    ImageChanges,
    Interval,
    PairedMetric,
    PairedTest,
    SelectedImages,
    TypeChange,
    cross_table,
)
from service.domain.coverage import Coverage, coverage_of
from service.domain.error_types import NO_TYPE, NUM_IDS, POSITIONS, is_among
from service.domain.evidence import (
    Bytes,
    Evidence,
    Labels,
    Predictions,
    Strata,
    build_strata,
    effective_targets,
)
from service.domain.gate import (
    DEFAULT_MIN_COVERAGE,
    DEFAULT_MIN_SAMPLES,
    Bound,
    Exactness,
    GateDecision,
    GatePolicy,
    GateReason,
    GateResult,
    Measure,
    UndecidedReason,
)
from service.domain.input_checks import PermutedClasses, ReorderedRows
from service.domain.label_changes import LabelChangeCounts
from service.domain.label_space import (
    IMAGENET_1K,
    MAX_CLASSES,
    MAX_GROUPS,
    MIN_CLASSES,
    LabelSpace,
    create_label_space,
    normalize,
    similar_texts,
)
from service.domain.listing import (
    NEWEST_FIRST,
    ORDERS,
    AnalysisFilter,
    AnalysisPage,
    Cursor,
    GroupNumbers,
    ModelVersion,
    Order,
    StoredResult,
    end_of,
)
from service.domain.observer import Observer, Stage
from service.domain.registry import REGISTRY_OWNER, Action, RegistryEvent, RegistryRule
from service.domain.review import (
    Decision,
    Review,
    active_reviews,
    decide,
    decide_images,
    review_keys,
    undone_ids,
)
from service.domain.slices import (
    Attributes,
    RateContrast,
    Slice,
    SliceChange,
    SliceRow,
    SliceTable,
)
from service.domain.suggestions import (
    ModelVotes,
    Suggestions,
    count_agreeing,
    mean_probability,
    suggest_labels,
)
from service.domain.trend import (
    AXES,
    MAX_DISTANCE,
    METRICS,
    MIN_NEIGHBORS,
    MULTI_LABEL_ACCURACY,
    NEAREST_MODELS,
    POOLED,
    PORTIONS,
    QUANTILES,
    Axis,
    AxisRange,
    Curves,
    Fit,
    LabelFit,
    Metric,
    NoReferenceReason,
    PercentileRank,
    Trend,
    TrendPoint,
    name_portion_base,
)
from service.domain.verdict import (
    CoOccurrence,
    ProposedText,
    SharedSuperclass,
    Step,
    Verdict,
    VerdictEvidence,
    VocabularyEvidence,
)
