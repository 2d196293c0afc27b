"""The page of a trend: models, lines, shifts and places in words, with and without a reference."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from errata.messages import METRIC_NAMES
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import (
    QUANTILES,
    Curves,
    ErrorType,
    Fit,
    Group,
    LabelFit,
    Metric,
    NoReferenceReason,
    PercentileRank,
    Trend,
    TrendPoint,
)
from service.report.charts import LABEL_COLORS
from service.report.messages import fit_words, left_out, trend_headline, trend_told
from service.report.trend_view import SHOWN_MODELS, TrendView, trend_view

HOLES = ("None", "nan", "  ", "()", " .", " ,", ",,", "..", "{", "}")
SHOWN = [metric for metric in Metric if metric is not Metric.POOLED]


def curves() -> Curves:
    knots = np.arange(0.5, 0.9, 0.005)
    rising = QUANTILES[None, :] * knots[:, None]
    return Curves(
        "imagenet", 1234, 0.5, 0.9, knots, {(group, metric): rising for group in Group for metric in Metric}, {}
    )


def point(accuracy: float, **changes: Any) -> TrendPoint:
    values: Mapping[Metric, float] = dict.fromkeys(Metric, 0.125)
    return replace(TrendPoint("", "published net", "cnn", False, accuracy, values), **changes)


def own(name: str = "a1", **changes: Any) -> TrendPoint:
    return point(0.75, **{"id": name, "title": f"my {name}", "asked": True, "label": "vit", **changes})


def line(metric: Metric, label: str = "", fit: Fit | None = None, shift: float | None = None) -> LabelFit:
    return LabelFit(metric, label, fit, 1200, shift)


def trend(**changes: Any) -> Trend:
    fits = [line(metric, fit=Fit(1200, -0.4567, 0.5, 0.875)) for metric in Metric]
    made = Trend(
        dataset="imagenet",
        evidence="e" * 64,
        group=Group.ORGANISM,
        by="architecture-family",
        points=(point(0.6), point(0.7), own()),
        fits=tuple(fits),
        curves=curves(),
        abstained=(),
        own_superclasses=False,
        num_left_out=0,
    )
    return replace(made, **changes)


def view(marked: str = "", **changes: Any) -> TrendView:
    return trend_view(trend(**changes), marked)


def test_the_page_says_what_it_shows() -> None:
    shown = view()

    assert shown.title == "Errors over accuracy: imagenet"
    assert (shown.dataset, shown.group, shown.by, shown.evidence) == (
        "imagenet",
        "organism",
        "architecture-family",
        "e" * 64,
    )
    assert shown.published == "1,234"
    assert [value for value, _ in shown.group_names] == [group.value for group in Group]
    assert dict(shown.by_names)["architecture-family"] == "family of architectures"


@pytest.mark.parametrize(
    ("own", "others", "published", "said"),
    [
        (2, 0, 0, "What kinds of errors 2 stored analyses make at their accuracy."),
        (1200, 0, 900, "What kinds of errors 1,200 stored analyses make at their accuracy, held against the spread of "
                       "900 published models."),
        (1, 900, 0, "What kinds of errors 1 stored analysis and 900 published models make at their accuracy."),
        (3, 1200, 1200, "What kinds of errors 3 stored analyses and 1,200 published models make at their accuracy, "
                        "held against the spread of 1,200 published models."),
    ],
)  # fmt: skip
def test_the_headline_counts_the_models(own: int, others: int, published: int, said: str) -> None:
    assert trend_headline(own, others, published) == said


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_the_headline_never_has_a_hole(own: int, others: int, published: int) -> None:
    said = trend_headline(own, others, published)

    assert said.endswith(".")
    assert not [hole for hole in HOLES if hole in said]


def test_eight_metrics_are_followed_and_the_pooled_one_where_a_rule_abstained() -> None:
    assert view().metric_titles == tuple(METRIC_NAMES[metric] for metric in SHOWN)
    assert len(view().metric_titles) == 8
    pooled = view(abstained=(ErrorType.FINE_GRAINED_OOV,)).metric_titles
    assert len(pooled) == 9
    assert "out of vocabulary to model failure, combined" in pooled


def test_without_published_models_a_silent_rule_has_no_picture_and_no_column() -> None:
    silent = (ErrorType.FINE_GRAINED_OOV, ErrorType.NON_PROTOTYPICAL)
    values = {metric: 0.125 for metric in Metric if metric.name not in {item.name for item in silent}}
    titles = view(curves=None, abstained=silent, points=(own(values=values),)).metric_titles

    assert titles == tuple(METRIC_NAMES[metric] for metric in Metric if metric in values)


def test_a_line_is_told_with_its_slope_and_how_well_it_fits() -> None:
    assert fit_words(Fit(9, 0.5, 0.1, 0.875)) == "+0.50 points per point, R² = 0.88"
    assert fit_words(Fit(9, -0.4567, 0.1, 0.5)) == "−0.46 points per point, R² = 0.50"
    assert fit_words(Fit(9, 0.0, 0.1, None)) == "+0.00 points per point"
    assert fit_words(None) == "no line: fewer than three models, or one accuracy"


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
@settings(max_examples=200, deadline=None)
def test_the_words_of_a_line_never_have_a_hole(fit: Fit | None) -> None:
    said = trend_told("model failure", fit_words(fit))

    assert said.startswith("model failure over top-1 accuracy: ")
    assert said.endswith(".")
    assert "-" not in said.removeprefix("model failure over top-1"), "a minus is a minus sign"
    assert not [hole for hole in HOLES if hole in said]


def test_the_picture_is_told_metric_by_metric() -> None:
    picture = view().picture

    assert picture is not None
    assert len(picture.told) == 8
    assert picture.told[-1] == "multi-label accuracy over top-1 accuracy: −0.46 points per point, R² = 0.88."


def test_without_models_there_is_a_picture_only_of_what_is_published() -> None:
    assert view(points=(), fits=(), curves=None).picture is None
    bands = view(points=(), fits=()).picture
    assert bands is not None
    assert all("no line: fewer than three models, or one accuracy" in told for told in bands.told)


def test_notes_say_what_has_to_be_known() -> None:
    assert view().notes == ()
    assert "superclasses" in view(own_superclasses=True).notes[0]
    (alone,) = view(curves=None, own_superclasses=True, points=(own(),)).notes
    assert alone.startswith("No models are published of this data set")
    assert "of another data set" in view(curves=None).notes[1]
    (unlabelled,) = view(by="team", points=(own(label=""),)).notes
    assert unlabelled.startswith("No model has a label team")
    assert view(num_left_out=1).notes == (
        "1 stored analysis of this data set was judged with other evidence and left out.",
    )
    assert left_out(1200) == ("1,200 stored analyses of this data set were judged with other evidence and left out.")


def test_a_model_is_told_with_its_values_or_a_dash() -> None:
    shown = view(points=(own(values={Metric.MODEL_FAILURE: 0.25}), point(0.6)))

    mine, published = shown.models
    assert (mine.id, mine.title, mine.label, mine.top1, mine.marked) == ("a1", "my a1", "vit", "75.0 %", True)
    assert mine.values == ("–", "–", "–", "–", "–", "–", "25.0 %", "–")
    assert (published.id, published.marked, published.values) == ("", False, ("12.5 %",) * 8)


def test_only_so_many_models_are_shown_and_all_are_counted() -> None:
    shown = view(points=tuple(point(0.6) for _ in range(SHOWN_MODELS + 1)))

    assert (len(shown.models), shown.num_models) == (SHOWN_MODELS, SHOWN_MODELS + 1)


def test_what_was_asked_for_stands_out_however_many_are_stored() -> None:
    stored = [own(f"b{index}", asked=False) for index in range(300)]

    shown = view(points=(own("a1"), own("a2"), *stored))
    assert [model.id for model in shown.models if model.marked] == ["a1", "a2"]
    crowd = view(points=tuple(own(f"a{index}") for index in range(50)))
    assert sum(model.marked for model in crowd.models) == 20
    unasked = view("a1", points=(own(asked=False), own("a2", asked=False)))
    assert [model.marked for model in unasked.models] == [True, False]


def test_standings_are_told_of_what_stands_out() -> None:
    standings = (
        PercentileRank(Metric.MODEL_FAILURE, 0.25, 0.1, None),
        PercentileRank(Metric.FINE_GRAINED, None, None, NoReferenceReason.NO_VALUE),
    )
    shown = view(points=(own(standings=standings), own("a2", standings=standings, asked=False), own("a3")))

    (mine,) = shown.standings
    assert mine.title == "my a1"
    assert mine.rows == (
        ("model failure", "25.0 %", "fewer model failures than 90 % of models this accurate"),
        ("fine-grained", "–", "no reference: it has no errors"),
    )


def test_labels_have_colors_the_most_frequent_first_and_those_that_are_left_share_one() -> None:
    fits = [LabelFit(Metric.MODEL_FAILURE, f"label {index}", None, 1, None) for index in range(len(LABEL_COLORS) + 2)]
    fits += [LabelFit(Metric.MODEL_FAILURE, "often", None, 2, None), line(Metric.MODEL_FAILURE)]

    keys = view(fits=tuple(fits)).keys

    assert keys[0].label == "often"
    assert [key.color for key in keys] == [*range(1, len(LABEL_COLORS) + 1), 0, 0, 0]
    assert "" not in {key.label for key in keys}


def test_shifts_have_a_row_a_label_and_a_column_a_metric() -> None:
    fits = (
        line(Metric.MODEL_FAILURE),
        line(Metric.MODEL_FAILURE, "cnn", shift=0.0125),
        line(Metric.CLASS_OVERLAP, "cnn", shift=-0.02),
        line(Metric.MODEL_FAILURE, "vit"),
    )
    shown = view(fits=fits)

    assert [(row.label, row.models) for row in shown.shifts] == [("cnn", "1,200"), ("vit", "1,200")]
    assert shown.shifts[0].shifts == ("−2.00", "–", "–", "–", "–", "–", "+1.25", "–")
    assert set(shown.shifts[1].shifts) == {"–"}


def test_every_line_is_in_the_table_behind_the_picture() -> None:
    shown = view(
        fits=(line(Metric.POOLED, "", Fit(1200, -0.5, 0.1, None)), line(Metric.MODEL_FAILURE, "vit", None, 0.01))
    )

    assert [(row.metric, row.label, row.models, row.slope, row.r_squared, row.shift) for row in shown.fits] == [
        ("out of vocabulary to model failure, combined", "all models", "1,200", "−0.50", "–", "–"),
        ("model failure", "vit", "1,200", "–", "–", "+1.00"),
    ]
