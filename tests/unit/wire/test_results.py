"""Conversion of comparisons, gate results, and trends without loss."""

from dataclasses import replace

import numpy as np
import pytest
from errata import v1 as pb
from errata.trend_metrics import value_title

from service import wire
from service.domain import (
    ALL,
    ERROR_TYPES,
    METRICS,
    AdjustedTest,
    Axis,
    AxisRange,
    Bound,
    ChangedImage,
    ChangeRow,
    Comparison,
    Curves,
    ErrorType,
    Fit,
    GateDecision,
    GateReason,
    GateResult,
    GroupComparison,
    Interval,
    LabelFit,
    Measure,
    NoReferenceReason,
    PairedMetric,
    PairedTest,
    PercentileRank,
    Trend,
    TrendPoint,
    TypeChange,
    UndecidedReason,
)
from service.taxonomy.imagenet_1k import GROUPS, imagenet_1k


def test_a_comparison_is_converted_completely() -> None:
    transitions = np.arange(64).reshape(8, 8)
    interval = Interval(0.5, 0.25, -0.375, -0.125)
    group = GroupComparison(
        2016,
        transitions,
        {item: PairedTest(item, 3, 4, 0.5, False) for item in PairedMetric},
        dict.fromkeys(PairedMetric, interval),
        interval,
        dict.fromkeys(ERROR_TYPES, interval),
    )
    flip = ChangedImage("x.jpg", 1, 0, 1, ErrorType.FINE_GRAINED, ErrorType.CORRECT, 1)
    test = AdjustedTest(0.0625, 0.5)
    row = ChangeRow("tench", 0, 9, 2, 1, interval, test)
    change = TypeChange(ErrorType.FINE_GRAINED, 3, 5, interval, test)
    group = replace(group, type_changes=(change,))
    comparison = Comparison(
        "a", "b", "A", "B", "demo", "e", (ErrorType.FINE_GRAINED_OOV,), 5, dict.fromkeys((ALL, *GROUPS), group),
        dict.fromkeys((ALL, *GROUPS), (row,)), {ALL: (ChangeRow("fish", None, 9, 2, 1, interval, test),)}, (flip,), (),
    )  # fmt: skip

    sent = wire.to_comparison(comparison, imagenet_1k().names)

    assert (sent.a, sent.b, sent.num_left_out) == ("analyses/a", "analyses/b", 5)
    everything = sent.groups["all"]
    assert [
        [transition.counts[kind.key] for kind in ERROR_TYPES] for transition in everything.transitions
    ] == transitions.tolist()
    assert [transition.error_type for transition in everything.transitions] == [kind.key for kind in ERROR_TYPES]
    assert everything.fixed == transitions[3:, :3].sum() and everything.broken == transitions[:3, 3:].sum()
    assert dict(everything.fixed_by_type) == {
        kind.key: transitions[kind.position, :3].sum() for kind in ERROR_TYPES[3:]
    }
    assert (everything.top1_fixed, everything.top1_broken) == (transitions[1:, 0].sum(), transitions[0, 1:].sum())
    assert everything.multi_label_accuracy.difference == -0.25
    assert (everything.rates["severe"].low, everything.types["correct"].high) == (-0.375, -0.125)
    assert (sent.classes[0].class_index, sent.superclasses[0].HasField("class_index")) == (0, False)
    assert (sent.classes[0].test.p_value, sent.classes[0].test.adjusted_p_value) == (0.0625, 0.5)
    (sent_change,) = everything.type_changes
    assert (sent_change.error_type, sent_change.only_a, sent_change.only_b) == ("fine_grained", 3, 5)
    assert (sent_change.share.low, sent_change.test.significant) == (-0.375, False)
    for group_message in sent.groups.values():
        assert [row.display_name for row in group_message.classes] == ["tench"]
    assert [row.display_name for row in everything.superclasses] == ["fish"]
    assert not sent.groups["organism"].superclasses
    assert (sent.fixed[0].file_name, sent.fixed[0].target_name) == ("x.jpg", "goldfish")
    assert sent.headline.startswith(f"fixes {everything.fixed:,} images, breaks {everything.broken:,} images")


def test_a_gate_result_is_converted_completely() -> None:
    bound = Bound("b", Measure.RATE, (ErrorType.MODEL_FAILURE,), "organism", max_increase=0.0)
    reasons = (
        GateReason(GateDecision.UNDECIDED, bound, 0.5, 0.0, 0.25, 0.125, 40, (UndecidedReason.FEW_SAMPLES,)),
        GateReason(GateDecision.PASS, None, 1.0, 0.9),
        GateReason(GateDecision.PASS, bound, 0.5, detectable_change=0.125, change_limits=(-0.25, 0.0625)),
    )

    sent = wire.to_gate_result(GateResult(GateDecision.UNDECIDED, "p", "a", "c", reasons))

    assert (sent.decision, sent.analysis, sent.baseline) == (pb.GATE_DECISION_UNDECIDED, "analyses/a", "analyses/c")
    first, second, third = sent.reasons
    assert (first.bound, first.measure, first.group) == ("b", "rate", "organism")
    assert (first.value, first.limit, first.baseline_value, first.p_value) == (0.5, 0.0, 0.25, 0.125)
    assert "too few samples" in first.message
    assert not first.HasField("detectable_change") and not first.HasField("change_low")
    assert (third.detectable_change, third.change_low, third.change_high) == (0.125, -0.25, 0.0625)
    assert not second.HasField("p_value") and not second.HasField("baseline_value")


