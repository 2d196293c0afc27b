"""Texts of the report: every name exists, and every sentence is complete."""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from importlib.resources import files

import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    ALL,
    ERROR_TYPES,
    METRICS,
    TOP1_ERROR_TYPES,
    Bound,
    Coverage,
    ErrorType,
    Exactness,
    GateDecision,
    GateReason,
    GroupSummary,
    Measure,
    Metric,
    NoReferenceReason,
    PairedMetric,
    PercentileRank,
    PermutedClasses,
    Progress,
    ReorderedRows,
    RowOrder,
    Severity,
    State,
    Summary,
    UndecidedReason,
)
from service.report.messages import comparison, error_types, gate, pages, review
from service.report.messages.error_types import (
    breakdown_description,
    calibration_summary,
    gains_description,
    summary_sentence,
)
from service.report.messages.gate import bound_name, gate_reason
from service.report.messages.input_checks import correct_throughout, permuted_classes, reordered_rows
from service.report.messages.trend import own_models_note, percentile_message, percentile_text
from service.taxonomy.imagenet_1k import GROUPS

TABLES: list[tuple[Mapping[object, str], type[Enum]]] = [
    (gate.MEASURE_NAMES, Measure),
    (comparison.PAIRED_METRIC_NAMES, PairedMetric),
    (error_types.SEVERITY_DESCRIPTIONS, Severity),
]
HOLES = (" .", " ,", ",,", "  ", "None", "nan", "()", ", ;", ". ;", "; .", "..", " ;")


@pytest.mark.parametrize(("table", "kind"), TABLES, ids=[kind.__name__ for _, kind in TABLES])
def test_every_member_of_an_enumeration_has_a_unique_name(table: Mapping[object, str], kind: type[Enum]) -> None:
    named = [item for item in kind if item.name != "UNSPECIFIED"]

    assert all(table[item] for item in named)
    assert len({table[item] for item in named}) == len(named)


RESNET = {Severity.NONE: 1075, Severity.MINOR: 945, Severity.EXPLAINABLE: 126, Severity.SEVERE: 743}
NO_ERRORS = dict.fromkeys(RESNET, 0)


def test_summary_lists_the_percentage_of_each_severity() -> None:
    summary = summary_sentence("resnet50", 18_692, RESNET, is_upper_bound=False)

    assert "2,889 top-1 errors on 18,692 images" in summary
    assert "37.2 % are label noise, 32.7 % are minor, 4.4 % are explainable" in summary
    assert "; 25.7 % are model failures (743 images, 4.0 % of all images)" in summary


def test_summary_states_an_upper_bound_if_a_rule_has_no_evidence() -> None:
    summary = summary_sentence("resnet50", 18_692, RESNET, is_upper_bound=True)

    assert summary.endswith("; at most 25.7 % are model failures (743 images, 4.0 % of all images).")


@pytest.mark.parametrize(
    ("severe", "other", "end"),
    [
        (2999, 1, "at most 100.0 % are model failures (2,999 images, > 99.9 % of all images)."),
        (1, 2999, "at most 0.1 % are model failures (1 image, < 0.1 % of all images)."),
    ],
)
def test_an_upper_bound_close_to_none_or_all_is_rounded_up(severe: int, other: int, end: str) -> None:
    counts = NO_ERRORS | {Severity.SEVERE: severe, Severity.MINOR: other}

    assert summary_sentence("net", 3000, counts, is_upper_bound=True).endswith(end)


@pytest.mark.parametrize(
    ("samples", "counts", "sentence"),
    [
        (0, NO_ERRORS, "net has no evaluated images."),
        (20, NO_ERRORS, "net makes no top-1 errors on 20 images."),
        (
            20,
            NO_ERRORS | {Severity.SEVERE: 1},
            "net makes 1 top-1 error on 20 images: 100.0 % are model failures (1 image, 5.0 % of all images).",
        ),
        (
            20,
            NO_ERRORS | {Severity.EXPLAINABLE: 2},
            "net makes 2 top-1 errors on 20 images: 100.0 % are explainable; none is a model failure.",
        ),
    ],
)
def test_summary_of_special_cases(samples: int, counts: Mapping[Severity, int], sentence: str) -> None:
    assert summary_sentence("net", samples, counts, is_upper_bound=False) == sentence


