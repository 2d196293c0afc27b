"""Gates: values of measures, decisions at the limits, and reasons for undecided bounds (spec/statistics)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from service.domain import (
    ALL,
    Bound,
    Coverage,
    ErrorType,
    Exactness,
    GateDecision,
    GatePolicy,
    GateReason,
    GroupComparison,
    GroupSummary,
    Interval,
    Measure,
    PairedMetric,
    PairedTest,
    Predictions,
    Subset,
    Summary,
    UndecidedReason,
    build_strata,
    coverage_of,
)
from service.summary.compare import compare_groups, pair_verdicts
from service.summary.gate import Baseline, SliceResult, decision_of, evaluate, has_interval
from service.summary.mcnemar import detectable_change
from service.summary.measures import OF_TYPES, inexactness, value_of
from service.summary.score_interval import ONE_SIDED_95, score_intervals
from service.summary.summarize import SampleResults, summarize
from service.taxonomy.imagenet_1k import GROUPS

PASS, FAIL, UNDECIDED = GateDecision.PASS, GateDecision.FAIL, GateDecision.UNDECIDED
FINE, OOV, SPURIOUS, FAILURE = (
    ErrorType.FINE_GRAINED,
    ErrorType.FINE_GRAINED_OOV,
    ErrorType.SPURIOUS_CORRELATION,
    ErrorType.MODEL_FAILURE,
)
# types 1 to 8: 200 samples, 80 top-1 errors, 60 multi-label errors; artifacts: 100, 60, and 40
COUNTS = {ALL: (120, 12, 8, 20, 10, 6, 4, 20), "artifact": (40, 15, 5, 8, 0, 2, 10, 20)}


def group(
    counts: tuple[int, ...],
    accuracies: tuple[float | None, float | None, float | None, float | None] = (0.6, 0.71, 0.83, 0.92),
) -> GroupSummary:
    """Create a group with these counts of types 1 to 8. Fields without bounds stay empty."""
    top1, multi_label, minor, explainable = accuracies
    return GroupSummary(
        num_samples=sum(counts),
        counts={ErrorType(kind): count for kind, count in enumerate(counts, 1)},
        top1_errors=sum(counts[1:]),
        top1_accuracy=top1,
        multi_label_accuracy=multi_label,
        multi_label_accuracy_forgiving_minor=minor,
        multi_label_accuracy_forgiving_explainable=explainable,
        portions_of_top1_errors={},
        portions_of_multi_label_errors={},
        gain_if_fixed_top1={},
        gain_if_fixed_multi_label={},
    )


NOBODY = group((0,) * 8, (None, None, None, None))


def summary(all_samples: GroupSummary | None = None, **fields: object) -> Summary:
    groups = {
        ALL: all_samples or group(COUNTS[ALL]),
        "organism": NOBODY,
        "artifact": group(COUNTS["artifact"], (0.4, 0.55, 0.65, 0.75)),
        "other": NOBODY,
    }
    known: dict[str, object] = {
        "groups": groups,
        "abstained": (),
        "num_problematic": 30,
        "num_images": 1000,
        "num_predicted": 1000,
        "top1_accuracy_all_images": None,
        "top1_accuracy_among_classes": None,
        "imagenet_m_errors": 17,
        "num_judged": 250,
    }
    return Summary(**{**known, **fields})


def make_bound(measure: Measure, *types: ErrorType, **fields: object) -> Bound:
    return Bound(name="it", measure=measure, types=types, **fields)


def policy(*bounds: Bound, **fields: object) -> GatePolicy:
    return GatePolicy(name="gate", bounds=bounds, **fields)


def judge(
    bound: Bound, analysis: Summary | None = None, baseline: Baseline | None = None, **fields: object
) -> GateReason:
    (reason,) = evaluate(policy(bound, **fields), analysis or summary(), baseline)
    return reason


@pytest.mark.parametrize(
    ("bound", "in_all", "in_artifacts"),
    [
        (make_bound(Measure.TOP1_ACCURACY), 0.6, 0.4),
        (make_bound(Measure.MULTI_LABEL_ACCURACY), 0.71, 0.55),
        (make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR), 0.83, 0.65),
        (make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE), 0.92, 0.75),
        (make_bound(Measure.TOP1_ERROR_RATE), 80 / 200, 60 / 100),
        (make_bound(Measure.MULTI_LABEL_ERROR_RATE), 60 / 200, 40 / 100),
        (make_bound(Measure.SEVERE_ERROR_RATE), 20 / 200, 20 / 100),
        (make_bound(Measure.IMAGENET_M_ERRORS), 17, 17),  # of the data set
        (make_bound(Measure.COUNT, FAILURE), 20, 20),
        (make_bound(Measure.COUNT, FINE, OOV), 30, 8),
        (make_bound(Measure.COUNT, ErrorType.CLASS_OVERLAP, ErrorType.MULTI_LABEL), 20, 20),
        (make_bound(Measure.RATE, FAILURE), 20 / 200, 20 / 100),
        (make_bound(Measure.RATE, ErrorType.CLASS_OVERLAP, SPURIOUS), 18 / 200, 17 / 100),
        (make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE), 20 / 80, 20 / 60),
        (make_bound(Measure.PORTION_OF_TOP1_ERRORS, ErrorType.CLASS_OVERLAP, FINE), 32 / 80, 23 / 60),
        (make_bound(Measure.PORTION_OF_MULTI_LABEL_ERRORS, FAILURE), 20 / 60, 20 / 40),
        (make_bound(Measure.PORTION_OF_MULTI_LABEL_ERRORS, SPURIOUS, ErrorType.NON_PROTOTYPICAL), 10 / 60, 12 / 40),
    ],
    ids=lambda value: (
        "+".join([value.measure, *(type_.name for type_ in value.types)]) if hasattr(value, "name") else ""
    ),
)
def test_every_measure_has_its_value_in_every_group(bound: Bound, in_all: float, in_artifacts: float) -> None:
    assert value_of(bound, summary()) == pytest.approx(in_all)
    assert value_of(replace(bound, group="artifact"), summary()) == pytest.approx(in_artifacts)


RATES = [
    Measure.TOP1_ACCURACY,
    Measure.MULTI_LABEL_ACCURACY,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR,
    Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE,
    Measure.TOP1_ERROR_RATE,
    Measure.MULTI_LABEL_ERROR_RATE,
    Measure.SEVERE_ERROR_RATE,
    Measure.RATE,
    Measure.PORTION_OF_TOP1_ERRORS,
    Measure.PORTION_OF_MULTI_LABEL_ERRORS,
]


@pytest.mark.parametrize("measure", RATES)
def test_rate_without_samples_is_undecided(measure: Measure) -> None:
    types = (FAILURE,) if measure in (Measure.RATE, *RATES[-2:]) else ()
    bound = make_bound(measure, *types, group="other", max=1.0)

    reason = judge(bound, min_samples=0)

    assert value_of(bound, summary()) is None
    assert (reason.decision, reason.value, reason.causes) == (UNDECIDED, None, (UndecidedReason.NO_VALUE,))


def test_count_without_samples_is_zero() -> None:
    assert value_of(make_bound(Measure.COUNT, FAILURE, group="other"), summary()) == 0


def test_portion_of_no_errors_has_no_value() -> None:
    flawless = summary(group((200, 0, 0, 0, 0, 0, 0, 0)))
    only_by_label = summary(group((190, 4, 6, 0, 0, 0, 0, 0)))

    assert value_of(make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE), flawless) is None
    assert value_of(make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE), only_by_label) == 0
    assert value_of(make_bound(Measure.PORTION_OF_MULTI_LABEL_ERRORS, FAILURE), only_by_label) is None
    assert judge(make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE, max=0.5), flawless).causes == (
        UndecidedReason.NO_VALUE,
    )


@pytest.mark.parametrize(("num_rejected", "expected"), [(None, False), (0, False), (7, True)])
def test_reason_knows_whether_labels_reject_targets(num_rejected: int | None, expected: bool) -> None:
    analysis = summary(num_rejected_targets=num_rejected)

    for limits in ({"max": 0.5}, {"max_increase": 0.5}):
        bound = make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE, **limits)
        assert judge(bound, analysis, against()).has_rejected_targets is expected


def test_unknown_imagenet_m_errors_are_undecided() -> None:
    reason = judge(make_bound(Measure.IMAGENET_M_ERRORS, max=20.0), summary(imagenet_m_errors=None))

    assert (reason.decision, reason.value, reason.causes) == (UNDECIDED, None, (UndecidedReason.NO_VALUE,))


@pytest.mark.parametrize(
    ("bound", "decision", "limit"),
    [
        (make_bound(Measure.SEVERE_ERROR_RATE, max=0.1), PASS, 0.1),  # at the limit
        (make_bound(Measure.SEVERE_ERROR_RATE, max=0.1001), PASS, 0.1001),
        (make_bound(Measure.SEVERE_ERROR_RATE, max=0.0999), FAIL, 0.0999),
        (make_bound(Measure.SEVERE_ERROR_RATE, max=0.0), FAIL, 0),
        (make_bound(Measure.TOP1_ACCURACY, min=0.6), PASS, 0.6),
        (make_bound(Measure.TOP1_ACCURACY, min=0.5999), PASS, 0.5999),
        (make_bound(Measure.TOP1_ACCURACY, min=0.6001), FAIL, 0.6001),
        (make_bound(Measure.COUNT, FAILURE, max=20.0), PASS, 20),
        (make_bound(Measure.COUNT, FAILURE, max=19.0), FAIL, 19),
        (make_bound(Measure.COUNT, FAILURE, min=21.0), FAIL, 21),
        (make_bound(Measure.IMAGENET_M_ERRORS, max=17.0), PASS, 17),
        (make_bound(Measure.IMAGENET_M_ERRORS, max=16.0), FAIL, 16),
        (make_bound(Measure.RATE, FINE, OOV, min=0.1, max=0.2), PASS, None),  # 0.15
        (make_bound(Measure.RATE, FINE, OOV, min=0.15, max=0.15), PASS, None),
        (make_bound(Measure.RATE, FINE, OOV, min=0.16, max=0.2), FAIL, 0.16),
        (make_bound(Measure.RATE, FINE, OOV, min=0.1, max=0.14), FAIL, 0.14),
    ],
)
def test_value_passes_up_to_its_limit(bound: Bound, decision: GateDecision, limit: float | None) -> None:
    reason = judge(bound)

    assert (reason.decision, reason.bound, reason.causes) == (decision, bound, ())
    assert reason.num_samples == 200
    if limit is not None:
        assert reason.limit == limit
    assert (reason.baseline, reason.p_value) == (None, None)


@pytest.mark.parametrize(("samples", "decision"), [(99, UNDECIDED), (100, PASS)])
def test_fewer_samples_than_the_minimum_are_undecided(samples: int, decision: GateDecision) -> None:
    few = summary(group((samples - 10, 0, 0, 0, 0, 0, 0, 10)))
    bound = make_bound(Measure.COUNT, FAILURE, max=10.0)

    reason = judge(bound, few)

    assert (reason.decision, reason.num_samples, reason.min_samples, reason.value) == (decision, samples, 100, 10)
    assert reason.causes == ((UndecidedReason.FEW_SAMPLES,) if decision is UNDECIDED else ())
    assert judge(bound, few, min_samples=samples).decision is PASS
    assert judge(bound, few, min_samples=samples + 1).decision is UNDECIDED


def test_few_samples_are_undecided_even_over_the_limit() -> None:
    reason = judge(make_bound(Measure.SEVERE_ERROR_RATE, max=0.0), min_samples=201)

    assert (reason.decision, reason.value, reason.limit) == (UNDECIDED, 0.1, 0)
    assert reason.causes == (UndecidedReason.FEW_SAMPLES,)


def test_minimum_of_samples_applies_to_the_group_of_the_bound() -> None:
    bound = make_bound(Measure.SEVERE_ERROR_RATE, max=0.5)

    assert judge(bound, min_samples=150).decision is PASS
    artifacts = judge(replace(bound, group="artifact"), min_samples=150)
    assert (artifacts.decision, artifacts.num_samples) == (UNDECIDED, 100)


@pytest.mark.parametrize(
    "bound",
    [
        make_bound(Measure.COUNT, OOV, max=50.0),
        make_bound(Measure.RATE, FINE, OOV, max=0.0),  # for any value
        make_bound(Measure.PORTION_OF_TOP1_ERRORS, OOV, max=1.0),
        make_bound(Measure.PORTION_OF_MULTI_LABEL_ERRORS, OOV, FAILURE, max=1.0),
    ],
)
def test_bound_on_a_type_whose_rule_abstained_is_undecided(bound: Bound) -> None:
    reason = judge(bound, summary(abstained=(OOV, SPURIOUS)))

    assert (reason.decision, reason.causes) == (UNDECIDED, (UndecidedReason.ABSTAINED,))


def test_abstained_rules_do_not_affect_bounds_on_other_types() -> None:
    analysis = summary(abstained=(OOV,))

    assert judge(make_bound(Measure.RATE, FINE, max=0.1), analysis).decision is PASS
    assert judge(make_bound(Measure.TOP1_ACCURACY, min=0.6), analysis).decision is PASS
    assert judge(make_bound(Measure.MULTI_LABEL_ERROR_RATE, max=0.2), analysis).decision is FAIL


@pytest.mark.parametrize(
    ("bound", "is_affected"),
    [
        (make_bound(Measure.SEVERE_ERROR_RATE, max=1.0), True),
        (make_bound(Measure.COUNT, FAILURE, max=200.0), True),
        (make_bound(Measure.RATE, FAILURE, FINE, max=1.0), True),
        (make_bound(Measure.RATE, FINE, max=1.0), False),
        (make_bound(Measure.TOP1_ERROR_RATE, max=1.0), False),
        (make_bound(Measure.MULTI_LABEL_ERROR_RATE, max=1.0), False),
    ],
)
def test_model_failures_are_an_upper_bound_where_rules_abstained(bound: Bound, is_affected: bool) -> None:
    reason = judge(bound, summary(abstained=(OOV, SPURIOUS)))

    assert reason.decision is PASS
    assert reason.abstained == ((OOV, SPURIOUS) if is_affected else ())
    assert judge(bound).abstained == ()


def test_all_causes_are_named() -> None:
    bound = make_bound(Measure.RATE, OOV, group="other", max=1.0)

    assert set(judge(bound, summary(abstained=(OOV,))).causes) == {
        UndecidedReason.FEW_SAMPLES,
        UndecidedReason.ABSTAINED,
        UndecidedReason.NO_VALUE,
    }


# ---- coverage


@pytest.mark.parametrize(
    ("least", "decision"), [(0.92, PASS), (0.9199, PASS), (0.9201, FAIL), (1.0, FAIL), (0.0, PASS)]
)
def test_coverage_is_the_share_of_judged_images_with_a_prediction(least: float, decision: GateDecision) -> None:
    covered, other = evaluate(policy(make_bound(Measure.TOP1_ACCURACY, min=0.1), min_coverage=least), summary(), None)

    assert coverage_of(summary()) == Coverage(200 + 30, 250)  # problematic samples count as well
    assert (covered.decision, covered.bound, covered.limit) == (decision, None, least)
    assert covered.value == pytest.approx(0.92)
    assert (other.decision, other.bound.measure) == (PASS, Measure.TOP1_ACCURACY)


def test_the_coverage_of_a_subset_is_relative_to_its_judged_images() -> None:
    subset = Subset("d" * 64, num_images=300, num_judged=240)
    gate = policy(make_bound(Measure.TOP1_ACCURACY, min=0.1), min_coverage=0.95)

    covered, _ = evaluate(gate, summary(), None, subset=subset)

    assert covered.coverage == Coverage(230, 240, 250)
    assert covered.value == pytest.approx(230 / 240)
    assert covered.decision is PASS
    assert evaluate(gate, summary(), None)[0].decision is FAIL


def test_an_early_analysis_of_all_images_is_complete() -> None:
    gate = policy(make_bound(Measure.TOP1_ACCURACY, min=0.1), min_coverage=0.99)

    covered, _ = evaluate(gate, summary(num_judged=None), None)

    assert (covered.decision, covered.coverage) == (PASS, Coverage(1000, 1000))


@pytest.mark.parametrize("fields", [{"num_judged": 0}, {"num_judged": None, "num_predicted": 990}])
def test_coverage_that_is_not_known_is_undecided(fields: dict[str, int | None]) -> None:
    unknown = summary(**fields)

    covered, _ = evaluate(policy(make_bound(Measure.TOP1_ACCURACY, min=0.1), min_coverage=0.5), unknown, None)

    assert coverage_of(unknown) is None
    assert (covered.decision, covered.value, covered.causes) == (UNDECIDED, None, (UndecidedReason.NO_VALUE,))


def test_policy_without_coverage_has_no_coverage_reason() -> None:
    assert len(evaluate(policy(make_bound(Measure.TOP1_ACCURACY, min=0.1)), summary(num_judged=None), None)) == 1


# ---- changes. Baseline of 200 samples: top-1 accuracy 0.65, 70 top-1 errors, 50 multi-label errors, 10 model failures

BEFORE = summary(group((130, 12, 8, 20, 10, 6, 4, 10), (0.65, 0.74, 0.85, 0.95)), imagenet_m_errors=15, num_judged=None)
TRANSITIONS = np.diag([116, 12, 8, 17, 7, 6, 4, 6])  # rows add up to the baseline's counts, columns to COUNTS
TRANSITIONS[0, 7], TRANSITIONS[7, 0], TRANSITIONS[4, 3], TRANSITIONS[3, 4] = (
    14,
    4,
    3,
    3,
)  # A: the baseline, B: the analysis
WIDE = Interval(0.5, 0.5, -0.5, 0.5)
NARROW = Interval(0.5, 0.5, 0.0, 0.0)
ACCURACY = Interval(0.74, 0.71, -0.03, -0.03)


def against(
    p_values: dict[PairedMetric, float] | None = None,
    rates: dict[PairedMetric, Interval] | None = None,
    multi_label_accuracy: Interval | None = ACCURACY,
    types: dict[ErrorType, Interval] | None = None,
    before: Summary = BEFORE,
) -> Baseline:
    """Return the baseline, and a comparison with these results."""
    compared = GroupComparison(
        num_samples=200,
        transitions=TRANSITIONS,
        tests={metric: PairedTest(metric, 0, 0, (p_values or {}).get(metric, 1.0), False) for metric in PairedMetric},
        rates={metric: (rates or {}).get(metric, NARROW) for metric in PairedMetric},
        multi_label_accuracy=multi_label_accuracy,
        multi_label_accuracies=multi_label_accuracy and (multi_label_accuracy.a, multi_label_accuracy.b),
        types={error_type: (types or {}).get(error_type, NARROW) for error_type in list(ErrorType)},
    )
    artifacts = replace(compared, num_samples=100, transitions=np.diag(COUNTS["artifact"]))
    return Baseline(before, dict.fromkeys((ALL, *GROUPS), compared) | {"artifact": artifacts})


@pytest.mark.parametrize(
    ("bound", "only_a", "only_b"),
    [
        (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.2, non_inferiority=True), 30, 5),
        (make_bound(Measure.TOP1_ERROR_RATE, max_increase=0.2, non_inferiority=True), 5, 30),
    ],
)
def test_top1_changes_are_counted_by_target_if_labels_reject_targets(bound: Bound, only_a: int, only_b: int) -> None:
    """A prediction of a rejected target is top-1 correct and an error, so the transitions do not have the counts."""
    baseline = against()
    assert baseline.comparison is not None
    compared = replace(baseline.comparison[ALL], top1_table=np.array([[60, 5], [30, 105]]))
    low, high = score_intervals(200, only_a, only_b, ONE_SIDED_95)

    (reason,) = evaluate(
        policy(bound), summary(), replace(baseline, comparison=dict.fromkeys((ALL, *GROUPS), compared))
    )

    assert reason.change_limits == (float(low), float(high))
    assert reason.detectable_change == detectable_change(200, only_a, only_b)


@pytest.mark.parametrize(("most", "decision"), [(0.09, FAIL), (0.11, PASS)])
def test_accuracy_without_an_interval_is_compared_over_common_images(most: float, decision: GateDecision) -> None:
    """No class has two images. A misses 100 images that B does not cover, and B misses 30 of the other 300."""
    targets, problematic = np.arange(400, dtype=np.int16), np.zeros(400, dtype=bool)
    types_a = np.repeat([FAILURE.id, ErrorType.CORRECT.id], [100, 300]).astype(np.uint8)
    types_b = np.repeat([0, FAILURE.id, ErrorType.CORRECT.id], [100, 30, 270]).astype(np.uint8)
    compared = compare_groups(pair_verdicts(types_a, types_b, targets, problematic), {})
    before = summary(group((300, *[0] * 6, 100), (None, 0.75, None, None)))
    analysis = summary(group((270, *[0] * 6, 30), (None, 0.9, None, None)))
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=most)

    reason = judge(bound, analysis, Baseline(before, compared))

    assert compared[ALL].multi_label_accuracy is None
    assert (reason.decision, reason.on_common_images, reason.num_samples) == (decision, True, 300)
    assert reason.min_samples == 100
    assert (reason.value, reason.baseline) == (pytest.approx(0.9), 1)


def test_accuracy_without_common_images_is_undecided() -> None:
    nothing = replace(against(multi_label_accuracy=None).comparison[ALL], num_samples=0)

    reason = judge(make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.1), None, Baseline(BEFORE, {ALL: nothing}))

    assert (reason.decision, reason.value, reason.baseline) == (UNDECIDED, None, None)
    assert UndecidedReason.NO_VALUE in reason.causes


@pytest.mark.parametrize(
    ("bound", "baseline", "decision"),
    [
        # 0.60 - 0.65
        (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.05), 0.65, PASS),  # at the limit, in spite of rounding
        (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0501), 0.65, PASS),
        (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0499), 0.65, FAIL),
        (make_bound(Measure.TOP1_ACCURACY, max_increase=0.0), 0.65, PASS),
        # 0.40 - 0.35
        (make_bound(Measure.TOP1_ERROR_RATE, max_increase=0.05), 0.35, PASS),
        (make_bound(Measure.TOP1_ERROR_RATE, max_increase=0.0499), 0.35, FAIL),
        (make_bound(Measure.TOP1_ERROR_RATE, max_decrease=0.0), 0.35, PASS),
        # 0.71 - 0.74, 0.83 - 0.85, 0.92 - 0.95
        (make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.03), 0.74, PASS),
        (make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.0), 0.74, FAIL),
        (make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR, max_decrease=0.02), 0.85, PASS),
        (make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR, max_decrease=0.019), 0.85, FAIL),
        (make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE, max_decrease=0.03), 0.95, PASS),
        (make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE, max_decrease=0.029), 0.95, FAIL),
        # 0.30 - 0.25, 0.10 - 0.05
        (make_bound(Measure.MULTI_LABEL_ERROR_RATE, max_increase=0.05), 0.25, PASS),
        (make_bound(Measure.MULTI_LABEL_ERROR_RATE, max_increase=0.04), 0.25, FAIL),
        (make_bound(Measure.SEVERE_ERROR_RATE, max_increase=0.05), 0.05, PASS),
        (make_bound(Measure.SEVERE_ERROR_RATE, max_increase=0.04), 0.05, FAIL),
        # 17 - 15, 20 - 10
        (make_bound(Measure.IMAGENET_M_ERRORS, max_increase=2.0), 15, PASS),
        (make_bound(Measure.IMAGENET_M_ERRORS, max_increase=1.0), 15, FAIL),
        (make_bound(Measure.COUNT, FAILURE, max_increase=10.0), 10, PASS),
        (make_bound(Measure.COUNT, FAILURE, max_increase=9.0), 10, FAIL),
        (make_bound(Measure.RATE, FAILURE, SPURIOUS, max_increase=0.05), 0.08, PASS),  # 0.13 - 0.08
        (make_bound(Measure.RATE, FAILURE, SPURIOUS, max_increase=0.04), 0.08, FAIL),
        # 20 of 80 - 10 of 70; 20 of 60 - 10 of 50
        (make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE, max_increase=0.108), 1 / 7, PASS),
        (make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE, max_increase=0.107), 1 / 7, FAIL),
        (make_bound(Measure.PORTION_OF_MULTI_LABEL_ERRORS, FAILURE, max_increase=0.134), 0.2, PASS),
        (make_bound(Measure.PORTION_OF_MULTI_LABEL_ERRORS, FAILURE, max_increase=0.133), 0.2, FAIL),
        # a drift either way
        (make_bound(Measure.RATE, FINE, max_increase=0.0, max_decrease=0.0), 0.1, PASS),
        (make_bound(Measure.TOP1_ACCURACY, max_increase=0.0, max_decrease=0.04), 0.65, FAIL),
    ],
)
def test_change_passes_up_to_its_limit(bound: Bound, baseline: float, decision: GateDecision) -> None:
    reason = judge(bound, baseline=against())

    assert (reason.decision, reason.causes, reason.num_samples) == (decision, (), 200)
    assert reason.baseline == pytest.approx(baseline)
    limits = {bound.max_increase, bound.max_decrease} - {None}
    assert reason.limit in limits


def test_reason_names_the_limit_that_failed() -> None:
    reason = judge(make_bound(Measure.TOP1_ACCURACY, max_increase=0.2, max_decrease=0.01), baseline=against())

    assert (reason.decision, reason.limit) == (FAIL, 0.01)


def test_change_is_compared_within_the_group() -> None:
    bound = make_bound(Measure.SEVERE_ERROR_RATE, group="artifact", max_increase=0.0)

    reason = judge(bound, baseline=against())  # 20 of 100 both before and after

    assert (reason.decision, reason.value, reason.baseline) == (PASS, 0.2, 0.2)


@pytest.mark.parametrize(("p_value", "decision"), [(0.2, PASS), (0.05, PASS), (0.0499, FAIL), (0.0, FAIL)])
@pytest.mark.parametrize(
    ("bound", "metric"),
    [
        (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0, alpha=0.05), PairedMetric.TOP1),
        (make_bound(Measure.TOP1_ERROR_RATE, max_increase=0.0, alpha=0.05), PairedMetric.TOP1),
        (make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.0, alpha=0.05), PairedMetric.MULTI_LABEL),
        (make_bound(Measure.MULTI_LABEL_ERROR_RATE, max_increase=0.0, alpha=0.05), PairedMetric.MULTI_LABEL),
        (make_bound(Measure.SEVERE_ERROR_RATE, max_increase=0.0, alpha=0.05), PairedMetric.SEVERE),
    ],
    ids=lambda value: getattr(value, "measure", value),
)
def test_insignificant_change_passes_if_alpha_is_set(
    bound: Bound, metric: PairedMetric, p_value: float, decision: GateDecision
) -> None:
    reason = judge(bound, baseline=against({metric: p_value}))

    assert (reason.decision, reason.p_value, reason.causes) == (decision, p_value, ())


@pytest.mark.parametrize(
    ("fixed", "broken", "max_decrease", "p_value", "decision"),
    [
        (40, 4, 0.01, None, UNDECIDED),
        (40, 4, 0.05, None, PASS),
        (20, 20, 0.01, 1, PASS),
        (4, 40, 0.01, 1e-8, FAIL),
    ],
)
def test_images_that_change_in_the_opposite_direction_are_no_evidence(
    fixed: int, broken: int, max_decrease: float, p_value: float | None, decision: GateDecision
) -> None:
    """The mean over classes decreases by 3 points. McNemar's test compares images."""
    transitions = np.diag([116, 0, 0, 0, 0, 0, 0, 40])
    transitions[7, 0], transitions[0, 7] = fixed, broken
    before = against({PairedMetric.MULTI_LABEL: 1e-8 if p_value is None else p_value})
    compared = replace(before.comparison[ALL], transitions=transitions)
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=max_decrease, alpha=0.05)

    reason = judge(bound, baseline=Baseline(BEFORE, dict.fromkeys((ALL, *GROUPS), compared)))

    assert (reason.decision, reason.p_value) == (decision, p_value)
    assert reason.is_opposite_to_images is (p_value is None)
    without_alpha = judge(replace(bound, alpha=None), baseline=Baseline(BEFORE, {ALL: compared}))
    assert (without_alpha.decision, without_alpha.p_value) == (PASS if max_decrease == 0.05 else FAIL, p_value)


