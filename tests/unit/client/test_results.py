"""Results: messages with tables and charts."""

import copy
import pickle
import sys
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from errata import Analysis, Comparison, Trend, errors, pb
from errata.frames import MissingPackage
from errata.proto_json import to_dict

HOSTILE = "<script>alert('x')</script> & \"more\""


def analysis(**fields: Any) -> Analysis:
    """Return an analysis of 10 images with 4 top-1 errors: 1 overlap and 3 model failures, all of them organisms."""
    group = pb.GroupSummary(
        num_samples=10,
        counts={"correct": 6, "class_overlap": 1, "model_failure": 3},
        top1_errors=4,
        top1_accuracy=0.6,
        multi_label_accuracy=0.7,
        image_multi_label_accuracy=0.65,
        portions_of_top1_errors={"class_overlap": 0.25, "model_failure": 0.75},
        gain_if_fixed_top1={"model_failure": 0.3},
    )
    summary = pb.Summary(
        groups={"all": group, "organism": group, "artifact": pb.GroupSummary(), "other": pb.GroupSummary()},
        abstained=["non_prototypical"],
    )
    defaults: dict[str, Any] = {"name": "analyses/a", "display_name": HOSTILE, "dataset": "demo"}
    return Analysis(pb.Analysis(**defaults | {"state": pb.Analysis.STATE_SUCCEEDED, "summary": summary} | fields))


CHANGE = pb.Interval(a=0.25, b=0.0, difference=-0.25, low=-0.7, high=0.3)
TEST = pb.AdjustedTest(p_value=0.0004, adjusted_p_value=0.03, significant=True)


def comparison() -> Comparison:
    """Return a comparison of 10 images, one of them a model failure in A and correct in B."""
    group = pb.GroupComparison(
        num_samples=10,
        transitions=[
            pb.Transitions(error_type="correct", counts={"correct": 9}),
            pb.Transitions(error_type="model_failure", counts={"correct": 1}),
        ],
        rates={"top1": pb.Interval(a=0.9, b=1.0, difference=0.1, low=-0.05, high=0.3)},
        type_changes=[pb.TypeChange(error_type="model_failure", only_a=1, share=CHANGE, test=TEST)],
        classes=[
            pb.ChangeRow(display_name=HOSTILE, num_samples=4, fixed=1, errors=CHANGE, test=TEST),
            *(pb.ChangeRow(display_name=f"class {number}", errors=CHANGE, test=TEST) for number in range(10)),
        ],
    )
    return Comparison(
        pb.Comparison(
            a="analyses/a", b="analyses/b", display_name_a=HOSTILE, display_name_b="b", groups={"all": group},
            headline="One image is fixed.", num_left_out=2,
        )
    )  # fmt: skip


def trend(models: int = 2) -> Trend:
    """Return a trend of models, the first of them requested, with a percentile and published models."""
    rank = pb.PercentileRank(metric="model_failure", value=0.2, percentile=0.4, low=0.25, high=0.6)
    return Trend(
        pb.Trend(
            dataset="imagenet-real",
            by="team",
            models=[
                pb.TrendModel(
                    analysis=f"analyses/{number}",
                    display_name=HOSTILE,
                    label="red",
                    requested=number == 0,
                    top1_accuracy=0.7 + number / 1000,
                    multi_label_accuracy=0.8 + number / 1000,
                    num_analyses=1 + number,
                    values={"model_failure": 0.2, "multi_label_accuracy": 0.8},
                    percentile_ranks=[rank],
                )
                for number in range(models)
            ],
            bands=[
                pb.TrendBand(
                    metric="model_failure",
                    quantiles=[pb.TrendQuantiles(accuracy=0.8, q05=0.1, q50=0.2, q95=0.3)],
                )
            ],
            metrics=[
                pb.TrendMetric(metric="model_failure", axis="multi_label_accuracy", portion_of="multi_label_errors"),
                pb.TrendMetric(metric="multi_label_accuracy", axis="top1_accuracy"),
            ],
            notes=[HOSTILE],
        )
    )


ALL = (analysis, comparison, trend)


# the message