@given(
    counts=st.tuples(*[st.integers(0, 300)] * 4),
    correct=st.integers(0, 300),
    is_upper_bound=st.booleans(),
)
@max_examples(300)
def test_summary_is_complete(counts: tuple[int, int, int, int], correct: int, is_upper_bound: bool) -> None:
    by_severity = dict(zip(RESNET, counts, strict=True))
    errors = sum(counts)

    summary = summary_sentence("net", errors + correct, by_severity, is_upper_bound)

    assert summary.endswith(".")
    assert not [hole for hole in HOLES if hole in summary]
    if errors:
        assert summary.startswith(f"net makes {errors:,} top-1 error")
        assert ("label noise" in summary) == (counts[0] > 0)
        assert ("are minor" in summary) == (counts[1] > 0)
        assert ("are explainable" in summary) == (counts[2] > 0)
        assert ("none is a model failure" in summary) == (counts[3] == 0)


# Percentiles among reference models.


@pytest.mark.parametrize(
    ("metric", "percentile", "sentence"),
    [
        ("spurious_correlation", 0.17, "fewer spurious correlations than 83 % of similarly accurate models"),
        ("model_failure", 0.83, "more model failures than 83 % of similarly accurate models"),
        ("model_failure", 0.01, "fewer model failures than 99 % of similarly accurate models"),
        ("model_failure", 0.005, "fewer model failures than 99 % of similarly accurate models"),  # published models
        ("model_failure", 0.995, "more model failures than 99 % of similarly accurate models"),
        ("model_failure", 0.0, "fewer model failures than 100 % of similarly accurate models"),  # own models
        ("model_failure", 1.0, "more model failures than 100 % of similarly accurate models"),
        (
            "pooled",
            0.3,
            "fewer out-of-vocabulary errors, spurious correlations, non-prototypical errors, and model failures "
            "than 70 % of similarly accurate models",
        ),
        ("multi_label_accuracy", 0.75, "higher than 75 % of similarly accurate models"),
        ("multi_label_accuracy", 0.25, "lower than 75 % of similarly accurate models"),
        ("multi_label_accuracy", 1.0, "higher than 100 % of similarly accurate models"),
    ],
)
def test_percentile_text_states_the_larger_side(metric: Metric, percentile: float, sentence: str) -> None:
    assert percentile_text(PercentileRank(metric, 0.1, percentile, None)) == sentence


@given(st.sampled_from(METRICS), st.floats(0, 1))
@max_examples(200)
def test_percentile_text_is_complete(metric: Metric, percentile: float) -> None:
    sentence = percentile_text(PercentileRank(metric, 0.1, percentile, None))

    assert not [hole for hole in HOLES if hole in sentence]
    assert 50 <= int(sentence.split(" %")[0].split()[-1]) <= 100
    assert sentence.split()[0] in (("higher", "lower") if metric == "multi_label_accuracy" else ("more", "fewer"))


@pytest.mark.parametrize(
    ("percentile", "low", "high", "sentence"),
    [
        (0.17, 0.05, 0.38, "fewer model failures than 83 % of similarly accurate models (95 % interval: 62 to 95 %)"),
        (0.83, 0.62, 0.995, "more model failures than 83 % of similarly accurate models (95 % interval: 62 to 99 %)"),
    ],
)
def test_percentile_message_has_the_interval_of_the_same_side(
    percentile: float, low: float, high: float, sentence: str
) -> None:
    assert percentile_message(PercentileRank("model_failure", 0.1, percentile, None, low, high)) == sentence