def test_significant_change_within_its_limit_passes() -> None:
    bound = make_bound(Measure.TOP1_ACCURACY, max_decrease=0.06, alpha=0.05)

    assert judge(bound, baseline=against({PairedMetric.TOP1: 1e-9})).decision is PASS


def test_insignificant_change_fails_without_alpha() -> None:
    reason = judge(make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0), baseline=against({PairedMetric.TOP1: 1.0}))

    assert (reason.decision, reason.p_value) == (FAIL, 1)


@pytest.mark.parametrize("measure", [Measure.COUNT, Measure.RATE])
@pytest.mark.parametrize(
    ("types", "only_a", "only_b"),
    [((FAILURE,), 14, 4), ((FINE,), 3, 3), ((FINE, OOV), 0, 0), ((FINE, FAILURE), 17, 7)],  # in TRANSITIONS
)
def test_bounds_on_types_have_a_paired_test(
    measure: Measure, types: tuple[ErrorType, ...], only_a: int, only_b: int
) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0

    reason = judge(make_bound(measure, *types, max_increase=0.0, alpha=0.05), baseline=against())

    assert reason.p_value == pytest.approx(expected)


def test_significant_change_of_types_fails() -> None:
    # 14 against 4: p = 0.031
    bound = make_bound(Measure.COUNT, FAILURE, max_increase=0.0)

    assert judge(replace(bound, alpha=0.05), baseline=against()).decision is FAIL
    assert judge(replace(bound, alpha=0.03), baseline=against()).decision is PASS


