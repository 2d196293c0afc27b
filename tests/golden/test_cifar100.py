"""CIFAR-100 with its own 20 superclasses and human review: verdicts and aggregates, compared with the oracle."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from oracle import aggregates, label_space
from oracle.verdicts import Sample, Verdict, byte

from service.analyses.breakdown import compute_breakdown
from service.analyses.judge import JudgedAnalysis, compute_summary, compute_verdicts
from service.bootstrap.build import Inputs, build_evidence, verify_evidence
from service.domain import Analysis, ErrorType, Predictions, Summary
from service.evidence import layout
from service.evidence.bundle import Bundle

from .conftest import check_group

GROUPS = ("all", "organism", "artifact", "scene")


@pytest.fixture(scope="module")
def folder(reference: Path) -> Path:
    return reference / "cifar100"


@pytest.fixture(scope="module")
def bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    return build_evidence("reviewed-cifar100", inputs, tmp_path_factory.mktemp("cifar100") / "bundle")


@pytest.fixture(scope="module")
def space(folder: Path) -> label_space.Space:
    return label_space.read_space(folder / "classes.csv")


@pytest.fixture(scope="module")
def samples(folder: Path, space: label_space.Space) -> dict[str, Sample]:
    return label_space.read_samples(folder / "labels.csv", space)


@pytest.fixture(scope="module")
def predicted(folder: Path) -> dict[str, int]:
    return {row["file_name"]: int(row["predicted_class"]) for row in label_space.read_rows(folder / "predictions.csv")}


@pytest.fixture(scope="module")
def slow_verdicts(
    space: label_space.Space, samples: dict[str, Sample], predicted: dict[str, int]
) -> dict[str, Verdict]:
    pairs = label_space.cooccurrence_pairs(samples, space)
    return label_space.judge_all(samples, predicted, label_space.facts(space, pairs))


@pytest.fixture(scope="module")
def predictions(bundle: Bundle, predicted: dict[str, int]) -> Predictions:
    return Predictions(np.array([predicted[name] for name in bundle.image_names], dtype=np.int16))


@pytest.fixture(scope="module")
def summary(bundle: Bundle, predictions: Predictions) -> Summary:
    return compute_summary(bundle, predictions)


def test_the_bundle_has_the_published_counts(bundle: Bundle, samples: dict[str, Sample]) -> None:
    counts = bundle.manifest.counts

    assert (counts["images"], counts["problematic"], counts["rejected_targets"]) == (10_000, 247, 318)
    assert (counts["classes"], counts["superclasses"]) == (100, 20)
    assert np.count_nonzero(bundle.evidence.labels.counts == 2) == 20
    assert np.count_nonzero(bundle.evidence.labels.counts > 2) == 0
    assert sum(sample.is_rejected for sample in samples.values()) == 318
    assert bundle.judged_names == list(samples)  # the order of the file
    assert verify_evidence(bundle.path) == []


def test_the_bundle_has_the_labels_and_classes_of_the_files(
    bundle: Bundle, space: label_space.Space, samples: dict[str, Sample]
) -> None:
    evidence, superclasses = bundle.evidence, bundle.label_space.superclasses

    for row, sample in enumerate(samples.values()):
        assert {*evidence.labels.of(row).tolist()} == sample.multi_labels
        assert (evidence.targets[row], evidence.problematic[row]) == (sample.target, sample.problematic)
    assert bundle.label_space.names == tuple(space.names)
    for index in range(100):
        assert {*superclasses.names_of(index)} == {
            name for name, members in space.superclasses.items() if index in members
        }
    assert {len(members) for members in space.superclasses.values()} == {5}


def test_verdicts_agree_with_the_oracle(
    bundle: Bundle, predictions: Predictions, slow_verdicts: dict[str, Verdict]
) -> None:
    verdicts = compute_verdicts(bundle, predictions).tolist()

    actual = dict(zip(bundle.judged_names, verdicts, strict=True))
    assert len(slow_verdicts) == 10_000
    assert actual == {name: byte(verdict) for name, verdict in slow_verdicts.items()}
    assert {verdict.error_type for verdict in slow_verdicts.values()} == {1, 3, 4, 5, 8}


def test_verdicts_without_a_table_agree_with_the_oracle(
    folder: Path,
    tmp_path: Path,
    predictions: Predictions,
    slow_verdicts: dict[str, Verdict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "MAX_TABLE_CELLS", 0)
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")

    bundle = build_evidence("reviewed-cifar100", inputs, tmp_path / "bundle")

    assert "verdicts" not in bundle.arrays
    verdicts = dict(zip(bundle.judged_names, compute_verdicts(bundle, predictions).tolist(), strict=True))
    assert verdicts == {name: byte(verdict) for name, verdict in slow_verdicts.items()}


def test_problematic_images_are_judged_with_their_target(
    bundle: Bundle, samples: dict[str, Sample], slow_verdicts: dict[str, Verdict], summary: Summary
) -> None:
    problematic = [name for name, sample in samples.items() if sample.problematic]

    assert len(problematic) == summary.num_problematic == 247
    assert {bundle.judged_names[row] for row in np.flatnonzero(bundle.evidence.problematic)} == {*problematic}
    tags = Counter(tag for name in problematic for tag in slow_verdicts[name].tags)
    assert tags == {"UNTAGGED": 210, "EMPTY_WRONG": 37, "OOV_SIMILAR_TO_TARGET": 12}
    assert summary.groups["all"].num_samples == 10_000 - 247


def test_no_pair_of_labels_occurs_twice_so_the_rule_abstains(
    space: label_space.Space, samples: dict[str, Sample], summary: Summary
) -> None:
    assert label_space.cooccurrence_pairs(samples, space) is None
    assert summary.abstained == (
        ErrorType.FINE_GRAINED_OOV,
        ErrorType.SPURIOUS_CORRELATION,
        ErrorType.NON_PROTOTYPICAL,
    )


def test_pairs_of_one_image_make_the_rule_decide(
    folder: Path,
    tmp_path: Path,
    space: label_space.Space,
    samples: dict[str, Sample],
    predicted: dict[str, int],
) -> None:
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv", min_cooccurrence=1)
    bundle = build_evidence("reviewed-cifar100", inputs, tmp_path / "bundle")
    pairs = label_space.cooccurrence_pairs(samples, space, minimum=1)
    expected = label_space.judge_all(samples, predicted, label_space.facts(space, pairs))

    top1 = np.array([predicted[name] for name in bundle.judged_names], dtype=np.int16)
    verdicts = dict(zip(bundle.judged_names, bundle.judge(top1).tolist(), strict=True))

    assert pairs
    assert verdicts == {name: byte(verdict) for name, verdict in expected.items()}
    assert any(verdict.error_type == 6 for verdict in expected.values())


@pytest.mark.parametrize("group", GROUPS)
def test_summary_agrees_with_the_oracle(
    group: str,
    summary: Summary,
    space: label_space.Space,
    samples: dict[str, Sample],
    slow_verdicts: dict[str, Verdict],
    predicted: dict[str, int],
) -> None:
    members = None if group == "all" else space.groups[group]
    top1 = [predicted[name] for name in samples]
    expected = aggregates.aggregate([*samples.values()], top1, [*slow_verdicts.values()], members)

    actual = summary.groups[group]

    check_group(actual, expected)
    assert not actual.gain_if_fixed_top1  # the labels reject targets


def test_the_groups_are_those_of_the_file(summary: Summary, space: label_space.Space) -> None:
    assert {*summary.groups} == {"all", *space.groups} == {*GROUPS}
    assert sum(len(members) for members in space.groups.values()) == 100


def test_top1_accuracy_is_that_against_the_original_labels(
    summary: Summary, samples: dict[str, Sample], predicted: dict[str, int]
) -> None:
    hits = sum(predicted[name] == sample.target for name, sample in samples.items())

    assert summary.top1_accuracy_all_images == hits / 10_000
    assert round(hits / 100, 1) == 69.3  # spec/label-space
    assert (summary.num_images, summary.num_predicted, summary.num_judged) == (10_000, 10_000, 10_000)


def test_predictions_that_are_labels_of_images_with_rejected_targets_are_correct_labels(
    samples: dict[str, Sample], slow_verdicts: dict[str, Verdict], predicted: dict[str, int], summary: Summary
) -> None:
    rejected = [name for name, sample in samples.items() if sample.is_rejected]

    assert summary.num_rejected_targets == len(rejected) == 318
    # the reviewers saw errors of this model: the label that replaces the target is its prediction
    assert all(predicted[name] in samples[name].multi_labels for name in rejected)
    assert {slow_verdicts[name].error_type for name in rejected} == {ErrorType.MULTI_LABEL.id}


def test_predictions_of_the_original_labels_are_errors_where_the_target_is_rejected(
    bundle: Bundle, space: label_space.Space, samples: dict[str, Sample]
) -> None:
    original = {name: sample.target for name, sample in samples.items()}
    expected = label_space.judge_all(samples, original, label_space.facts(space, None))

    verdicts = dict(zip(bundle.judged_names, bundle.judge(bundle.all_targets).tolist(), strict=True))

    assert verdicts == {name: byte(verdict) for name, verdict in expected.items()}
    types = Counter(expected[name].error_type for name, sample in samples.items() if sample.is_rejected)
    assert {*types} == {ErrorType.FINE_GRAINED.id, ErrorType.MODEL_FAILURE.id}
    assert types.total() == 318
    summary = compute_summary(bundle, Predictions(bundle.all_targets)).groups["all"]
    assert summary.top1_accuracy == 1
    assert summary.accuracy_against_labels == (9_753 - 318) / 9_753 == summary.image_multi_label_accuracy


def test_superclasses_agree_with_the_oracle(
    bundle: Bundle,
    predictions: Predictions,
    space: label_space.Space,
    samples: dict[str, Sample],
    slow_verdicts: dict[str, Verdict],
) -> None:
    verdicts = compute_verdicts(bundle, predictions)
    judged = JudgedAnalysis(cast(Analysis, None), bundle, predictions, verdicts)
    every, slow = [*samples.values()], [*slow_verdicts.values()]

    rows = {row.name: row for row in compute_breakdown(judged, superclasses=True)}

    assert {*rows} == {*space.superclasses}
    assert sum(row.num_samples for row in rows.values()) == 10_000 - 247  # each class has one superclass
    for name, members in space.superclasses.items():
        positions = [row for row, sample in enumerate(every) if not sample.problematic and sample.e in members]
        counts = Counter(slow[position].error_type for position in positions)
        assert rows[name].num_samples == len(positions)
        assert {kind.id: count for kind, count in rows[name].counts.items()} == {k: counts[k] for k in range(1, 9)}
        assert rows[name].multi_label_accuracy == pytest.approx(
            aggregates.mean_over_target_classes(every, slow, positions, aggregates.MULTI_LABEL_CORRECT), abs=1e-12
        )
        gains = aggregates.gain_if_fixed_mla(every, slow, None, members)
        assert {kind.id: gain for kind, gain in rows[name].gain_if_fixed_multi_label.items()} == pytest.approx(
            {k: (gain or 0) * 5 / 100 for k, gain in gains.items()}, abs=1e-12
        )
        assert not rows[name].gain_if_fixed_top1


def test_classes_agree_with_the_oracle(
    bundle: Bundle,
    predictions: Predictions,
    space: label_space.Space,
    samples: dict[str, Sample],
    slow_verdicts: dict[str, Verdict],
) -> None:
    judged = JudgedAnalysis(cast(Analysis, None), bundle, predictions, compute_verdicts(bundle, predictions))
    expected = Counter(
        (sample.e, slow_verdicts[name].error_type) for name, sample in samples.items() if not sample.problematic
    )

    rows = compute_breakdown(judged, superclasses=False)

    assert [row.name for row in rows] == space.names
    actual = {(row.class_index, kind.id): count for row in rows for kind, count in row.counts.items() if count}
    assert actual == dict(expected)


def test_half_of_the_predictions_have_the_verdicts_of_a_part(
    bundle: Bundle, predictions: Predictions, samples: dict[str, Sample], slow_verdicts: dict[str, Verdict]
) -> None:
    top1 = predictions.top1.copy()
    top1[::2] = -1

    partial = compute_summary(bundle, replace(predictions, top1=top1))

    remaining = [name for row, name in enumerate(samples) if row % 2]
    chosen = [samples[name] for name in remaining]
    expected = aggregates.aggregate(chosen, top1[1::2].tolist(), [slow_verdicts[name] for name in remaining], None)
    assert partial.groups["all"].num_samples == expected.num_samples
    assert {kind.id: count for kind, count in partial.groups["all"].counts.items()} == expected.counts
    assert partial.num_rejected_targets == sum(sample.is_rejected for sample in chosen)