def test_percentile_message_of_equal_models_claims_no_order() -> None:
    tie = PercentileRank("class_overlap", 0.0, 0.5, None, 0.5, 1.0)
    assert percentile_message(tie) == percentile_text(tie) == "as many class overlaps as similarly accurate models"
    accuracy = replace(tie, metric="multi_label_accuracy")
    assert percentile_message(accuracy) == "the same as that of similarly accurate models"
    assert percentile_message(replace(tie, value=0.1)).startswith("more class overlaps than 50 %")


def test_percentile_with_a_wide_interval_has_no_number() -> None:
    rank = PercentileRank("model_failure", 0.4, None, NoReferenceReason.INDISTINCT, 0.2, 0.98)

    assert percentile_text(rank) == percentile_message(rank) == "not distinguishable from its neighbors"


@pytest.mark.parametrize(
    "reason", [reason for reason in NoReferenceReason if reason is not NoReferenceReason.INDISTINCT]
)
def test_missing_percentile_states_the_reason(reason: NoReferenceReason) -> None:
    sentence = percentile_text(PercentileRank("model_failure", None, None, reason))

    assert sentence.startswith("not available: ")
    others = {percentile_text(PercentileRank("model_failure", None, None, item)) for item in NoReferenceReason}
    assert len(others) == len(NoReferenceReason)


def test_accuracy_outside_the_range_of_the_reference_models_is_a_condition_of_percentiles() -> None:
    rank = PercentileRank("model_failure", 0.1, None, NoReferenceReason.ACCURACY)

    assert percentile_text(rank) == "not available: the accuracy is outside the range of the reference models"
    assert own_models_note(20).endswith("and an accuracy between their lowest and their highest.")


# Gates.

RATE = Bound("severe", Measure.SEVERE_ERROR_RATE, max=0.05)
STABLE = Bound("stable", Measure.SEVERE_ERROR_RATE, max_increase=0.0)
GROWTH = Bound("growth", Measure.COUNT, types=(ErrorType.MODEL_FAILURE,), max_increase=10)