@pytest.mark.parametrize("measure", [Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS])
def test_portion_has_no_paired_test(measure: Measure) -> None:
    assert judge(make_bound(measure, FAILURE, max_increase=1.0), baseline=against()).p_value is None


def test_baseline_with_other_evidence_affects_only_changes() -> None:
    other = Baseline(BEFORE, None)

    change = judge(make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0), baseline=other)
    assert (change.decision, change.causes) == (UNDECIDED, (UndecidedReason.OTHER_EVIDENCE,))
    assert (change.value, change.p_value) == (0.6, None)
    for bound in (
        make_bound(Measure.COUNT, FAILURE, max_increase=99.0),
        make_bound(Measure.IMAGENET_M_ERRORS, max_increase=9.0),
    ):
        assert judge(bound, baseline=other).decision is UNDECIDED
    assert judge(make_bound(Measure.TOP1_ACCURACY, min=0.6), baseline=other).decision is PASS
    assert judge(make_bound(Measure.TOP1_ACCURACY, min=0.7), baseline=other).decision is FAIL


@pytest.mark.parametrize("missing", ["analysis", "baseline", "both"])
def test_change_without_one_of_its_values_is_undecided(missing: str) -> None:
    unknown = {"imagenet_m_errors": None}
    now = summary(**unknown) if missing != "baseline" else summary()
    before = replace(BEFORE, **unknown) if missing != "analysis" else BEFORE

    reason = judge(make_bound(Measure.IMAGENET_M_ERRORS, max_increase=5.0), now, against(before=before))

    assert (reason.decision, reason.causes) == (UNDECIDED, (UndecidedReason.NO_VALUE,))
    assert (reason.value is None, reason.baseline is None) == (missing != "baseline", missing != "analysis")


