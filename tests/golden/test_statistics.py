"""The published statistics of 962 models: their counts add up, and their rates agree with Errata's."""

import csv
from pathlib import Path

import numpy as np
import pytest

from service.domain import ALL, ErrorType, Predictions
from service.evidence.bundle import Bundle
from service.summary.summarize import SampleResults, summarize

COLUMNS = {
    ErrorType.CLASS_OVERLAP: "num_collapsed_mappings",
    ErrorType.MULTI_LABEL: "num_ambiguous",
    ErrorType.FINE_GRAINED: "num_same_superclass",
    ErrorType.FINE_GRAINED_OOV: "num_OOV_clip",
    ErrorType.SPURIOUS_CORRELATION: "num_common_co_occ",
    ErrorType.NON_PROTOTYPICAL: "num_non_prototypical",
    ErrorType.MODEL_FAILURE: "num_not_classified",
}
FILES = {
    ALL: "non_problematic_stats_all.csv",
    "organism": "non_problematic_stats_organism.csv",
    "artifact": "non_problematic_stats_artifact.csv",
    "other": "non_problematic_stats_other.csv",
}
SAMPLES = {ALL: 18_692, "organism": 7_624, "artifact": 10_184, "other": 1_596}


def published(reference: Path, dataset: str, group: str) -> list[dict[str, str]]:
    with (reference / "published" / f"stats-{dataset}" / FILES[group]).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("group", FILES)
def test_published_counts_add_up(reference: Path, group: str) -> None:
    rows = published(reference, "imagenet", group)

    assert len(rows) == 962
    for row in rows:
        errors = int(row["num_group_top1_errors"])
        assert int(row["num_group_samples"]) == SAMPLES[group]
        assert int(row["num_group_correct"]) + errors == SAMPLES[group]
        assert sum(int(row[column]) for column in COLUMNS.values()) == errors


@pytest.mark.parametrize("group", FILES)
@pytest.mark.parametrize("number", [0, 500, 961])
def test_summary_agrees_with_published_models_of_equal_counts(
    reference: Path, bundle: Bundle, group: str, number: int
) -> None:
    """A synthetic model with the published counts of each type has the published rates."""
    row = published(reference, "imagenet", group)[number]
    counts = {error_type: int(row[column]) for error_type, column in COLUMNS.items()}
    members = np.flatnonzero(bundle.group_mask(group) & ~bundle.arrays["problematic"])
    types = np.full(len(bundle.rows), ErrorType.CORRECT.id, dtype=np.uint8)
    types[members[: sum(counts.values())]] = np.repeat([error_type.id for error_type in counts], [*counts.values()])

    is_correct = types == ErrorType.CORRECT.id
    result = summarize(
        SampleResults(types, is_correct, is_correct, np.zeros(len(types), dtype=bool)),
        bundle.strata,
        (),
        Predictions(np.zeros(len(bundle.all_targets), dtype=np.int16)),
        bundle.all_targets,
        None,
    ).groups[group]

    assert {column: result.counts[column] for column in COLUMNS} == counts
    assert result.counts[ErrorType.CORRECT] == int(row["num_group_correct"])
    assert result.top1_errors == int(row["num_group_top1_errors"])
    assert result.top1_accuracy == pytest.approx(int(row["num_group_correct"]) / int(row["num_group_samples"]))
    for error_type, portion in result.portions_of_top1_errors.items():
        assert portion == pytest.approx(counts[error_type] / int(row["num_group_top1_errors"]))


@pytest.mark.parametrize("group", FILES)
def test_resnet50_is_within_the_range_of_published_models(
    reference: Path, bundle: Bundle, resnet50: dict[str, int], group: str
) -> None:
    """Portions that depend on labels only are within the range of published models with similar accuracy."""
    from service.analyses.judge import compute_summary

    names = [name.decode() for name in bundle.arrays["names"].tolist()]
    predictions = Predictions(np.array([resnet50[name] for name in names], dtype=np.int16))
    result = compute_summary(bundle, predictions).groups[group]
    rows = published(reference, "imagenet", group)

    assert result.num_samples == SAMPLES[group]
    assert sum(result.counts.values()) == result.num_samples
    assert result.num_samples - result.counts[ErrorType.CORRECT] == result.top1_errors
    near = [
        row for row in rows if abs(int(row["num_group_top1_errors"]) - result.top1_errors) < 0.2 * result.top1_errors
    ]
    assert len(near) >= 10
    for kind in (ErrorType.CLASS_OVERLAP, ErrorType.MULTI_LABEL):
        theirs = [int(row[COLUMNS[kind]]) for row in near]
        assert 0.6 * min(theirs) <= result.counts[kind] <= 1.4 * max(theirs)


@pytest.mark.parametrize("group", [ALL, "organism", "artifact"])
def test_published_counts_of_imagenet_a_add_up(reference: Path, group: str) -> None:
    for row in published(reference, "imagenet-a", group):
        errors = int(row["num_group_top1_errors"])
        assert int(row["num_group_correct"]) + errors == int(row["num_group_samples"])
        assert sum(int(row[column]) for column in COLUMNS.values()) == errors
