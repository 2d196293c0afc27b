"""The view of a trend: models, fits, differences, and percentiles, with and without reference models."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from errata.messages import METRIC_NAMES
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    ALL,
    METRICS,
    QUANTILES,
    Axis,
    AxisRange,
    Curves,
    ErrorType,
    Fit,
    LabelFit,
    Metric,
    NoReferenceReason,
    PercentileRank,
    Trend,
    TrendPoint,
)
from service.report.charts import LABEL_COLORS
from service.report.messages.trend import (
    REJECTED_TARGETS_NOTE,
    SAME_MODEL_NOTE,
    excluded_note,
    fit_text,
    trend_description,
    trend_summary,
)
from service.report.percentile_view import PercentileRow
from service.report.trend_chart import MAX_NAMED
from service.report.trend_view import MAX_MODELS, TrendView, trend_view
from service.taxonomy.imagenet_1k import GROUPS

HOLES = ("None", "nan", "  ", "()", " .", " ,", ",,", "..", "{", "}")
SVG = "{http://www.w3.org/2000/svg}"
SHOWN = [metric for metric in METRICS if metric != "pooled"]


def curves() -> Curves:
    knots = np.arange(0.5, 0.9, 0.005)
    rising = QUANTILES[None, :] * knots[:, None]
    axes = dict.fromkeys(Axis, AxisRange(0.5, 0.9, knots))
    return Curves(
        "imagenet", 1234, axes, {(group, metric): rising for group in (ALL, *GROUPS) for metric in METRICS}, {}
    )


def point(accuracy: float, **changes: Any) -> TrendPoint:
    values: Mapping[Metric, float] = dict.fromkeys(METRICS, 0.125)
    accuracies = {Axis.TOP1: accuracy, Axis.MULTI_LABEL: accuracy + 0.05}
    return replace(TrendPoint("", "published net", "cnn", False, accuracies, values), **changes)


def own(name: str = "a1", **changes: Any) -> TrendPoint:
    return point(0.75, **{"id": name, "title": f"my {name}", "is_selected": True, "label": "vit", **changes})


def line(metric: Metric, label: str = "", fit: Fit | None = None, shift: float | None = None) -> LabelFit:
    return LabelFit(metric, label, fit, 1200, shift)


def trend(**changes: Any) -> Trend:
    fits = [line(metric, fit=Fit(1200, -0.4567, 0.5, 0.875)) for metric in METRICS]
    default = Trend(
        dataset="imagenet",
        evidence="e" * 64,
        group="organism",
        by="architecture-family",
        points=(point(0.6), point(0.7), own()),
        fits=tuple(fits),
        curves=curves(),
        abstained=(),
        own_superclasses=False,
        num_left_out=0,
        groups=(ALL, *GROUPS),
    )
    return replace(default, **changes)


def view(y: str = "", has_links: bool = False, **changes: Any) -> TrendView:
    return trend_view(trend(**changes), y, has_links)


def test_trend_has_title_filters_and_evidence() -> None:
    result = view()

    assert result.title == "Error types and accuracy: imagenet"
    assert (result.dataset, result.group, result.by, result.evidence) == (
        "imagenet",
        "organism",
        "architecture-family",
        "e" * 64,
    )
    assert result.num_reference == "1,234"
    assert [value for value, _ in result.group_names] == [ALL, *GROUPS]
    assert dict(result.by_names)["architecture-family"] == "architecture family"


@pytest.mark.parametrize(
    ("own", "others", "published", "sentence"),
    [
        (0, 0, 0, "No models are stored for this data set."),
        (1, 0, 0, "Error types and accuracy of 1 stored analysis."),
        (2, 1, 0, "Error types and accuracy of 2 stored analyses and 1 reference model."),
        (1200, 0, 900, "Error types and accuracy of 1,200 stored analyses, compared with 900 reference models."),
        (3, 1200, 1200, "Error types and accuracy of 3 stored analyses and 1,200 reference models, compared with "
                        "1,200 reference models."),
    ],
)  # fmt: skip
def test_trend_summary_counts_the_models(own: int, others: int, published: int, sentence: str) -> None:
    assert trend_summary(own, others, published) == sentence


def test_empty_trend_of_an_owner_names_the_owner_and_no_missing_label() -> None:
    empty = view(points=(), curves=None, by="owner", owner="ann")

    assert (empty.owner, empty.summary) == ("ann", "No models are stored for this data set and the owner ann.")
    assert not [note for note in empty.notes if "without a token" in note]


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
@max_examples(100)
def test_trend_summary_is_complete(own: int, others: int, published: int) -> None:
    sentence = trend_summary(own, others, published)

    assert sentence.endswith(".")
    assert not [hole for hole in HOLES if hole in sentence]


def test_pooled_metric_is_shown_only_if_a_rule_abstained() -> None:
    assert view().metric_titles == tuple(METRIC_NAMES[metric] for metric in SHOWN)
    assert len(view().metric_titles) == 8
    pooled = view(abstained=(ErrorType.FINE_GRAINED_OOV,)).metric_titles
    assert len(pooled) == 9
    assert "out of vocabulary to model failure, combined" in pooled


def test_rules_without_evidence_are_named() -> None:
    notes = view(abstained=(ErrorType.SPURIOUS_CORRELATION, ErrorType.NON_PROTOTYPICAL)).notes

    assert sum(note.endswith("The number of model failures is an upper bound.") for note in notes) == 2
    assert not [note for note in view().notes if "upper bound" in note]


def test_metric_without_evidence_and_reference_is_not_shown() -> None:
    silent = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    values = {metric: 0.125 for metric in METRICS if metric not in {item.key for item in silent}}
    titles = view(curves=None, abstained=silent, points=(own(values=values),)).metric_titles

    assert titles == tuple(METRIC_NAMES[metric] for metric in METRICS if metric in values)


def test_fit_text_has_slope_and_r_squared() -> None:
    assert fit_text(Fit(9, 0.5, 0.1, 0.875)) == "slope +0.50 points per point, R² = 0.88"
    assert fit_text(Fit(9, -0.4567, 0.1, 0.5)) == "slope −0.46 points per point, R² = 0.50"
    assert fit_text(Fit(9, 0.0, 0.1, None)) == "slope 0.00 points per point"
    assert fit_text(None) == "no fit: at least three models with different accuracies are required"


@given(
    st.none()
    | st.builds(
        Fit,
        num_models=st.integers(3, 2000),
        slope=st.floats(-99, 99),
        intercept=st.floats(-9, 9),
        r_squared=st.none() | st.floats(0, 1),
    )
)
@max_examples(200)
def test_trend_description_is_complete(fit: Fit | None) -> None:
    sentence = trend_description("model failure", "multi-label accuracy", fit_text(fit))

    assert sentence.startswith("model failure by multi-label accuracy: ")
    assert sentence.endswith(".")
    assert "-" not in sentence.removeprefix("model failure by multi-label"), "a minus is a minus sign"
    assert not [hole for hole in HOLES if hole in sentence]


def test_each_metric_has_a_chart_with_a_description() -> None:
    descriptions = [chart.description for chart in view().charts]

    fit = "slope −0.46 points per point, R² = 0.88."
    assert len(descriptions) == 8
    assert descriptions[0] == (f"class overlap by top-1 accuracy: {fit}",)
    assert descriptions[-2] == (f"model failure by multi-label accuracy: {fit}",)
    assert descriptions[-1] == (f"multi-label accuracy by top-1 accuracy: {fit}",)


def test_charts_name_the_axis_and_the_denominator_of_the_metric() -> None:
    overlap, *_, failure, accuracy = (chart.svg for chart in view().charts)

    assert ">top-1 accuracy, %<" in overlap and ">% of top-1 errors<" in overlap
    assert ">multi-label accuracy, %<" in failure and ">% of multi-label errors<" in failure
    assert ">top-1 accuracy, %<" in accuracy and ">%<" in accuracy


def test_portions_of_labels_that_reject_targets_are_not_called_portions_of_top1_errors() -> None:
    result = view(has_rejected_targets=True)

    overlap, *_, failure, _ = (chart.svg for chart in result.charts)
    assert ">% of all errors<" in overlap
    assert ">% of multi-label errors<" in failure
    assert REJECTED_TARGETS_NOTE in result.notes and REJECTED_TARGETS_NOTE not in view().notes
    assert "Class overlaps and missing multi-labels are portions of all errors, by" in result.portions_note
    assert "As in the paper, class overlaps and missing multi-labels are portions of the top-1" in view().portions_note
    on_top1 = view(axes=dict.fromkeys(METRICS, Axis.TOP1), has_rejected_targets=True)
    assert "portions of all errors. The other" in on_top1.portions_note


def test_charts_without_models_need_reference_models() -> None:
    assert view(points=(), fits=(), curves=None).charts == ()
    bands = view(points=(), fits=()).charts
    assert bands
    assert all(
        "no fit: at least three models with different accuracies are required" in sentence
        for chart in bands
        for sentence in chart.description
    )


def test_notes_match_the_content() -> None:
    assert view().notes == ()
    assert "It is not known whether this evidence uses them." in view(own_superclasses=True).notes[0]
    (alone,) = view(curves=None, own_superclasses=True, points=(own(),)).notes
    assert alone.startswith("No published models exist for this data set. Percentiles are not available")
    assert alone.endswith("There are no other models yet.")
    assert "on another data set" in view(curves=None).notes[1]
    (unlabelled,) = view(by="team", points=(own(label=""),)).notes
    assert unlabelled.startswith("No model has the label team")
    assert view(by="owner", points=(own(label=""),)).notes == (
        "No analysis has an owner, because all were created without a token.",
    )
    assert view(points=(own(num_analyses=3), own("a2"))).notes == (
        "The number after a name counts the stored analyses of this version of the model. The trend shows the newest "
        "of them, or those that you selected.",
    )
    assert view(num_left_out=1).notes == (
        "1 stored analysis of this data set is excluded because it has other evidence or implausible predictions.",
    )
    assert excluded_note(1200) == (
        "1,200 stored analyses of this data set are excluded because they have other evidence or implausible "
        "predictions."
    )


def test_a_note_explains_that_uploads_with_one_name_are_one_other_model() -> None:
    uploads = tuple(own(f"a{number}", title="net") for number in range(3))

    assert SAME_MODEL_NOTE in view(curves=None, points=uploads, num_other_models=0).notes
    assert SAME_MODEL_NOTE not in view(curves=None, points=uploads, num_other_models=2).notes


def test_missing_value_of_a_model_is_a_dash() -> None:
    result = view(points=(own(values={"model_failure": 0.25}), point(0.6)))

    mine, published = result.models
    assert (mine.id, mine.title, mine.label, mine.top1, mine.is_selected) == ("a1", "my a1", "vit", "75.0 %", True)
    assert mine.values == ("–", "–", "–", "–", "–", "–", "25.0 %", "–")
    assert (published.id, published.is_selected, published.values) == ("", False, ("12.5 %",) * 8)


def test_model_with_several_analyses_has_their_number() -> None:
    result = view(points=(own(num_analyses=1200), own("a2")))

    assert [model.title for model in result.models] == ["my a1 (1,200 analyses)", "my a2"]


def test_number_of_shown_models_is_limited() -> None:
    result = view(points=tuple(point(0.6) for _ in range(MAX_MODELS + 1)))

    assert (len(result.models), result.num_models) == (MAX_MODELS, MAX_MODELS + 1)


def test_requested_analyses_are_selected() -> None:
    stored = [own(f"b{index}", is_selected=False) for index in range(300)]

    result = view(points=(own("a1"), own("a2"), *stored))
    assert [model.id for model in result.models if model.is_selected] == ["a1", "a2"]
    crowd = view(points=tuple(own(f"a{index}") for index in range(50)))
    assert sum(model.is_selected for model in crowd.models) == 20


def test_only_selected_analyses_have_percentiles() -> None:
    percentile_ranks = (
        PercentileRank("model_failure", 0.25, 0.1, None, 0.05, 0.3),
        PercentileRank("class_overlap", 0.02, None, NoReferenceReason.INDISTINCT, 0.004, 0.995),
        PercentileRank("fine_grained", None, None, NoReferenceReason.NO_VALUE),
    )
    result = view(
        points=(
            own(percentile_ranks=percentile_ranks),
            own("a2", percentile_ranks=percentile_ranks, is_selected=False),
            own("a3"),
        )
    )

    (mine,) = result.percentiles
    assert mine.title == "my a1"
    fewer, unclear = (
        "fewer model failures than 90 % of similarly accurate models",
        "not distinguishable from its neighbors",
    )
    assert mine.rows == (
        PercentileRow("model failure", "25.0 %", "multi-label errors", "10", "5 to 30", fewer),
        PercentileRow("class overlap", "2.0 %", "top-1 errors", "–", "1 to 99", unclear),
        PercentileRow(
            "fine-grained", "–", "multi-label errors", "–", "–", "not available: the model makes no such errors"
        ),
    )


def test_most_frequent_labels_have_colors_and_the_others_share_one() -> None:
    fits = [LabelFit("model_failure", f"label {index}", None, 1, None) for index in range(len(LABEL_COLORS) + 2)]
    fits += [LabelFit("model_failure", "often", None, 2, None), line("model_failure")]

    legend = view(fits=tuple(fits)).legend

    assert legend[0].label == "often"
    assert [key.color for key in legend] == [*range(1, len(LABEL_COLORS) + 1), 0, 0, 0]
    assert "" not in {key.label for key in legend}


def test_shifts_have_a_row_per_label_and_a_column_per_metric() -> None:
    fits = (
        line("model_failure"),
        line("model_failure", "cnn", shift=0.0125),
        line("class_overlap", "cnn", shift=-0.02),
        line("model_failure", "vit"),
    )
    result = view(fits=fits)

    assert [(row.label, row.models) for row in result.shifts] == [("cnn", "1,200"), ("vit", "1,200")]
    assert result.shifts[0].shifts == ("−2.00", "–", "–", "–", "–", "–", "+1.25", "–")
    assert set(result.shifts[1].shifts) == {"–"}


def test_every_fit_is_in_the_table() -> None:
    result = view(fits=(line("pooled", "", Fit(1200, -0.5, 0.1, None)), line("model_failure", "vit", None, 0.01)))

    assert [(row.metric, row.label, row.models, row.slope, row.r_squared, row.shift) for row in result.fits] == [
        ("out of vocabulary to model failure, combined", "all models", "1,200", "−0.50", "–", "–"),
        ("model failure", "vit", "1,200", "–", "–", "+1.00"),
    ]


# names, links, and axes

HOSTILE = "</title></svg><script>alert(1)</script>\" onload='x' {{7*7}} &amp; ]]>"


def marks(svg: str) -> list[tuple[str, str]]:
    """Return the URL and the name of each named mark of a chart."""
    root = ElementTree.fromstring(svg)
    links = {id(mark): link.get("href", "") for link in root.iter(f"{SVG}a") for mark in link}
    named = [mark for mark in root.iter() if mark.find(f"{SVG}title") is not None]
    return [(links.get(id(mark), ""), mark.findtext(f"{SVG}title") or "") for mark in named]


def test_dots_have_names_and_those_of_analyses_are_links() -> None:
    intervals = {"model_failure": (0.0612, 0.2388)}
    result = view("model_failure", has_links=True, points=(point(0.6), own(intervals=intervals), own("a2")))

    assert marks(result.charts[0].svg) == [
        ("", "published net: 12.5 %"),
        ("/analyses/a1", "my a1: 12.5 % (95 % interval: 6.1 to 23.9 %)"),
        ("/analyses/a2", "my a2: 12.5 %"),
    ]


def test_stand_alone_charts_have_names_and_no_links() -> None:
    for chart in view(points=(point(0.6), own())).charts:
        assert [url for url, _ in marks(chart.svg)] == ["", ""]
        assert "href" not in chart.svg


def test_dots_of_the_first_thousand_models_have_names() -> None:
    points = [own(f"a{index}", is_selected=False) for index in range(MAX_NAMED + 5)]

    (chart,) = view("model_failure", has_links=True, points=tuple(points)).charts

    assert [url for url, _ in marks(chart.svg)] == [f"/analyses/a{index}" for index in range(MAX_NAMED)]
    assert chart.svg.count('fill="var(--c') + chart.svg.count('fill="var(--dot)') == MAX_NAMED + 5
    assert "undefined" not in chart.svg and "null" not in chart.svg


def test_hostile_title_is_the_text_of_a_dot() -> None:
    result = view("model_failure", has_links=True, points=(own(title=HOSTILE),))

    assert marks(result.charts[0].svg) == [("/analyses/a1", f"{HOSTILE}: 12.5 %")]
    assert "<script" not in result.charts[0].svg


def test_one_metric_has_one_larger_chart() -> None:
    result = view("model_failure")

    assert len(result.charts) == 1
    width, larger = (
        float(chart.svg.partition('width="')[2].partition('"')[0]) for chart in (*view().charts[:1], *result.charts)
    )
    assert larger > 1.5 * width
    assert len(result.metric_titles) == 8  # the tables have all metrics


def test_without_labels_analyses_have_a_color_and_reference_models_are_gray() -> None:
    (chart,) = view("model_failure", by="", points=(point(0.6, label=""), own(label="")), fits=()).charts

    dots = re.findall(r'<path[^>]* fill="(var\(--(?:c\d|dot)\))"[^>]*><title>([^<:]*)', chart.svg)
    assert dots == [("var(--dot)", "published net"), ("var(--c1)", "my a1")]


def test_axes_of_a_request_are_on_all_charts() -> None:
    result = view(axes=dict.fromkeys(METRICS, Axis.TOP1))

    assert result.x == "top1_accuracy" and view().x == ""
    assert all(">top-1 accuracy, %<" in chart.svg for chart in result.charts)
    assert "only on the axes of the paper" in result.portions_note


def test_groupings_are_general_ones_and_the_labels_of_the_analyses() -> None:
    names = dict(view(by="mine", label_keys=("data", "size")).by_names)

    assert {"", "model", "owner", "architecture", "data", "mine"} <= {*names}
    assert len(names) == len(view(by="mine", label_keys=("data", "size")).by_names)