def test_few_samples_and_abstained_rules_leave_changes_undecided() -> None:
    analysis = summary(abstained=(OOV,))

    few = judge(make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0), baseline=against(), min_samples=201)
    assert (few.decision, few.causes) == (UNDECIDED, (UndecidedReason.FEW_SAMPLES,))
    abstained = judge(make_bound(Measure.RATE, OOV, max_increase=1.0), analysis, against())
    assert (abstained.decision, abstained.causes) == (UNDECIDED, (UndecidedReason.ABSTAINED,))


# Intervals of B - A around the limit of the change
CONTAINS_LIMIT = Interval(0.65, 0.6, -0.1, -0.01)  # fewer correct
WORSE = Interval(0.05, 0.1, 0.01, 0.1)  # more severe errors, or more errors of a type
INTERVALS = [
    (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.06), against(rates={PairedMetric.TOP1: CONTAINS_LIMIT})),
    (make_bound(Measure.TOP1_ERROR_RATE, max_increase=0.06), against(rates={PairedMetric.TOP1: CONTAINS_LIMIT})),
    (
        make_bound(Measure.MULTI_LABEL_ERROR_RATE, max_increase=0.06),
        against(rates={PairedMetric.MULTI_LABEL: CONTAINS_LIMIT}),
    ),
    (make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.06), against(multi_label_accuracy=CONTAINS_LIMIT)),
    (make_bound(Measure.SEVERE_ERROR_RATE, max_increase=0.06), against(types={FAILURE: WORSE})),
    (make_bound(Measure.RATE, FAILURE, max_increase=0.06), against(types={FAILURE: WORSE})),
]