def test_reasons_without_a_bound_are_about_the_coverage_or_the_whole_analysis() -> None:
    assert bound_name(GateReason(GateDecision.PASS, None, 0.999, 0.95)) == "minimum coverage"
    assert bound_name(GateReason(GateDecision.PENDING, None, None, None)) == "the analysis"
    assert bound_name(GateReason(GateDecision.PASS, RATE, 0.0412, 0.05)) == "severe"


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            GateReason(GateDecision.PASS, RATE, 0.0412, 0.05),
            "Severe error rate is 4.12 %; at most 5.00 % is allowed.",
        ),
        (
            GateReason(GateDecision.FAIL, RATE, 0.0500012, 0.05),
            "Severe error rate is 5.0001 %; at most 5.0000 % is allowed.",
        ),
        (
            GateReason(GateDecision.PASS, RATE, 0.05, 0.05),
            "Severe error rate is 5.00 %; at most 5.00 % is allowed.",
        ),
        (
            GateReason(GateDecision.FAIL, Bound("top", Measure.TOP1_ACCURACY, min=0.8), 0.75, 0.8),
            "Top-1 accuracy is 75.00 %; at least 80.00 % is required.",
        ),
        (
            GateReason(GateDecision.PASS, Bound("top", Measure.TOP1_ACCURACY, min=0.5, max=0.9), 0.75, 0.9),
            "Top-1 accuracy is 75.00 %; at least 50.00 % is required and at most 90.00 % is allowed.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("p", Measure.PORTION_OF_TOP1_ERRORS, types=(ErrorType.MULTI_LABEL,), max=0.5),
                0.25,
                0.5,
                has_rejected_targets=True,
            ),
            "Portion of missing multi-labels among the top-1 or multi-label errors is 25.00 %; at most 50.00 % is "
            "allowed.",
        ),
        (
            GateReason(GateDecision.PASS, Bound("m", Measure.IMAGENET_M_ERRORS, max=40), 12.0, 40),
            "Number of ImageNet-M errors is 12; at most 40 is allowed.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound(
                    "two",
                    Measure.RATE,
                    types=(ErrorType.FINE_GRAINED, ErrorType.MODEL_FAILURE),
                    group="organism",
                    max=0.2,
                ),
                0.125,
                0.2,
            ),
            "Rate of fine-grained errors and model failures (organisms) is 12.50 %; at most 20.00 % is allowed.",
        ),
        (
            GateReason(GateDecision.FAIL, GROWTH, 1250.0, 10, baseline=1200.0, p_value=0.0004),
            "Number of model failures is 1,250 (baseline: 1,200, p < 0.001); an increase of at most 10 is allowed.",
        ),
        (
            GateReason(GateDecision.FAIL, STABLE, 5269 / 46_837, 0.0, baseline=5268 / 46_837),
            "Severe error rate is 11.250 % (baseline: 11.248 %); an increase of at most 0 points is allowed.",
        ),
        (
            GateReason(GateDecision.PASS, replace(STABLE, max_increase=0.02), 0.12, 0.02, baseline=0.1),
            "Severe error rate is 12.00 % (baseline: 10.00 %); an increase of at most 2 points is allowed.",
        ),
        (
            GateReason(
                GateDecision.UNDECIDED,
                Bound("ni", Measure.MULTI_LABEL_ACCURACY, max_decrease=0.02, non_inferiority=True),
                0.885,
                0.02,
                baseline=0.9,
                causes=(UndecidedReason.NO_VALUE,),
            ),
            "Multi-label accuracy (class mean) is 88.50 % (baseline: 90.00 %); a decrease of at most 2 points is "
            "allowed. Undecided: the change has no confidence limits.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("mla", Measure.MULTI_LABEL_ACCURACY, max_increase=0.1, max_decrease=0.005, alpha=0.05),
                0.8,
                0.005,
                baseline=0.81,
                p_value=0.2,
            ),
            "Multi-label accuracy (class mean) is 80.00 % (baseline: 81.00 %, p = 0.20); an increase of at most 10 "
            "points or a decrease of at most 0.5 points is allowed. A change counts if p < 0.05.",
        ),
        (
            GateReason(
                GateDecision.UNDECIDED,
                Bound("mla", Measure.MULTI_LABEL_ACCURACY, max_decrease=0.01, alpha=0.05),
                0.81,
                0.01,
                baseline=0.98,
                causes=(UndecidedReason.OTHER_DIRECTION,),
                is_opposite_to_images=True,
            ),
            "Multi-label accuracy (class mean) is 81.00 % (baseline: 98.00 %); a decrease of at most 1 point is "
            "allowed. A change counts if p < 0.05. McNemar's test does not count: the share of correct images changed "
            "in the opposite direction. Undecided: the change exceeds the limit, but McNemar's test of the images does "
            "not support it.",
        ),
        (
            GateReason(
                GateDecision.UNDECIDED,
                Bound("m", Measure.IMAGENET_M_ERRORS, max=1),
                None,
                1,
                causes=(UndecidedReason.NO_VALUE,),
            ),
            "Number of ImageNet-M errors is –; at most 1 is allowed. Undecided: the evidence lists no images of "
            "ImageNet-M, or some of them have no prediction.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("top", Measure.TOP1_ACCURACY, group="organism", max_decrease=0.01),
                0.75,
                0.01,
                baseline=0.76,
                num_samples=1200,
                on_common_images=True,
            ),
            "Top-1 accuracy (organisms) is 75.00 % (baseline: 76.00 %); a decrease of at most 1 point is allowed. "
            "Compared on 1,200 images of the group with predictions in both analyses, without problematic images.",
        ),
        (
            GateReason(GateDecision.PASS, None, 0.999, 0.95),
            "The share of evaluated images with a prediction is 99.9 %; at least 95 % is required.",
        ),
        (
            GateReason(GateDecision.PASS, None, 0.99995, 0.9999, coverage=Coverage(19_999, 20_000)),
            "Coverage: 19,999 of 20,000 images (99.99 %); at least 99.99 % is required.",
        ),
        (
            GateReason(GateDecision.FAIL, None, 0.66769, 0.667701, coverage=Coverage(66_769, 100_000)),
            "Coverage: 66,769 of 100,000 images (66.7690 %); at least 66.7701 % is required.",
        ),
        (
            GateReason(GateDecision.PASS, None, 0.5, 0.5, coverage=Coverage(1, 2)),
            "Coverage: 1 of 2 images (50.0 %); at least 50 % is required.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                RATE,
                0.04,
                0.05,
                abstained=(ErrorType.FINE_GRAINED_OOV,),
                exactness=Exactness.UPPER_BOUND,
            ),
            "Severe error rate is 4.00 %; at most 5.00 % is allowed. The value is an upper bound because the rule "
            "“fine-grained, out of vocabulary” has no evidence.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("top", Measure.TOP1_ACCURACY, max_decrease=0.01),
                0.75,
                0.01,
                baseline=0.76,
                p_value=0.2,
                detectable_change=0.012345,
            ),
            "Top-1 accuracy is 75.00 % (baseline: 76.00 %, p = 0.20); a decrease of at most 1 point is allowed. "
            "McNemar's test finds a change of 1.24 points or more with 80 % power.",
        ),
        (
            GateReason(
                GateDecision.UNDECIDED,
                Bound("mla", Measure.MULTI_LABEL_ACCURACY, max_decrease=0.01, non_inferiority=True),
                0.75,
                0.01,
                baseline=0.755,
                p_value=0.2,
                causes=(UndecidedReason.WIDE_INTERVAL,),
                detectable_change=0.02,
                change_limits=(-0.0125, 0.0025),
            ),
            "Multi-label accuracy (class mean) is 75.00 % (baseline: 75.50 %, p = 0.20); a decrease of at most 1 point "
            "is allowed. "
            "Non-inferiority: the one-sided 95 % limits of the change are −1.25 points and +0.25 points. "
            "McNemar's test of images finds a change of 2.00 points or more with 80 % power. "
            "Undecided: the confidence interval of the change contains the bound.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                replace(STABLE, max_increase=0.01, non_inferiority=True),
                0.03,
                0.01,
                baseline=0.02,
                change_limits=(0.0078, 0.0099547),
            ),
            "Severe error rate is 3.00 % (baseline: 2.00 %); an increase of at most 1 point is allowed. "
            "Non-inferiority: the one-sided 95 % limits of the change are +0.780 points and +0.995 points.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("n", Measure.COUNT, (ErrorType.MODEL_FAILURE,), max_decrease=1500, non_inferiority=True),
                12.0,
                1500,
                baseline=10.0,
                change_limits=(-1499.99, -0.01),
            ),
            "Number of model failures is 12 (baseline: 10); a decrease of at most 1,500 is allowed. "
            "Non-inferiority: the one-sided 95 % limits of the change are −1,499.99 and −0.01.",
        ),
        (
            GateReason(
                GateDecision.PASS,
                Bound("n", Measure.COUNT, (ErrorType.MODEL_FAILURE,), max_increase=20, non_inferiority=True),
                12.0,
                20,
                baseline=10.0,
                p_value=0.8,
                detectable_change=9.001,
                change_limits=(-4.26, 8.31),
            ),
            "Number of model failures is 12 (baseline: 10, p = 0.80); an increase of at most 20 is allowed. "
            "Non-inferiority: the one-sided 95 % limits of the change are −4.3 and +8.3. "
            "McNemar's test finds a change of 10 or more with 80 % power.",
        ),
    ],
)
def test_gate_reason_states_value_and_limit(reason: GateReason, sentence: str) -> None:
    assert gate_reason(reason) == sentence