def test_a_result_has_the_attributes_of_its_message() -> None:
    result = analysis()

    assert result.name == result.message.name == "analyses/a"
    assert result.HasField("summary")
    assert result.summary.groups["all"].top1_errors == 4
    assert {"summary", "to_pandas", "HasField"} <= {*dir(result)}
    with pytest.raises(AttributeError):
        _ = result.no_such_field


def test_a_result_equals_its_message() -> None:
    result = analysis()

    assert result == analysis()
    assert result == result.message
    assert result.message == result
    assert result != analysis(name="analyses/b")
    assert str(result) == str(result.message)


def test_a_result_has_a_short_description() -> None:
    assert repr(analysis(display_name="m")) == "<Analysis analyses/a: 'm' on 'demo', succeeded>"
    assert repr(comparison()).endswith(" and 'b': One image is fixed.>")
    assert repr(trend()) == "<Trend of 2 models on 'imagenet-real'>"


def test_a_result_has_a_json_form() -> None:
    result = analysis()

    assert to_dict(result) == to_dict(result.message)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", ALL)
def test_a_result_can_be_copied_and_pickled(make: Any) -> None:
    result = make()

    assert copy.deepcopy(result) == result
    assert pickle.loads(pickle.dumps(result)) == result


# data frames


def test_an_analysis_as_a_data_frame_has_a_row_for_each_group_and_error_type() -> None:
    frame = analysis().to_pandas().set_index(["group", "error_type"])

    assert len(frame) == 4 * 8
    failures = frame.loc[("all", "model_failure")]
    assert (failures["count"], failures["samples"], failures["severity"]) == (3, 10, "severe")
    assert (failures["portion_of_top1_errors"], failures["top1_gain_if_fixed"]) == (0.75, 0.3)
    assert pd.isna(frame.loc[("all", "correct"), "portion_of_top1_errors"])
    assert list(frame.loc["all"].index[~frame.loc["all"]["evaluated"]]) == ["non_prototypical"]


@pytest.mark.parametrize("method", ["to_pandas", "plot"])
def test_an_unfinished_analysis_has_no_table_and_no_chart(method: str) -> None:
    queued = Analysis(pb.Analysis(name="analyses/a", state=pb.Analysis.STATE_QUEUED))

    with pytest.raises(errors.NotReady, match=r"its state is queued\. Pass it to client\.wait first\.$"):
        getattr(queued, method)()


@pytest.mark.parametrize("method", ["to_pandas", "plot"])
def test_a_failed_analysis_has_no_table_and_no_chart(method: str) -> None:
    failure = pb.Failure(reason="MODEL_NOT_FOUND", message="The model does not exist.")
    failed = Analysis(pb.Analysis(name="analyses/a", state=pb.Analysis.STATE_FAILED, failure=failure))

    with pytest.raises(errors.NotReady, match=r"its state is failed\. The model does not exist\.$"):
        getattr(failed, method)()


def test_a_comparison_as_a_data_frame_has_the_transitions() -> None:
    frame = comparison().to_pandas()

    changed = frame[(frame["count"] > 0) & (frame["error_type_a"] != frame["error_type_b"])]
    assert changed.to_dict("records") == [
        {"group": "all", "error_type_a": "model_failure", "error_type_b": "correct", "count": 1}
    ]


def test_changes_as_a_data_frame_have_their_tests() -> None:
    frame = comparison().changes_to_pandas()

    first = frame.iloc[0].to_dict()
    assert (len(frame), first["group"], first["name"], first["samples"]) == (11, "all", HOSTILE, 4)
    assert (first["only_a"], first["only_b"], first["rate_a"], first["difference"]) == (1, 0, 0.25, -0.25)
    assert (first["low"], first["high"]) == (-0.7, 0.3)
    assert (first["p_value"], first["adjusted_p_value"], first["significant"]) == (0.0004, 0.03, True)
    changed = comparison()
    changed.message.groups["all"].classes[0].class_index = 134
    assert changed.changes_to_pandas()["class_index"][0] == 134
    (row,) = comparison().changes_to_pandas("error_type").to_dict("records")
    assert (row["name"], row["samples"], row["only_a"]) == ("model_failure", 10, 1)
    none = comparison().changes_to_pandas("superclass")
    assert (len(none), list(none.columns)) == (0, list(frame.columns))