@pytest.mark.parametrize(("bound", "baseline"), INTERVALS, ids=[bound.measure for bound, _ in INTERVALS])
def test_interval_that_contains_the_limit_is_undecided_if_the_policy_requires_it(
    bound: Bound, baseline: Baseline
) -> None:
    careful = judge(replace(bound, undecided_within_interval=True), baseline=baseline)

    assert (careful.decision, careful.causes) == (UNDECIDED, (UndecidedReason.WIDE_INTERVAL,))
    assert (judge(bound, baseline=baseline).decision, judge(bound, baseline=baseline).causes) == (PASS, ())


@pytest.mark.parametrize(("bound", "baseline"), INTERVALS, ids=[bound.measure for bound, _ in INTERVALS])
@pytest.mark.parametrize(("limit", "decision"), [(0.2, PASS), (0.005, FAIL)])  # the change is 0.03 or 0.05
def test_interval_that_excludes_the_limit_decides(
    bound: Bound, baseline: Baseline, limit: float, decision: GateDecision
) -> None:
    side = "max_increase" if bound.max_increase is not None else "max_decrease"
    careful = replace(bound, **{side: limit}, undecided_within_interval=True)

    reason = judge(careful, baseline=baseline)

    assert (reason.decision, reason.causes) == (decision, ())


