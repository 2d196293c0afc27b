"""The curves of the package, compared with slow computations over the authors' 962 models."""

import csv
import hashlib
import io
import json
import math
import statistics
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from service.domain import ALL, Axis, AxisRange, Curves, NoReferenceReason, StoredResult
from service.reference_models.curves import curves_of
from service.reference_models.derive import derive
from service.reference_models.layout import PublishedModel, read_models
from service.summary.percentiles import percentile_ranks_of, percentiles_of, quantiles_at
from service.taxonomy.imagenet_1k import GROUPS

DATASETS = ("imagenet", "imagenet-a")
OOV_TO_FAILURE = ("num_OOV_clip", "num_common_co_occ", "num_non_prototypical", "num_not_classified")
COLUMNS = {
    "class_overlap": ("num_collapsed_mappings",),
    "multi_label": ("num_ambiguous",),
    "fine_grained": ("num_same_superclass",),
    "fine_grained_oov": ("num_OOV_clip",),
    "spurious_correlation": ("num_common_co_occ",),
    "non_prototypical": ("num_non_prototypical",),
    "model_failure": ("num_not_classified",),
    "pooled": OOV_TO_FAILURE,
}
OVER_TOP1 = ("class_overlap", "multi_label")  # portions of the top-1 errors; the others are of the multi-label errors
MULTI_LABEL_ERRORS = ("num_same_superclass", *OOV_TO_FAILURE)
EVERY_METRIC = (*COLUMNS, "multi_label_accuracy")
AXES = {metric: "top1" if metric in (*OVER_TOP1, "multi_label_accuracy") else "mla" for metric in EVERY_METRIC}
PUBLISHED_LINES = {  # slope and R² over all images (spec/statistics, "trend axes")
    "class_overlap": (0.22, 0.82),
    "multi_label": (1.75, 0.90),
    "fine_grained": (1.06, 0.74),
    "fine_grained_oov": (0.36, 0.83),
    "spurious_correlation": (0.17, 0.67),
    "model_failure": (-1.63, 0.84),
}
ROUNDING = 0.5 / 65_534 + 1e-9


@dataclass(frozen=True)
class Models:
    """The authors' models of one data set, as fractions."""

    names: list[str]
    accuracies: dict[str, list[Fraction]]  # by axis, over all samples
    values: dict[tuple[str, str], list[Fraction]]  # by group and metric

    def nearest(self, axis: str, accuracy: Fraction) -> list[int]:
        """Return the 50 models nearest to an accuracy, within 2.5 points."""
        accuracies, unit = self._integers[axis]
        exact, whole = accuracy.numerator * unit, accuracy.denominator * unit
        distance = [abs(other * accuracy.denominator - exact) for other in accuracies]
        order = sorted(range(len(distance)), key=lambda number: (distance[number], number))[:50]
        return [number for number in order if 40 * distance[number] <= whole]

    @cached_property
    def _integers(self) -> dict[str, tuple[list[int], int]]:
        """The accuracies by axis as multiples of 1 / unit, and the unit, because fractions compare slowly."""
        units = {axis: math.lcm(*(value.denominator for value in of_axis)) for axis, of_axis in self.accuracies.items()}
        return {
            axis: ([int(value * units[axis]) for value in of_axis], units[axis])
            for axis, of_axis in self.accuracies.items()
        }


def read(reference: Path, dataset: str) -> Models:
    values: dict[tuple[str, str], list[Fraction]] = {}
    rows: list[dict[str, str]] = []
    for group in ("all", "organism", "artifact", "other"):
        with (reference / "published" / f"stats-{dataset}" / f"non_problematic_stats_{group}.csv").open(
            newline=""
        ) as file:
            rows = list(csv.DictReader(file))
        for metric, columns in COLUMNS.items():
            errors = [
                int(row["num_group_top1_errors"])
                if metric in OVER_TOP1
                else sum(int(row[column]) for column in MULTI_LABEL_ERRORS)
                for row in rows
            ]
            values[group, metric] = [
                Fraction(sum(int(row[column]) for column in columns), total)
                for row, total in zip(rows, errors, strict=True)
            ]
        values[group, "multi_label_accuracy"] = [Fraction(row["mla_group"]) / 100 for row in rows]
    top1 = [1 - Fraction(int(row["num_all_top1_errors"]), int(row["num_all_samples"])) for row in rows]
    accuracies = {"top1": top1, "mla": [Fraction(row["mla_all"]) / 100 for row in rows]}
    return Models([row["model_dir_id"] for row in rows], accuracies, values)