def test_unknown_kind_of_changes_is_refused() -> None:
    with pytest.raises(errors.InvalidRequest, match=r"Unknown kind of changes 'group'\. Use one of: error_type, "):
        comparison().changes_to_pandas("group")


def test_a_trend_as_a_data_frame_has_a_row_for_each_model_and_metric() -> None:
    frame = trend().to_pandas()

    assert len(frame) == 2 * 2
    row = frame[frame["metric"] == "model_failure"].iloc[0]
    assert (row["value"], row["percentile"], row["requested"], row["label"]) == (0.2, 0.4, True, "red")
    assert (row["percentile_low"], row["percentile_high"], row["portion_of"]) == (0.25, 0.6, "multi_label_errors")
    assert (row["top1_accuracy"], row["multi_label_accuracy"], row["num_analyses"]) == (0.7, 0.8, 1)
    accuracy = frame[frame["metric"] == "multi_label_accuracy"]
    assert accuracy[["percentile", "percentile_low", "percentile_high"]].isna().all(axis=None)
    assert set(accuracy["portion_of"]) == {""}
    assert list(Trend(pb.Trend()).to_pandas().columns) == list(frame.columns)


@pytest.mark.parametrize(("method", "package"), [("to_pandas", "pandas"), ("plot", "altair")])
@pytest.mark.parametrize("make", ALL)
def test_without_the_extra_the_error_names_it(
    make: Any, method: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingPackage, match=rf"{package}.*pip install '\./client\[pandas\]'") as missing:
        getattr(make(), method)()
    assert isinstance(missing.value, ImportError)


# HTML