@pytest.mark.parametrize(("bound", "baseline"), INTERVALS, ids=[bound.measure for bound, _ in INTERVALS])
def test_interval_on_the_other_side_of_zero_decides(bound: Bound, baseline: Baseline) -> None:
    # the change is in the harmless direction, so the interval does not contain the limit
    turned = replace(
        bound, max_increase=bound.max_decrease, max_decrease=bound.max_increase, undecided_within_interval=True
    )

    assert judge(turned, baseline=baseline).decision is PASS


def test_interval_that_contains_the_limit_is_undecided_above_the_limit() -> None:
    bound = make_bound(Measure.TOP1_ACCURACY, max_decrease=0.03, undecided_within_interval=True)

    reason = judge(bound, baseline=against(rates={PairedMetric.TOP1: CONTAINS_LIMIT}))

    assert (reason.decision, reason.causes) == (UNDECIDED, (UndecidedReason.WIDE_INTERVAL,))


@pytest.mark.parametrize("limit", [0.005, 0.5])
def test_a_change_without_the_required_interval_is_undecided(limit: float) -> None:
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=limit, undecided_within_interval=True)
    without = replace(against().comparison[ALL], multi_label_accuracy=None)  # no class has two images

    absent = judge(bound, baseline=Baseline(BEFORE, dict.fromkeys((ALL, *GROUPS), without)))

    assert (absent.decision, absent.causes) == (UNDECIDED, (UndecidedReason.NO_INTERVAL,))


def test_an_equal_model_passes_although_its_change_is_the_limit() -> None:
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.0, undecided_within_interval=True)

    reason = judge(bound, baseline=against(multi_label_accuracy=Interval(0.7, 0.7, 0.0, 0.0)))

    assert (reason.decision, reason.causes) == (PASS, ())


TYPES = {measure: [(FAILURE,), (FAILURE, FINE)] if measure in OF_TYPES else [()] for measure in Measure}


@pytest.mark.parametrize(("measure", "types"), [(measure, types) for measure in Measure for types in TYPES[measure]])
def test_has_interval_names_the_measures_that_a_wide_interval_affects(
    measure: Measure, types: tuple[ErrorType, ...]
) -> None:
    wide = against(
        dict.fromkeys(PairedMetric, 1.0),
        dict.fromkeys(PairedMetric, WIDE),
        WIDE,
        {FAILURE: WIDE, **dict.fromkeys(types, WIDE)},
    )
    changed = replace(wide.comparison[ALL], accuracy_against_labels=WIDE)
    known = replace(group(COUNTS[ALL]), accuracy_against_labels=0.7)
    baseline = Baseline(replace(BEFORE, groups={**BEFORE.groups, ALL: known}), {**wide.comparison, ALL: changed})

    reason = judge(
        make_bound(measure, *types, max_increase=0.2, undecided_within_interval=True), summary(known), baseline
    )

    assert (UndecidedReason.WIDE_INTERVAL in reason.causes) is has_interval(measure, types)


def test_measures_of_the_same_share_have_the_same_interval() -> None:
    baseline = against(rates={PairedMetric.SEVERE: WIDE}, types={FAILURE: WORSE})
    for limit, decision in ((0.005, FAIL), (0.06, UNDECIDED), (0.2, PASS)):
        severe, rate = (
            judge(make_bound(measure, *types, max_increase=limit, undecided_within_interval=True), baseline=baseline)
            for measure, types in ((Measure.SEVERE_ERROR_RATE, ()), (Measure.RATE, (FAILURE,)))
        )
        assert (severe.decision, rate.decision) == (decision, decision)
        assert severe.causes == rate.causes


def test_wide_interval_is_listed_once() -> None:
    bound = make_bound(Measure.TOP1_ACCURACY, max_decrease=0.1, max_increase=0.1, undecided_within_interval=True)

    assert judge(bound, baseline=against(rates={PairedMetric.TOP1: WIDE})).causes == (UndecidedReason.WIDE_INTERVAL,)


# ---- decision of the gate


def test_reasons_follow_the_order_of_the_policy_after_the_coverage() -> None:
    bounds = (
        make_bound(Measure.TOP1_ACCURACY, min=0.7),
        make_bound(Measure.COUNT, FAILURE, max=20.0),
        make_bound(Measure.RATE, OOV, max_increase=0.0),
    )

    reasons = evaluate(policy(*bounds, min_coverage=0.9), summary(abstained=(OOV,)), against())

    assert [reason.bound for reason in reasons] == [None, *bounds]
    assert [reason.decision for reason in reasons] == [PASS, FAIL, PASS, UNDECIDED]


@given(st.lists(st.sampled_from([PASS, FAIL, UNDECIDED]), max_size=6))
def test_decision_is_that_of_the_worst_reason(decisions: list[GateDecision]) -> None:
    actual = decision_of([GateReason(decision, None) for decision in decisions])

    if FAIL in decisions:
        assert actual is FAIL
    elif UNDECIDED in decisions:
        assert actual is UNDECIDED
    else:
        assert actual is PASS


@given(st.lists(st.integers(0, 400), min_size=8, max_size=8), st.integers(0, 1000), st.integers(0, 400))
def test_rates_are_decided_like_exact_fractions(counts: list[int], thousandths: int, least: int) -> None:
    samples = sum(counts)

    reason = judge(
        make_bound(Measure.SEVERE_ERROR_RATE, max=thousandths / 1000), summary(group(tuple(counts))), min_samples=least
    )

    if samples < least or not samples:
        assert reason.decision is UNDECIDED
    else:
        assert reason.decision is (FAIL if counts[7] * 1000 > thousandths * samples else PASS)


def test_accuracy_at_its_limit_passes_in_spite_of_rounding() -> None:
    # 5, 7 and 3 of 10 correct: exactly 0.5, computed as 0.49999999999999994
    targets = np.repeat([0, 1, 2], 10).astype(np.int16)
    types = np.concatenate([[1] * k + [8] * (10 - k) for k in (5, 7, 3)]).astype(np.uint8)
    counted = np.ones(30, dtype=bool)
    is_correct = types == 1
    results = SampleResults(types, is_correct, is_correct, np.zeros(30, dtype=bool))
    strata = build_strata(targets, counted, {})
    result = summarize(results, strata, (), Predictions(targets), targets)
    for limits in ({"min": 0.5}, {"max": 0.5}):
        bound = Bound("it", Measure.MULTI_LABEL_ACCURACY, **limits)
        (reason,) = evaluate(GatePolicy("gate", (bound,), min_samples=0), result, None)
        assert reason.decision is GateDecision.PASS, (result.groups[ALL].multi_label_accuracy, limits)