@pytest.mark.parametrize(
    ("alpha", "p_value", "text"),
    [
        (0.01, 0.00998, "p = 0.00998"),
        (0.01, 0.0498, "p = 0.050"),
        (0.2, 0.1996, "p = 0.1996"),
        (0.0005, 0.0004, "p < 0.0005"),
        (0.0005, 0.0006, "p = 0.001"),
    ],
)
def test_p_value_of_a_gate_is_on_the_right_side_of_alpha(alpha: float, p_value: float, text: str) -> None:
    reason = GateReason(GateDecision.PASS, replace(STABLE, alpha=alpha), 0.12, 0.0, baseline=0.1, p_value=p_value)

    assert f", {text});" in gate_reason(reason)


CAUSES = {
    UndecidedReason.FEW_SAMPLES: "too few samples",
    UndecidedReason.ABSTAINED: "no evidence",
    UndecidedReason.OTHER_EVIDENCE: "other evidence",
    UndecidedReason.UNKNOWN_SLICE: "several attributes have this value",
    UndecidedReason.OTHER_IMAGES: "cover different images",
    UndecidedReason.WIDE_INTERVAL: "contains the bound",
    UndecidedReason.NO_INTERVAL: "no confidence interval",
    UndecidedReason.OTHER_DIRECTION: "does not support",
    UndecidedReason.INEXACT_VALUE: "other side of the bound",
    UndecidedReason.NO_VALUE: "not available",
    UndecidedReason.NOT_FINISHED: "not finished",
    UndecidedReason.ENDED_WITHOUT_RESULT: "failed or was canceled",
}