@pytest.fixture(scope="module")
def published(reference: Path) -> dict[str, Models]:
    return {dataset: read(reference, dataset) for dataset in DATASETS}


@pytest.fixture(scope="module")
def near(published: dict[str, Models]) -> dict[tuple[str, str], list[list[int]]]:
    """The models near each model on each axis, including itself."""
    return {
        (dataset, axis): [models.nearest(axis, accuracy) for accuracy in accuracies]
        for dataset, models in published.items()
        for axis, accuracies in models.accuracies.items()
    }


def curves(dataset: str) -> Curves:
    result = curves_of(dataset)
    assert result is not None
    return result


def range_of(result: Curves, axis: str) -> AxisRange:
    return result.axes[Axis.TOP1 if axis == "top1" else Axis.MULTI_LABEL]


# the shipped data


@pytest.mark.parametrize("dataset", DATASETS)
def test_curves_are_up_to_date(reference: Path, dataset: str) -> None:
    content = (files("service.reference_models") / f"data/curves-{dataset}.npz").read_bytes()
    today = derive(reference / "published", dataset)

    with np.load(io.BytesIO(content), allow_pickle=False) as shipped:
        assert set(shipped.files) == set(today)
        for name in ("knots", "range", "quantiles"):
            assert shipped[name].dtype == today[name].dtype
            np.testing.assert_array_equal(shipped[name], today[name])
        np.testing.assert_allclose(shipped["fits"], today["fits"], rtol=1e-12, atol=0)
        assert str(shipped["facts"]) == str(today["facts"])
        facts = json.loads(str(shipped["facts"]))
    folder = reference / "published" / f"stats-{dataset}"
    assert facts["dataset"] == dataset
    assert facts["models"] == 962
    assert facts["sources"] == {
        f"stats-{dataset}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()
    }


@pytest.mark.parametrize("dataset", ["imagenet-real", "demo", "", "../curves-imagenet"])
def test_other_data_sets_have_no_curves(dataset: str) -> None:
    assert curves_of(dataset) is None