@pytest.mark.parametrize(
    ("measure", "abstained_type"),
    [
        (Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR, OOV),
        (Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE, OOV),
        (Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE, SPURIOUS),
        (Measure.MULTI_LABEL_ACCURACY_FORGIVING_EXPLAINABLE, ErrorType.NON_PROTOTYPICAL),
    ],
)
def test_forgiving_accuracy_of_an_abstained_type_is_a_lower_bound(measure: Measure, abstained_type: ErrorType) -> None:
    judged = summary(abstained=(abstained_type,))

    above = judge(make_bound(measure, min=0.1), judged)
    assert (above.decision, above.causes, above.exactness) == (PASS, (), Exactness.LOWER_BOUND)
    below = judge(make_bound(measure, min=0.99), judged)
    assert (below.decision, below.causes) == (UNDECIDED, (UndecidedReason.INEXACT_VALUE,))
    assert judge(make_bound(measure, max=0.1), judged).decision is FAIL
    assert judge(make_bound(measure, max=0.99), judged).decision is UNDECIDED


def test_accuracy_forgiving_minor_ignores_other_abstained_rules() -> None:
    analysis = summary(abstained=(ErrorType.NON_PROTOTYPICAL,))

    assert judge(make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR, min=0.1), analysis).decision is PASS


@pytest.mark.parametrize(
    ("bound", "upper"),
    [
        (
            make_bound(Measure.COUNT, SPURIOUS, max=50.0),
            True,
        ),  # includes errors that the abstained rule would have explained
        (make_bound(Measure.COUNT, FINE, max=50.0), False),
        (make_bound(Measure.SEVERE_ERROR_RATE, max=0.5), True),
        (make_bound(Measure.TOP1_ACCURACY, min=0.1), False),
    ],
)
def test_types_after_an_abstained_rule_are_marked_as_upper_bounds(bound: Bound, upper: bool) -> None:
    reason = judge(bound, summary(abstained=(OOV,)))

    assert (reason.decision, reason.abstained) == (PASS, (OOV,) if upper else ())


def test_change_is_measured_over_common_images() -> None:
    """Given a model that missed images, its values on the other images are compared with the baseline's on them."""
    fewer = replace(against().comparison[ALL], num_samples=150, transitions=np.diag([110, 10, 5, 10, 5, 5, 1, 4]))
    baseline = Baseline(BEFORE, dict.fromkeys((ALL, *GROUPS), fewer))

    reason = judge(make_bound(Measure.COUNT, FAILURE, max_increase=0.0), baseline=baseline)

    assert (reason.decision, reason.value, reason.baseline, reason.num_samples) == (PASS, 4, 4, 150)
    few = judge(make_bound(Measure.COUNT, FAILURE, max_increase=0.0), baseline=baseline, min_samples=151)
    assert (few.decision, few.causes) == (UNDECIDED, (UndecidedReason.FEW_SAMPLES,))


@pytest.mark.parametrize(("common", "causes"), [(198, ()), (197, (UndecidedReason.OTHER_IMAGES,))])
def test_change_of_whole_analyses_needs_99_percent_common_images(
    common: int, causes: tuple[UndecidedReason, ...]
) -> None:
    part = replace(against().comparison[ALL], num_samples=common)
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR, max_decrease=0.1)

    reason = judge(bound, baseline=Baseline(BEFORE, dict.fromkeys((ALL, *GROUPS), part)))

    assert (reason.decision, reason.causes) == (UNDECIDED if causes else PASS, causes)
    assert not reason.on_common_images


@pytest.mark.parametrize(
    ("baseline", "cause"),
    [
        (against(), UndecidedReason.UNKNOWN_SLICE),
        (Baseline(BEFORE, None), UndecidedReason.OTHER_EVIDENCE),
    ],
)
def test_change_of_a_slice_that_the_baseline_lacks_is_undecided(baseline: Baseline, cause: UndecidedReason) -> None:
    bound = make_bound(Measure.TOP1_ACCURACY, max_decrease=0.1, slice="weather=rain")

    (reason,) = evaluate(policy(bound), summary(), baseline, {"weather=rain": SliceResult(summary(), None)})

    assert (reason.decision, reason.causes) == (UNDECIDED, (cause,))


def test_change_of_accuracy_against_labels_is_measured_over_common_images() -> None:
    """The summaries cover images that only one model has; the change over the common images is an increase."""
    compared = against().comparison
    assert compared is not None
    common = {
        group: replace(part, accuracy_against_labels=Interval(0.7, 0.75, 0, 0.1)) for group, part in compared.items()
    }
    model, before = (
        replace(
            whole, groups={group: replace(part, accuracy_against_labels=value) for group, part in whole.groups.items()}
        )
        for whole, value in ((summary(), 0.6), (BEFORE, 0.8))
    )

    (reason,) = evaluate(
        policy(make_bound(Measure.ACCURACY_AGAINST_LABELS, max_decrease=0.1)), model, Baseline(before, common)
    )

    assert (reason.decision, reason.value, reason.baseline) == (PASS, 0.75, 0.7)


# ---- counts that are upper bounds (spec/statistics: "bound on an upper bound")


@pytest.mark.parametrize(
    ("limits", "decision"),
    [
        ({"max": 0.11}, PASS),  # the value is 0.10
        ({"max": 0.1}, PASS),
        ({"max": 0.09}, UNDECIDED),
        ({"min": 0.11}, FAIL),
        ({"min": 0.1}, UNDECIDED),
        ({"min": 0.09}, UNDECIDED),
        ({"min": 0.05, "max": 0.2}, UNDECIDED),
        ({"min": 0.11, "max": 0.2}, FAIL),
    ],
)
@pytest.mark.parametrize(
    ("measure", "types"), [(Measure.SEVERE_ERROR_RATE, ()), (Measure.RATE, (FAILURE,))], ids=["severe", "rate"]
)
def test_upper_bound_decides_only_in_the_safe_direction(
    measure: Measure, types: tuple[ErrorType, ...], limits: dict[str, float], decision: GateDecision
) -> None:
    reason = judge(make_bound(measure, *types, **limits), summary(abstained=(OOV,)))

    assert (reason.decision, reason.exactness, reason.abstained) == (decision, Exactness.UPPER_BOUND, (OOV,))
    assert reason.causes == ((UndecidedReason.INEXACT_VALUE,) if decision is UNDECIDED else ())


@pytest.mark.parametrize("limits", [{"max_increase": 1.0}, {"max_decrease": 1.0}])
def test_change_of_an_upper_bound_needs_the_same_rules(limits: dict[str, float]) -> None:
    bound = make_bound(Measure.RATE, FAILURE, **limits)
    now = summary(abstained=(OOV,))

    other_rules = judge(bound, now, against())
    assert (other_rules.decision, other_rules.causes) == (UNDECIDED, (UndecidedReason.INEXACT_VALUE,))
    same_rules = judge(bound, now, against(before=replace(BEFORE, abstained=(OOV,))))
    assert (same_rules.decision, same_rules.causes, same_rules.abstained) == (PASS, (), (OOV,))
    other_bundle = judge(bound, now, Baseline(replace(BEFORE, abstained=(OOV,)), None))
    assert (other_bundle.decision, other_bundle.causes) == (UNDECIDED, (UndecidedReason.OTHER_EVIDENCE,))
    exact = judge(make_bound(Measure.RATE, FINE, **limits), now, against())
    assert (exact.decision, exact.abstained) == (PASS, ())