@pytest.mark.parametrize("cause", list(UndecidedReason))
def test_every_undecided_reason_has_a_text(cause: UndecidedReason) -> None:
    value = None if cause is UndecidedReason.NO_VALUE else 0.04

    sentence = gate_reason(GateReason(GateDecision.UNDECIDED, RATE, value, 0.05, causes=(cause,)))

    assert sentence.startswith("Severe error rate is " + ("–" if value is None else "4.00 %"))
    assert "Undecided: " in sentence
    assert CAUSES[cause] in sentence.split("Undecided: ")[1]
    assert sentence.endswith(".")


def test_too_few_samples_are_stated_with_the_minimum() -> None:
    causes = (UndecidedReason.FEW_SAMPLES,)

    sentence = gate_reason(
        GateReason(GateDecision.UNDECIDED, RATE, 0.04, 0.05, num_samples=40, min_samples=1000, causes=causes)
    )

    assert sentence.endswith("Undecided: too few samples (40 of at least 1,000).")


def test_two_undecided_reasons_are_both_listed() -> None:
    sentence = gate_reason(
        GateReason(
            GateDecision.UNDECIDED, RATE, 0.04, 0.05, causes=(UndecidedReason.FEW_SAMPLES, UndecidedReason.ABSTAINED)
        )
    )

    assert sentence.split("Undecided: ")[1].count("; ") == 1
    assert CAUSES[UndecidedReason.FEW_SAMPLES] in sentence
    assert CAUSES[UndecidedReason.ABSTAINED] in sentence


@pytest.mark.parametrize(
    "cause", [UndecidedReason.NOT_FINISHED, UndecidedReason.ENDED_WITHOUT_RESULT, UndecidedReason.OTHER_EVIDENCE]
)
def test_reason_about_the_whole_analysis_is_a_sentence(cause: UndecidedReason) -> None:
    sentence = gate_reason(GateReason(GateDecision.PENDING, None, causes=(cause,)))

    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert CAUSES[cause] in sentence


