"""Conversion of comparisons, gate results, and trends without loss."""

import numpy as np
import pytest
from errata import v1 as pb

from service import wire
from service.domain import (
    ERROR_TYPES,
    METRICS,
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
    Group,
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
    UndecidedReason,
)


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
    row = ChangeRow("tench", 0, 9, 2, 1, interval)
    comparison = Comparison(
        "a", "b", "A", "B", "demo", "e", (ErrorType.FINE_GRAINED_OOV,), 5, dict.fromkeys(Group, group),
        (row,), (ChangeRow("fish", None, 9, 2, 1, interval),), (flip,), (),
    )  # fmt: skip

    sent = wire.to_comparison(comparison)

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
    assert (sent.fixed[0].file_name, sent.fixed[0].target_name) == ("x.jpg", "goldfish")
    assert sent.headline.startswith(f"fixes {everything.fixed:,} images, breaks {everything.broken:,} images")


def test_a_gate_result_is_converted_completely() -> None:
    bound = Bound("b", Measure.RATE, (ErrorType.MODEL_FAILURE,), Group.ORGANISM, max_increase=0.0)
    reasons = (
        GateReason(GateDecision.UNDECIDED, bound, 0.5, 0.0, 0.25, 0.125, 40, (UndecidedReason.FEW_SAMPLES,)),
        GateReason(GateDecision.PASS, None, 1.0, 0.9),
    )

    sent = wire.to_gate_result(GateResult(GateDecision.UNDECIDED, "p", "a", "c", reasons))

    assert (sent.decision, sent.analysis, sent.baseline) == (pb.GATE_DECISION_UNDECIDED, "analyses/a", "analyses/c")
    first, second = sent.reasons
    assert (first.bound, first.measure, first.group) == ("b", "rate", "organism")
    assert (first.value, first.limit, first.baseline_value, first.p_value) == (0.5, 0.0, 0.25, 0.125)
    assert "too few samples" in first.message
    assert not second.HasField("p_value") and not second.HasField("baseline_value")


def test_a_trend_is_converted_without_unknown_values() -> None:
    quantiles = np.tile(np.arange(99) / 100, (2, 1))
    quantiles[1] = np.nan
    places = [(group, metric) for group in Group for metric in METRICS]
    curves = Curves("imagenet", 962, 0.6, 0.9, np.array([0.6, 0.605]), dict.fromkeys(places, quantiles), {})
    standings = (
        PercentileRank("class_overlap", 0.25, 0.75, None),
        PercentileRank("model_failure", None, None, NoReferenceReason.NO_VALUE),
    )
    point = TrendPoint("a", "A", "red", True, 0.7, {"class_overlap": 0.25}, standings)
    fits = (
        LabelFit("class_overlap", "", Fit(3, 2.0, 0.5, None), 3, None),
        LabelFit("pooled", "red", None, 1, 0.5),
    )

    sent = wire.to_trend(Trend("imagenet", "e", Group.OTHER, "team", (point,), fits, curves, (), False, 2))

    (model,) = sent.models
    assert (model.analysis, model.label, model.requested, dict(model.values)) == (
        "analyses/a",
        "red",
        True,
        {"class_overlap": 0.25},
    )
    assert model.percentile_ranks[0].percentile == 0.75 and not model.percentile_ranks[1].HasField("percentile")
    assert "the model makes no top-1 errors" in model.percentile_ranks[1].message
    assert (sent.group, sent.num_published, sent.num_left_out) == ("other", 962, 2)
    assert sent.fits[0].slope == 2 and not sent.fits[0].HasField("r_squared") and not sent.fits[0].HasField("shift")
    assert sent.fits[1].shift == 0.5 and not sent.fits[1].HasField("slope")
    band = sent.bands[0]
    assert [quantile.top1_accuracy for quantile in band.quantiles] == [0.6]
    assert [band.quantiles[0].q05, band.quantiles[0].q50, band.quantiles[0].q95] == pytest.approx([0.04, 0.49, 0.94])
    assert len(sent.bands) == len(METRICS)