def test_class_accuracies_without_an_interval_are_sent() -> None:
    tests = {metric: PairedTest(metric, 0, 0, 1.0, False) for metric in PairedMetric}
    group = GroupComparison(1, np.eye(8, dtype=np.int64), tests, {}, None, {}, multi_label_accuracies=(0.5, 0.625))
    comparison = Comparison("a", "b", "A", "B", "demo", "e", (), 0, {ALL: group}, {}, {}, (), ())

    everything = wire.to_comparison(comparison, []).groups[ALL]

    assert not everything.HasField("multi_label_accuracy")
    assert (everything.multi_label_accuracy_a, everything.multi_label_accuracy_b) == (0.5, 0.625)


def test_a_trend_is_converted_without_unknown_values() -> None:
    quantiles = np.tile(np.arange(99) / 100, (2, 1))
    quantiles[1] = np.nan
    places = [(group, metric) for group in (ALL, *GROUPS) for metric in METRICS]
    axes = {axis: AxisRange(low, 0.9, np.array([low, low + 0.005])) for axis, low in zip(Axis, (0.6, 0.7), strict=True)}
    curves = Curves("imagenet", 962, axes, dict.fromkeys(places, quantiles), {})
    standings = (
        PercentileRank("class_overlap", 0.25, 0.75, None, 0.5, 0.875),
        PercentileRank("model_failure", None, None, NoReferenceReason.NO_VALUE),
        PercentileRank("fine_grained", 0.25, None, NoReferenceReason.INDISTINCT, 0.125, 0.75),
    )
    accuracies = {Axis.TOP1: 0.7, Axis.MULTI_LABEL: 0.8}
    point = TrendPoint("a", "A", "red", True, accuracies, {"class_overlap": 0.25}, standings, 3)
    fits = (
        LabelFit("class_overlap", "", Fit(3, 2.0, 0.5, None), 3, None),
        LabelFit("pooled", "red", None, 1, 0.5),
    )

    sent = wire.to_trend(Trend("imagenet", "e", "other", "team", (point,), fits, curves, (), False, 2))

    (model,) = sent.models
    assert (model.analysis, model.label, model.requested, dict(model.values)) == (
        "analyses/a",
        "red",
        True,
        {"class_overlap": 0.25},
    )
    assert (model.top1_accuracy, model.multi_label_accuracy, model.num_analyses) == (0.7, 0.8, 3)
    first, second, third = model.percentile_ranks
    assert (first.percentile, first.low, first.high) == (0.75, 0.5, 0.875)
    assert not any(second.HasField(name) for name in ("value", "percentile", "low", "high"))
    assert "the model makes no such errors" in second.message
    assert (third.low, third.high, third.HasField("percentile")) == (0.125, 0.75, False)
    assert third.message == "not distinguishable from its neighbors"
    assert [(metric.metric, metric.axis, metric.portion_of) for metric in sent.metrics] == [
        ("class_overlap", "top1_accuracy", "top1_errors"),
        ("multi_label", "top1_accuracy", "top1_errors"),
        ("fine_grained", "multi_label_accuracy", "multi_label_errors"),
        ("fine_grained_oov", "multi_label_accuracy", "multi_label_errors"),
        ("spurious_correlation", "multi_label_accuracy", "multi_label_errors"),
        ("non_prototypical", "multi_label_accuracy", "multi_label_errors"),
        ("model_failure", "multi_label_accuracy", "multi_label_errors"),
        ("multi_label_accuracy", "top1_accuracy", ""),
    ]
    assert (sent.group, sent.num_published, sent.num_left_out) == ("other", 962, 2)
    assert sent.fits[0].slope == 2 and not sent.fits[0].HasField("r_squared") and not sent.fits[0].HasField("shift")
    assert sent.fits[1].shift == 0.5 and not sent.fits[1].HasField("slope")
    band = sent.bands[0]
    assert [(quantile.top1_accuracy, quantile.accuracy) for quantile in band.quantiles] == [(0.6, 0.6)]
    bands = {band.metric: band for band in sent.bands}
    over_mla = bands["model_failure"].quantiles
    assert [(quantile.top1_accuracy, quantile.accuracy) for quantile in over_mla] == [(0, 0.7)]
    assert [band.quantiles[0].q05, band.quantiles[0].q50, band.quantiles[0].q95] == pytest.approx([0.04, 0.49, 0.94])
    assert len(sent.bands) == len(METRICS)


def test_a_trend_of_labels_that_reject_targets_has_portions_of_all_errors() -> None:
    point = TrendPoint("a", "A", "", True, dict.fromkeys(Axis, 0.7), dict.fromkeys(METRICS, 0.25))
    trend = Trend("imagenet-real", "e", ALL, "", (point,), (), None, (), False, 0, has_rejected_targets=True)

    sent = wire.to_trend(trend)

    titles = [value_title(sent, metric) for metric in ("class_overlap", "model_failure", "multi_label_accuracy")]
    assert titles == ["class overlap, of all errors", "model failure, of multi-label errors", "multi-label accuracy"]