def test_unknown_coverage_is_undecided() -> None:
    sentence = gate_reason(GateReason(GateDecision.UNDECIDED, None, None, 0.95, causes=(UndecidedReason.NO_VALUE,)))

    assert "is –; at least 95 % is required" in sentence
    assert CAUSES[UndecidedReason.NO_VALUE] in sentence.split("Undecided: ")[1]


OF_TYPES = (Measure.COUNT, Measure.RATE, Measure.PORTION_OF_TOP1_ERRORS, Measure.PORTION_OF_MULTI_LABEL_ERRORS)
COUNTED = (Measure.COUNT, Measure.IMAGENET_M_ERRORS)


@st.composite
def gate_reasons(draw: st.DrawFn) -> GateReason:
    """Generate reasons that a policy can produce."""
    measure = draw(st.sampled_from(list(Measure)))
    whole = st.integers(0, 10_000).map(float)
    amounts = whole if measure in COUNTED else whole.map(lambda value: value / 10_000)
    types = draw(st.lists(st.sampled_from(TOP1_ERROR_TYPES), min_size=1, max_size=3, unique=True))
    names = draw(st.sampled_from([("min",), ("max",), ("min", "max"), ("max_increase",), ("max_decrease",)]))
    bound = Bound(
        "bound",
        measure,
        types=tuple(types) if measure in OF_TYPES else (),
        group=draw(st.sampled_from([ALL, *GROUPS])),
        alpha=draw(st.none() | st.floats(0.001, 0.5)),
        **{name: draw(amounts) for name in names},
    )
    causes = draw(st.lists(st.sampled_from(list(UndecidedReason)), max_size=3, unique=True))
    return GateReason(
        GateDecision.UNDECIDED if causes else GateDecision.PASS,
        bound,
        value=draw(st.none() | amounts),
        limit=0.5,
        baseline=draw(st.none() | amounts),
        p_value=draw(st.none() | st.floats(0, 1)),
        causes=tuple(causes),
        abstained=tuple(draw(st.lists(st.sampled_from(ERROR_TYPES[4:7]), max_size=2, unique=True))),
    )


@given(gate_reasons())
@max_examples(300)
def test_gate_reason_is_complete(reason: GateReason) -> None:
    sentence = gate_reason(reason)

    assert sentence.endswith(".")
    assert not [hole for hole in HOLES if hole in sentence]
    assert ("Undecided: " in sentence) == bool(reason.causes)
    assert "e-" not in sentence.replace("one-", "").replace("fine-", ""), "no scientific notation"


# Descriptions of charts and tables.


def test_breakdown_description_lists_existing_error_types() -> None:
    sentence = breakdown_description(
        "organisms", 1200, [("class overlap", 0.25), ("missing multi-label", 0.0), ("fine-grained", 0.75)]
    )

    assert sentence == "organisms: 1,200 top-1 errors: class overlap 25.0 %, fine-grained 75.0 %."
    assert breakdown_description("other", 0, [("class overlap", 0.0)]) == "other: 0 top-1 errors."


def test_gains_description_has_both_accuracies_in_points() -> None:
    sentence = gains_description([("fine-grained", 0.0123, 0.2), ("model failure", 0.0, 0.0)])

    assert "percentage points" in sentence
    assert "fine-grained +1.23 and +20.00" in sentence
    assert "model failure 0.00 and 0.00" in sentence


def test_calibration_summary_is_in_percent() -> None:
    sentence = calibration_summary(0.125, 0.0349)

    assert "12.5 % for top-1 correctness" in sentence
    assert "3.5 % for multi-label correctness" in sentence
    assert sentence.endswith(".")