@pytest.mark.parametrize("axis", ["top1", "mla"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_range_is_that_of_the_published_accuracies(published: dict[str, Models], dataset: str, axis: str) -> None:
    models, result = published[dataset], curves(dataset)

    assert result.dataset == dataset
    assert result.num_models == len(models.names) == 962
    assert range_of(result, axis).lowest == pytest.approx(float(min(models.accuracies[axis])), abs=1e-12)
    assert range_of(result, axis).highest == pytest.approx(float(max(models.accuracies[axis])), abs=1e-12)


@pytest.mark.parametrize("axis", ["top1", "mla"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_knots_have_steps_of_half_a_point_and_cover_the_range(dataset: str, axis: str) -> None:
    result = range_of(curves(dataset), axis)

    assert [Fraction(float(knot)).limit_denominator(1000) for knot in result.knots] == [
        Fraction(round(200 * result.knots[0]) + number, 200) for number in range(len(result.knots))
    ]
    assert result.knots[0] <= result.lowest < result.knots[1]
    assert result.knots[-2] < result.highest <= result.knots[-1]


@pytest.mark.parametrize("dataset", DATASETS)
def test_quantiles_are_those_of_the_50_nearest_models(published: dict[str, Models], dataset: str) -> None:
    """All groups and metrics, with the quantiles of the standard library. Neighbors are near on the metric's axis."""
    models, result = published[dataset], curves(dataset)
    empty = total = 0
    for axis in models.accuracies:
        for place, knot in enumerate(range_of(result, axis).knots):
            selected = models.nearest(axis, Fraction(round(200 * knot), 200))
            for (group, metric), values in models.values.items():
                if AXES[metric] != axis:
                    continue
                total += 1
                actual = result.quantiles[group, metric][place]
                assert actual.shape == (99,)
                if len(selected) < 20:
                    empty += 1
                    assert np.isnan(actual).all()
                    continue
                of_models = [float(values[number]) for number in selected]
                expected = statistics.quantiles(of_models, n=100, method="inclusive")
                np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING)
    assert 0 < empty < 0.5 * total


@pytest.mark.parametrize("dataset", DATASETS)
def test_lines_agree_with_scipy(published: dict[str, Models], dataset: str) -> None:
    models, result = published[dataset], curves(dataset)
    for (group, metric), values in models.values.items():
        accuracy = [float(accuracy) for accuracy in models.accuracies[AXES[metric]]]
        actual = result.fits.get((group, metric))
        if len(set(values)) == 1:  # all are equal: on ImageNet-A there are no missing labels, for one
            assert actual is None or actual.r_squared is None
            continue
        expected = stats.linregress(accuracy, [float(value) for value in values])
        assert actual is not None, (group, metric)
        assert actual.num_models == 962
        assert (actual.slope, actual.intercept) == pytest.approx(
            (expected.slope, expected.intercept), rel=1e-9, abs=1e-12
        )
        assert actual.r_squared == pytest.approx(expected.rvalue**2, abs=1e-9)


@pytest.mark.parametrize("metric", PUBLISHED_LINES)
def test_lines_have_the_published_slopes(metric: str) -> None:
    slope, r_squared = PUBLISHED_LINES[metric]

    fit = curves("imagenet").fits[ALL, metric]

    assert fit.r_squared is not None
    assert (round(fit.slope, 2), round(fit.r_squared, 2)) == (slope, r_squared)


@pytest.mark.parametrize("dataset", DATASETS)
def test_multi_label_accuracy_follows_top1_accuracy_closely(dataset: str) -> None:
    fit = curves(dataset).fits[ALL, "multi_label_accuracy"]

    assert fit.r_squared is not None
    assert 0.99 < fit.r_squared <= 1
    assert fit.slope == pytest.approx(1, abs=0.05)


def test_model_failures_fall_and_multi_label_errors_rise_with_accuracy() -> None:
    fits = curves("imagenet").fits

    assert fits[ALL, "model_failure"].slope < 0 < fits[ALL, "multi_label"].slope
    assert all(fits[ALL, name].r_squared > 0.8 for name in ("model_failure", "multi_label"))


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("group", [ALL, *GROUPS])
def test_reader_agrees_with_an_independent_reader(
    reference: Path, published: dict[str, Models], dataset: str, group: str
) -> None:
    models = published[dataset]
    file = reference / "published" / f"stats-{dataset}" / f"non_problematic_stats_{group}.csv"

    result = read_models(file.read_bytes())

    assert [model.name for model in result] == models.names
    for axis, name in ((Axis.TOP1, "top1"), (Axis.MULTI_LABEL, "mla")):
        expected = [float(accuracy) for accuracy in models.accuracies[name]]
        assert [model.accuracies[axis] for model in result] == pytest.approx(expected)
    assert [model.numbers.multi_label_accuracy for model in result] == pytest.approx(
        [float(value) for value in models.values[group, "multi_label_accuracy"]]
    )


# percentiles


def exact(values: list[int], near: list[int], value: int) -> float:
    """Return the share of models with a lower value; a tie counts half."""
    fraction = Fraction(0)
    for number in near:
        if values[number] < value:
            fraction += 1
        elif values[number] == value:
            fraction += Fraction(1, 2)
    return float(fraction / len(near))


def by_rank(values: list[Fraction]) -> list[int]:
    """Return ranks of the values, which are faster to compare."""
    rank = {value: number for number, value in enumerate(sorted(set(values)))}
    return [rank[value] for value in values]


def percentiles_of_models(models: Models, shipped: Curves, group: str, metric: str) -> np.ndarray:
    """Return the percentile of each published model from the shipped quantiles; NaN: too few neighbors."""
    accuracies = np.array([float(accuracy) for accuracy in models.accuracies[AXES[metric]]])
    values = np.array([float(value) for value in models.values[group, metric]])
    knots = range_of(shipped, AXES[metric]).knots
    return percentiles_of(quantiles_at(knots, shipped.quantiles[group, metric], accuracies), values)


def differences(
    models: Models, shipped: Curves, near: list[list[int]], group: str, metric: str
) -> tuple[list[float], list[bool]]:
    """Return the differences between percentiles from curves and exact percentiles. Both must exist, or neither."""
    ranks = by_rank(models.values[group, metric])
    by_how_much, agree = [], []
    for number, percentile in enumerate(percentiles_of_models(models, shipped, group, metric).tolist()):
        agree.append(math.isnan(percentile) != (len(near[number]) >= 20))
        if not math.isnan(percentile) and agree[-1]:
            by_how_much.append(abs(percentile - exact(ranks, near[number], ranks[number])))
    return by_how_much, agree


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("group", [ALL, *GROUPS])
@pytest.mark.parametrize("metric", EVERY_METRIC)
def test_percentiles_from_curves_are_close_to_exact_percentiles(
    published: dict[str, Models],
    near: dict[tuple[str, str], list[list[int]]],
    dataset: str,
    group: str,
    metric: str,
) -> None:
    """The tolerance: 2 to 4 points on average, 13 for 95 % of the models, 30 at worst.

    Where models are dense (86 to 88 %) the 50 nearest lie within a tenth of a point, and knots are half a point apart:
    between two knots the curves tell of other models than the nearest. Multi-label accuracy, which follows accuracy so
    closely, suffers most.
    """
    neighbors = near[dataset, AXES[metric]]
    result, agree = differences(published[dataset], curves(dataset), neighbors, group, metric)

    assert len(result) > 900
    assert agree.count(False) <= 1  # at the boundary of the range with 20 models
    assert statistics.mean(result) < 0.045
    assert statistics.quantiles(result, n=20)[-1] < 0.13
    assert max(result) < 0.30


@pytest.mark.parametrize("metric", COLUMNS)
def test_percentiles_of_all_images_are_closer(
    published: dict[str, Models], near: dict[tuple[str, str], list[list[int]]], metric: str
) -> None:
    neighbors = near["imagenet", AXES[metric]]
    result, _ = differences(published["imagenet"], curves("imagenet"), neighbors, "all", metric)

    assert statistics.mean(result) < 0.033
    assert statistics.quantiles(result, n=20)[-1] < 0.10


@pytest.mark.parametrize("metric", EVERY_METRIC)
def test_percentile_at_a_knot_is_exact(published: dict[str, Models], metric: str) -> None:
    """At a knot, only the 1 % steps of the quantiles limit the precision."""
    models, result, axis = published["imagenet"], curves("imagenet"), AXES[metric]
    values, ranks = models.values["all", metric], by_rank(models.values["all", metric])
    knots, checked = range_of(result, axis).knots, 0
    for knot in knots:
        selected = models.nearest(axis, Fraction(round(200 * knot), 200))
        if len(selected) < 20:
            continue
        quantiles = quantiles_at(knots, result.quantiles[ALL, metric], np.full(len(selected), knot))
        percentiles = percentiles_of(quantiles, np.array([float(values[number]) for number in selected]))
        for number, percentile in zip(selected, percentiles.tolist(), strict=True):
            assert abs(percentile - exact(ranks, selected, ranks[number])) <= 0.5 / len(selected) + 0.01 + 1e-9
            checked += 1
    assert checked > 1000


def result_of(model: PublishedModel) -> StoredResult:
    top1 = model.accuracies[Axis.TOP1]
    whole = replace(model.numbers, multi_label_accuracy=model.accuracies[Axis.MULTI_LABEL])
    return StoredResult(model.name, model.name, {}, "", "", ("", ""), (), top1, whole, model.numbers)


@pytest.mark.parametrize(("dataset", "least", "most"), [("imagenet", 0.8, 0.95), ("imagenet-a", 0.35, 0.6)])
def test_published_models_have_a_percentile_with_a_narrow_interval_or_a_reason(
    reference: Path, dataset: str, least: float, most: float
) -> None:
    """Each 20th model. Many percentiles are withheld: portions vary more with the images than between neighbors."""
    file = reference / "published" / f"stats-{dataset}" / "non_problematic_stats_all.csv"
    reasons = []
    for model in read_models(file.read_bytes())[::20]:
        ranks = percentile_ranks_of(curves(dataset), ALL, result_of(model), own_superclasses=False)
        assert [rank.metric for rank in ranks] == [metric for metric in EVERY_METRIC if metric != "pooled"]
        for rank in ranks:
            reasons.append(rank.missing)
            if rank.missing is NoReferenceReason.INDISTINCT:
                assert rank.low is not None and rank.high is not None and rank.high - rank.low > 0.5
            elif rank.missing is None:
                assert rank.low is not None and rank.high is not None and rank.high - rank.low <= 0.5
                assert rank.percentile is not None and 0 < rank.percentile < 1
            else:
                assert rank.missing is NoReferenceReason.FEW
    assert least < reasons.count(NoReferenceReason.INDISTINCT) / len(reasons) < most


@pytest.mark.parametrize("metric", ["class_overlap", "spurious_correlation", "model_failure"])
def test_resnet50_is_not_distinguishable_from_its_neighbors(reference: Path, metric: str) -> None:
    """See spec/statistics, "reliability of a percentile"."""
    file = reference / "published" / "stats-imagenet" / "non_problematic_stats_all.csv"
    (model,) = [model for model in read_models(file.read_bytes()) if model.name == "torchvision--resnet50"]

    ranks = percentile_ranks_of(curves("imagenet"), ALL, result_of(model), own_superclasses=False)

    (rank,) = [rank for rank in ranks if rank.metric == metric]
    assert (rank.percentile, rank.missing) == (None, NoReferenceReason.INDISTINCT)
    assert rank.low is not None and rank.high is not None
    assert rank.low < 0.2 and rank.high > 0.97


@pytest.mark.parametrize("metric", [column for column in COLUMNS if column != "pooled"])
def test_published_resnet50s_are_around_the_median(published: dict[str, Models], metric: str) -> None:
    """41 ResNet-50s with different training have percentiles on both sides of the median."""
    models, result = published["imagenet"], curves("imagenet")
    selected = [number for number, name in enumerate(models.names) if "resnet50" in name]

    percentiles = percentiles_of_models(models, result, "all", metric)[selected].tolist()

    assert len(percentiles) == 41
    assert 0.35 < statistics.median(percentiles) < 0.65
    assert min(percentiles) < 0.2
    assert max(percentiles) > 0.8
    assert sum(0.1 <= percentile <= 0.9 for percentile in percentiles) > 0.7 * 41


@pytest.mark.parametrize("metric", COLUMNS)
def test_percentiles_of_all_published_models_are_uniform(published: dict[str, Models], metric: str) -> None:
    """About a tenth of all models is in each tenth of the percentiles.

    Multi-label accuracy is an exception: it depends only on accuracy, which varies among the 50 neighbors, so most
    percentiles are near the middle.
    """
    all_percentiles = percentiles_of_models(published["imagenet"], curves("imagenet"), "all", metric)
    percentiles = all_percentiles[~np.isnan(all_percentiles)].tolist()

    assert statistics.mean(percentiles) == pytest.approx(0.5, abs=0.03)
    tenths = [sum(math.floor(10 * percentile) == tenth for percentile in percentiles) for tenth in range(10)]
    assert sum(tenths) == len(percentiles)
    assert all(0.05 < count / len(percentiles) < 0.16 for count in tenths), tenths