class Tables(HTMLParser):
    """Collects the cells of tables, and checks that tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[list[str]] = []
        self.scopes: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in {"div", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td"}
        self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("th", "td"):
            self.cells[-1].append("")
        if tag == "th":
            self.scopes.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("th", "td"):
            self.cells[-1][-1] += data


def tables(result: Any) -> Tables:
    parser = Tables()
    parser.feed(result._repr_html_())
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("make", ALL)
def test_html_is_escaped_and_has_header_cells_with_a_scope(make: Any) -> None:
    html = make()._repr_html_()

    assert "<script" not in html
    assert "&lt;script&gt;" in html
    parsed = tables(make())
    assert {*parsed.scopes} == {"col", "row"}
    assert html.count("<table>") == html.count("<caption>") >= 1
    for table in html.split("<table>")[1:]:
        widths = [row.count("<td") + row.count("<th ") for row in table.split("<tr>")[1:]]
        assert len(set(widths)) == 1, "the rows of a table have the same number of cells"


def test_html_of_an_analysis_has_counts_percentages_and_abstentions() -> None:
    cells = {row[0]: row[1:] for row in tables(analysis()).cells}

    assert cells["top-1 accuracy"][:2] == ["60.0 %", "60.0 %"]
    assert cells["multi-label accuracy (images)"][0] == "65.0 %"
    assert cells["multi-label accuracy (class mean)"][0] == "70.0 %"
    assert cells["model failure"][0] == "3 (75.0 %)"
    assert cells["non-prototypical"] == ["–"] * 4
    assert "upper bound" in analysis()._repr_html_()


def test_html_names_the_errors_that_the_percentages_refer_to() -> None:
    rejecting = analysis()
    rejecting.summary.num_rejected_targets = 2

    assert "their percentages of the top-1 errors<" in analysis()._repr_html_()
    assert "their percentages of the top-1 or multi-label errors<" in rejecting._repr_html_()


def test_an_analysis_without_a_result_in_html_has_its_state() -> None:
    failure = pb.Failure(reason="MODEL_REFUSED", message=HOSTILE)
    failed = Analysis(pb.Analysis(display_name="m", dataset="demo", state=pb.Analysis.STATE_FAILED, failure=failure))
    running = Analysis(pb.Analysis(state=pb.Analysis.STATE_RUNNING, progress=pb.Progress(done=5, total=20)))

    assert "m on demo: failed" in failed._repr_html_()
    assert "MODEL_REFUSED: &lt;script&gt;" in failed._repr_html_()
    assert "Predicted images: 5 of 20." in running._repr_html_()


def test_a_comparison_in_html_has_rates_and_transitions() -> None:
    cells = {row[0]: row[1:] for row in tables(comparison()).cells}

    assert cells["top-1 accuracy"] == ["90.0 %", "100.0 %", "+10.00", "−5.00 to +30.00"]
    assert cells["model failure"] == ["1", "0", "−25.00", "−70.00 to +30.00", "< 0.001", "0.030"]
    assert "Classes with changed errors: 10 of 11" in comparison()._repr_html_()
    assert "Only one of the analyses has a prediction for 2 images." in comparison()._repr_html_()


def test_a_trend_in_html_has_the_requested_models_with_percentiles() -> None:
    cells = tables(trend(3)).cells

    assert len(cells) == 2
    assert "20.0 % (percentile 40, 25 to 60)" in cells[1]
    assert "model failure, of multi-label errors" in trend()._repr_html_()


def test_a_trend_of_an_earlier_service_has_portions_of_the_top1_errors() -> None:
    """Its messages have no metrics, and its quantiles only a top-1 accuracy."""
    old = trend()
    del old.message.metrics[:]
    old.bands[0].quantiles[0].CopyFrom(pb.TrendQuantiles(top1_accuracy=0.7, q05=0.1, q50=0.2, q95=0.3))

    assert set(old.to_pandas()["portion_of"]) == {"top1_errors", ""}
    assert "model failure, of top-1 errors" in old._repr_html_()
    layers = old.plot("model_failure").to_dict()["layer"]
    assert {layer["encoding"]["x"]["field"] for layer in layers} == {"top-1 accuracy"}
    assert {row["top-1 accuracy"] for layer in layers for row in layer["data"]["values"]} == {0.7, 0.701}


def test_a_long_trend_in_html_is_cut() -> None:
    long = trend(40)
    for model in long.models:
        model.requested = False

    assert len(tables(long).cells) == 1 + 20
    assert "Showing 20 of 40 models" in long._repr_html_()


@pytest.mark.parametrize("result", [Analysis(pb.Analysis()), Comparison(pb.Comparison()), Trend(pb.Trend())])
def test_empty_results_have_html(result: Any) -> None:
    tables(result)


# charts


def test_the_chart_of_an_analysis_has_the_evaluated_error_types() -> None:
    chart = analysis().plot().to_dict()

    values = chart["data"]["values"]
    assert {row["group"] for row in values} == {"all images", "organisms", "artifacts", "other"}
    assert {row["error type"] for row in values} == {*chart["encoding"]["color"]["scale"]["domain"]}
    assert "non-prototypical" not in chart["encoding"]["color"]["scale"]["domain"]
    [failures] = [row for row in values if (row["group"], row["error type"]) == ("all images", "model failure")]
    assert (failures["images"], failures["portion"]) == (3, 0.75)


def test_the_chart_of_a_comparison_has_the_transitions_over_all_images() -> None:
    chart = comparison().plot().to_dict()

    [values] = chart["datasets"].values() if "datasets" in chart else [chart["data"]["values"]]
    assert {"A": "model failure", "B": "top-1 correct", "images": 1} in values


def test_the_chart_of_a_trend_has_models_and_published_quantiles() -> None:
    with_bands = trend().plot("model-failure").to_dict()
    without = trend().plot().to_dict()

    assert [layer["mark"]["type"] for layer in with_bands["layer"]] == ["area", "line", "point"]
    assert [layer["mark"]["type"] for layer in without["layer"]] == ["point"]
    assert {layer["encoding"]["x"]["field"] for layer in with_bands["layer"]} == {"multi-label accuracy"}
    assert {layer["encoding"]["x"]["field"] for layer in without["layer"]} == {"top-1 accuracy"}
    assert with_bands["layer"][2]["encoding"]["y"]["title"] == "model failure, of multi-label errors"
    rows = [row for layer in with_bands["layer"] for row in layer["data"]["values"]]
    assert {row["multi-label accuracy"] for row in rows} == {0.8, 0.801}


def test_an_unknown_metric_is_rejected_with_the_permitted_ones() -> None:
    with pytest.raises(errors.InvalidRequest, match="Expected one of: model_failure, multi_label_accuracy"):
        trend().plot("accuracy")