def test_fields_of_error_table_texts_are_those_of_the_script() -> None:
    filled = {"predicted", "label", "superclasses", "images", "examples", "texts", "best", "text", "probability"}
    filled |= {"first", "last", "total", "name", "target"}

    named = {part.split("}")[0] for text in pages.ERROR_TABLE_TEXTS.values() for part in text.split("{")[1:]}
    assert named == filled
    assert all(pages.ERROR_TABLE_TEXTS.values())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89.4, "89 s"), (89.6, "1 min"), (3600, "60 min"), (25_200, "7 h 0 min")]
)
def test_long_duration_is_in_hours(seconds: float, text: str) -> None:
    progress = Progress(done=1, total=2, eta_seconds=seconds)

    assert pages.progress_text(State.RUNNING, progress) == f"1 of 2 images, about {text} left"


def test_calibration_without_probabilities_is_not_available() -> None:
    assert "not available" in calibration_summary(None, None)


def test_all_texts_of_templates_are_in_messages() -> None:
    """Templates contain no texts, and pages.py contains no unused texts."""
    folder = files("service.report") / "templates"
    parts = re.compile(r"({{.*?}}|{%.*?%}|{#.*?#}|<!--.*?-->|<[^>]*>)", re.DOTALL)
    used: set[str] = set()
    for template in [path for path in folder.iterdir() if path.name.endswith(".html")]:
        text = template.read_text()
        loose = [part for part in parts.split(text) if not parts.fullmatch(part) and re.search("[A-Za-z]{2}", part)]
        assert loose == [], template.name
        assert not re.findall(r'(?:aria-label|placeholder|alt|title)="[^"{]*[A-Za-z]', text), template.name
        used |= set(re.findall(r'\btranslate\(\s*"([^"]*)"', text))
    assert used == set(pages.PAGE_TEXTS)


def test_translation_replaces_a_page_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_TEXTS", {**pages.PAGE_TEXTS, "Broken: {count}": "Kaputt: {count}"})

    assert pages.translate("Broken: {count}", count=3) == "Kaputt: 3"


def test_row_order_problem_names_the_other_order() -> None:
    problem = ReorderedRows(0.001, 0.7273)
    start = "Row order looks wrong: top-1 accuracy is 0.1 %, but 72.7 % in the other order. Try --row-order "
    assert reordered_rows(problem, RowOrder.UNSPECIFIED) == f"{start}file-name."
    assert reordered_rows(problem, RowOrder.PATH) == f"{start}file-name."
    assert reordered_rows(problem, RowOrder.FILE_NAME) == f"{start}path."


@pytest.mark.parametrize(
    ("shift", "remedy"),
    [
        (1, "The predicted classes are 1 too high. Subtract 1, so that they start at 0."),
        (-2, "The predicted classes are 2 too low. Add 2, so that they start at 0."),
        (None, "Number the classes by sorted WordNet ID, as ImageNet does, or use WordNet IDs."),
    ],
)
def test_class_numbering_problem_names_the_shift(shift: int | None, remedy: str) -> None:
    assert permuted_classes(PermutedClasses(0.001, 0.7273, shift), "imagenet-1k") == (
        "Class numbering looks wrong: top-1 accuracy is 0.1 %, but 72.7 % of the images would be correct with each "
        f"class renumbered. {remedy}"
    )


def test_class_numbering_problem_of_another_label_space_names_it() -> None:
    message = permuted_classes(PermutedClasses(0.001, 0.7273, None), "products")

    assert message.endswith("Number the classes as label space 'products' does, or write their IDs or names.")
    assert "WordNet" not in message


def test_a_search_that_finds_no_class_quotes_its_text() -> None:
    assert review.found_text("[a-", []) == "No class contains “[a-”."


@pytest.mark.parametrize(("samples", "errors", "is_warned"), [(100, 0, True), (100, 1, False), (99, 0, False)])
def test_many_predictions_that_are_all_correct_get_a_warning(samples: int, errors: int, is_warned: bool) -> None:
    group = GroupSummary(samples, {}, errors, None, None, None, None, {}, {}, {}, {})

    summary = Summary({ALL: group}, (), 0, samples, samples, None, None, None)
    assert bool(correct_throughout(summary)) is is_warned