@given(
    st.sets(st.sampled_from(list(ErrorType)[1:]), min_size=1),
    st.sets(st.sampled_from([OOV, SPURIOUS, ErrorType.NON_PROTOTYPICAL])),
)
def test_exactness_agrees_with_samples_that_move_to_a_later_type(
    types: set[ErrorType], abstained: set[ErrorType]
) -> None:
    bound = make_bound(Measure.COUNT, *sorted(types, key=lambda kind: kind.id))
    rules = tuple(sorted(abstained, key=lambda kind: kind.id))
    differences = set()
    for rule in rules:
        for later in list(ErrorType)[rule.position + 1 :]:
            if later not in abstained:  # the sample of an abstained rule can have any later type
                differences.add((later in types) - (rule in types))

    exactness, causes = inexactness(bound, rules)

    too_high, too_low = 1 in differences, -1 in differences
    assert (
        exactness
        is {
            (False, False): Exactness.EXACT,
            (True, False): Exactness.UPPER_BOUND,
            (False, True): Exactness.LOWER_BOUND,
            (True, True): Exactness.INEXACT,
        }[too_high, too_low]
    )
    assert bool(causes) == (exactness is not Exactness.EXACT)


# ---- power and non-inferiority


@pytest.mark.parametrize(
    ("bound", "only_a", "only_b", "unit"),
    [
        (make_bound(Measure.RATE, FAILURE, max_increase=0.0), 4, 14, 1),  # in TRANSITIONS
        (make_bound(Measure.COUNT, FAILURE, max_increase=0.0), 4, 14, 200),
        (make_bound(Measure.SEVERE_ERROR_RATE, max_increase=0.0, alpha=0.01), 4, 14, 1),
        (make_bound(Measure.TOP1_ACCURACY, max_decrease=0.0), 14, 4, 1),
        (make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.0), 14, 4, 1),
        (make_bound(Measure.RATE, FINE, OOV, max_increase=0.0), 0, 0, 1),
    ],
)
def test_bound_on_a_change_has_the_detectable_change(bound: Bound, only_a: int, only_b: int, unit: int) -> None:
    expected = detectable_change(200, only_a, only_b, bound.alpha or 0.05)

    reason = judge(bound, baseline=against())

    assert (reason.detectable_change is None) == (only_a + only_b == 0)
    assert expected is None or reason.detectable_change == pytest.approx(unit * expected)


def test_bounds_without_a_paired_test_have_no_detectable_change() -> None:
    for bound in (
        make_bound(Measure.PORTION_OF_TOP1_ERRORS, FAILURE, max_increase=1.0),
        make_bound(Measure.MULTI_LABEL_ACCURACY_FORGIVING_MINOR, max_decrease=1.0),
        make_bound(Measure.IMAGENET_M_ERRORS, max_increase=9.0),
    ):
        assert judge(bound, baseline=against()).detectable_change is None
    assert judge(make_bound(Measure.TOP1_ACCURACY, min=0.1)).detectable_change is None


LOW, HIGH = (float(limit) for limit in score_intervals(200, 4, 14, 0.9))  # of the increase of model failures


@pytest.mark.parametrize(
    ("margin", "decision"),
    [
        (HIGH + 1e-6, PASS),
        (HIGH - 1e-6, UNDECIDED),
        (0.05, UNDECIDED),
        (LOW + 1e-6, UNDECIDED),
        (LOW - 1e-6, FAIL),
        (0.0, FAIL),
    ],
)
@pytest.mark.parametrize(
    ("measure", "types", "side", "unit"),
    [
        (Measure.SEVERE_ERROR_RATE, (), "max_increase", 1),
        (Measure.RATE, (FAILURE,), "max_increase", 1),
        (Measure.COUNT, (FAILURE,), "max_increase", 200),
        (Measure.TOP1_ERROR_RATE, (), "max_increase", 1),
        (Measure.TOP1_ACCURACY, (), "max_decrease", 1),
    ],
    ids=lambda value: getattr(value, "value", None),
)
def test_non_inferiority_compares_the_one_sided_limits_with_the_margin(
    measure: Measure, types: tuple[ErrorType, ...], side: str, unit: int, margin: float, decision: GateDecision
) -> None:
    bound = make_bound(measure, *types, non_inferiority=True, **{side: margin * unit})

    reason = judge(bound, baseline=against())

    assert reason.decision is decision
    assert reason.causes == ((UndecidedReason.WIDE_INTERVAL,) if decision is UNDECIDED else ())
    expected = (LOW, HIGH) if side == "max_increase" else (-HIGH, -LOW)
    assert reason.change_limits == pytest.approx(tuple(unit * limit for limit in expected))


@pytest.mark.parametrize(("margin", "decision"), [(0.051, PASS), (0.05, UNDECIDED), (0.02, UNDECIDED), (0.01, FAIL)])
def test_non_inferiority_of_multi_label_accuracy_uses_its_bootstrap(margin: float, decision: GateDecision) -> None:
    baseline = against()
    limits = Interval(0.74, 0.71, -0.05, -0.01)
    assert baseline.comparison is not None
    compared = replace(baseline.comparison[ALL], multi_label_accuracy_limits=limits)
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=margin, non_inferiority=True)

    reason = judge(bound, baseline=Baseline(BEFORE, dict.fromkeys((ALL, *GROUPS), compared)))

    assert (reason.decision, reason.change_limits) == (decision, (-0.05, -0.01))


@pytest.mark.parametrize(("margin", "decision"), [(0.009, PASS), (0.0089, UNDECIDED), (0.0, UNDECIDED)])
@pytest.mark.parametrize("num_classes", [10, 300])  # with 300, no class has two images
def test_non_inferiority_of_multi_label_accuracy_needs_enough_images_if_none_changed(
    margin: float, decision: GateDecision, num_classes: int
) -> None:
    types = np.repeat([FAILURE.id, ErrorType.CORRECT.id], [24, 276]).astype(np.uint8)
    pair = pair_verdicts(types, types, np.arange(300, dtype=np.int16) % num_classes, np.zeros(300, dtype=bool))
    baseline = Baseline(BEFORE, compare_groups(pair, {}))

    accuracy, top1 = (
        judge(make_bound(measure, max_decrease=margin, non_inferiority=True), baseline=baseline)
        for measure in (Measure.MULTI_LABEL_ACCURACY, Measure.TOP1_ACCURACY)
    )

    limit = 1.6448536**2 / (300 + 1.6448536**2)
    assert accuracy.change_limits == top1.change_limits == pytest.approx((-limit, limit))
    assert accuracy.decision is top1.decision is decision


def test_non_inferiority_without_limits_is_undecided() -> None:
    bound = make_bound(Measure.MULTI_LABEL_ACCURACY, max_decrease=0.5, non_inferiority=True)

    absent = judge(bound, baseline=against())  # no class with two images
    assert (absent.decision, absent.causes) == (UNDECIDED, (UndecidedReason.NO_VALUE,))
    other = judge(bound, baseline=Baseline(BEFORE, None))
    assert (other.decision, other.causes) == (UNDECIDED, (UndecidedReason.OTHER_EVIDENCE,))
