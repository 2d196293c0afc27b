"""Bundles of unusual label spaces, from their files to verdicts, compared with the oracle."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given, settings
from label_space_strategy import Case, cases, write_case, write_csv
from oracle import aggregates, label_space
from oracle.verdicts import byte

from service.analyses.judge import compute_summary
from service.bootstrap.build import Inputs, build_evidence, verify_evidence
from service.domain import ErrorType, Predictions, class_relations
from service.evidence import layout
from service.evidence.bundle import Bundle, open_bundle

pytestmark = pytest.mark.slow

ON_DEMAND = {"table": False, "on demand": True}


@contextmanager
def without_tables(active: bool) -> Iterator[None]:
    """Compute verdicts on demand, and look relations up in sorted pairs, as with many classes."""
    with pytest.MonkeyPatch.context() as patch:
        if active:
            patch.setattr(layout, "MAX_TABLE_CELLS", 0)
            patch.setattr(class_relations, "DENSE_CLASSES", 0)
        yield


def build_case(case: Case, folder: Path) -> Bundle:
    files = write_case(case, folder)
    inputs = Inputs(
        classes=files.classes,
        overlaps=files.overlaps,
        labels=files.labels,
        cooccurrence=files.cooccurrence,
        min_cooccurrence=case.min_cooccurrence,
    )
    return build_evidence("odd", inputs, folder / "bundle")


class Expected:
    """The space, the samples, and the verdicts of a case, by the oracle."""

    def __init__(self, case: Case, folder: Path) -> None:
        files = write_case(case, folder)
        self.space = label_space.read_space(files.classes, files.overlaps)
        self.samples = label_space.read_samples(files.labels, self.space)
        other = None if files.cooccurrence is None else label_space.read_samples(files.cooccurrence, self.space)
        self.pairs = label_space.cooccurrence_pairs(self.samples, self.space, other, case.min_cooccurrence)
        self.facts = label_space.facts(self.space, self.pairs)

    def verdicts(self, predicted: Mapping[str, int]) -> dict[str, int]:
        judged = label_space.judge_all(self.samples, predicted, self.facts)
        return {name: byte(verdict) for name, verdict in judged.items()}


def verdicts_of(bundle: Bundle, predicted: Mapping[str, int]) -> dict[str, int]:
    top1 = np.array([predicted[name] for name in bundle.judged_names], dtype=np.int16)
    return dict(zip(bundle.judged_names, bundle.judge(top1).tolist(), strict=True))


@pytest.mark.parametrize("on_demand", ON_DEMAND.values(), ids=ON_DEMAND)
@max_examples(60)
@given(case=cases())
def test_verdicts_of_any_label_space_agree_with_the_oracle(on_demand: bool, case: Case) -> None:
    with tempfile.TemporaryDirectory() as name, without_tables(on_demand):
        folder = Path(name)
        expected, bundle = Expected(case, folder), build_case(case, folder)
        assert ("verdicts" in bundle.arrays) != on_demand
        assert {*bundle.judged_names} == {*expected.samples}
        assert (expected.pairs is None) == (ErrorType.SPURIOUS_CORRELATION in bundle.manifest.abstained)
        for index in range(case.num_classes):
            same = dict.fromkeys(expected.samples, index)
            assert verdicts_of(bundle, same) == expected.verdicts(same)
        predicted = dict(zip(expected.samples, case.predicted, strict=True))
        for row, file_name in enumerate(bundle.judged_names):
            single = bundle.verdict(row, predicted[file_name])
            assert single.tolist() == [expected.verdicts(predicted)[file_name]]


@max_examples(60)
@given(case=cases())
def test_summaries_of_any_label_space_agree_with_the_oracle(case: Case) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected, bundle = Expected(case, folder), build_case(case, folder)
        samples = [expected.samples[image] for image in bundle.image_names]
        predicted = dict(zip(expected.samples, case.predicted, strict=True))
        top1 = [predicted[image] for image in bundle.image_names]
        slow = label_space.judge_all(expected.samples, predicted, expected.facts)
        verdicts = [slow[image] for image in bundle.image_names]

        summary = compute_summary(bundle, Predictions(np.array(top1, dtype=np.int16)))

        assert {*summary.groups} == {"all", *expected.space.groups}
        assert summary.num_rejected_targets == sum(sample.is_rejected for sample in samples)
        for group, actual in summary.groups.items():
            members = None if group == "all" else expected.space.groups[group]
            wanted = aggregates.aggregate(samples, top1, verdicts, members)
            assert {kind.id: count for kind, count in actual.counts.items()} == wanted.counts
            assert actual.top1_accuracy == pytest.approx(wanted.top1_accuracy, abs=1e-12)
            assert actual.accuracy_against_labels == pytest.approx(wanted.accuracy_against_labels, abs=1e-12)
            assert actual.image_multi_label_accuracy == pytest.approx(wanted.image_level_mla, abs=1e-12)
            assert actual.multi_label_accuracy == pytest.approx(wanted.mla, abs=1e-12)


@max_examples(60)
@given(case=cases())
def test_a_stored_label_space_is_the_one_of_the_files(case: Case) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = Expected(case, folder)
        build_case(case, folder)

        bundle = open_bundle(folder / "bundle")

        space, superclasses = bundle.label_space, bundle.label_space.superclasses
        assert [*space.ids] == expected.space.ids
        assert [*space.names] == expected.space.names
        assert [[*synonyms] for synonyms in space.synonyms] == expected.space.synonyms
        for index in range(case.num_classes):
            assert {*superclasses.names_of(index)} == {
                name for name, members in expected.space.superclasses.items() if index in members
            }
        assert {
            group: {*np.flatnonzero(members).tolist()}
            for group, members in zip(space.groups, space.group_members, strict=True)
        } == expected.space.groups
        assert {(first, second) for first, seconds in expected.space.overlaps.items() for second in seconds} == {
            (first, second) for first, second in space.overlaps.as_array().tolist()
        }
        assert verify_evidence(bundle.path) == []


def test_the_strategy_reaches_every_rule_that_has_evidence() -> None:
    """Without this, the properties could hold because no case has, for example, an overlap."""
    reached: set[int] = set()

    @settings(max_examples=300, derandomize=True)
    @given(case=cases())
    def collect(case: Case) -> None:
        with tempfile.TemporaryDirectory() as name:
            expected = Expected(case, Path(name))
            predicted = dict(zip(expected.samples, case.predicted, strict=True))
            judged = label_space.judge_all(expected.samples, predicted, expected.facts).values()
            reached.update(verdict.error_type for verdict in judged)

    collect()

    assert reached == {1, 2, 3, 4, 5, 6, 8}  # 5: problematic images, similar to the target


def test_two_classes_without_superclasses_share_none(tmp_path: Path) -> None:
    case = Case(
        classes=[{"name": "defect"}, {"name": "no defect"}],
        overlaps=[],
        labels=[
            {"file_name": "1.png", "labels": "defect"},
            {"file_name": "2.png", "labels": "no defect"},
            {"file_name": "3.png", "labels": "no defect"},
        ],
        other_labels=[],
        min_cooccurrence=2,
        predicted=[0, 0, 1],
    )

    bundle = build_case(case, tmp_path)

    predicted = dict(zip(["1.png", "2.png", "3.png"], case.predicted, strict=True))
    failure = ErrorType.MODEL_FAILURE.id  # each class is its own superclass
    assert verdicts_of(bundle, predicted) == {"1.png": 1, "2.png": failure, "3.png": 1}
    summary = compute_summary(bundle, Predictions(np.array([0, 0, 1], dtype=np.int16)))
    assert [*summary.groups] == ["all"]
    assert summary.groups["all"].multi_label_accuracy == pytest.approx((1 + 1 / 2) / 2)


def test_a_class_in_several_superclasses(tmp_path: Path) -> None:
    case = Case(
        classes=[
            {"name": "whale", "superclasses": "mammals;sea animals"},
            {"name": "dog", "superclasses": "mammals"},
            {"name": "shark", "superclasses": "sea animals"},
        ],
        overlaps=[],
        labels=[{"file_name": name, "labels": name} for name in ("whale", "dog", "shark")],
        other_labels=[],
        min_cooccurrence=2,
        predicted=[],
    )

    bundle = build_case(case, tmp_path)

    fine_grained, failure = ErrorType.FINE_GRAINED.id, ErrorType.MODEL_FAILURE.id
    predicted = {"whale": 1, "dog": 2, "shark": 0}
    # a dog and a shark share no superclass, although both share one with a whale
    assert verdicts_of(bundle, predicted) == {"whale": fine_grained, "dog": failure, "shark": fine_grained}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The largest label space, and labels of so many images that a verdict table would exceed its limit."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(11)
    count = 32_767
    classes = [
        {
            "id": f"sku-{index}",
            "name": f"product {index % 30_000}",
            "superclasses": f"line {index // 8};color {index % 997}" if index % 5 else "",
            "groups": ("indoor", "outdoor", "")[index % 3],
        }
        for index in range(count)
    ]
    write_csv(folder / "classes.csv", classes)
    write_csv(
        folder / "overlaps.csv",
        [{"class": f"sku-{index}", "also_correct": f"sku-{count - 1 - index}"} for index in range(0, 3000, 15)],
    )
    labels = []
    for number, first in enumerate(rng.integers(0, count, 8_200).tolist()):
        pair = (first,)
        if number % 4 == 0:
            pair = (number % 50, 20_000 + number % 50)  # pairs that occur several times
        elif number % 4 == 1:
            pair = (number * 15 % 3000,)  # a class with an overlap
        elif number % 4 == 2:
            pair = (number % 50,)  # a class of a pair
        target = int(rng.integers(0, count)) if number % 9 == 0 else pair[0]
        labels.append(
            {
                "file_name": f"{number:05}.jpg",
                "target": f"sku-{target}",
                "labels": " ".join(f"sku-{label}" for label in pair),
                "problematic": "dark" if number % 40 == 1 else "",
            }
        )
    write_csv(folder / "labels.csv", labels)
    return folder


def test_the_largest_label_space_agrees_with_the_oracle_on_a_sample(large: Path, tmp_path: Path) -> None:
    classes, overlaps, labels = (large / name for name in ("classes.csv", "overlaps.csv", "labels.csv"))
    inputs = Inputs(classes=classes, overlaps=overlaps, labels=labels)
    bundle = build_evidence("largest", inputs, tmp_path / "bundle")
    space = label_space.read_space(classes, overlaps)
    samples = read(labels, space)
    pairs = label_space.cooccurrence_pairs(samples, space)
    evidence = label_space.facts(space, pairs)
    rng = np.random.default_rng(12)
    top1 = predictions_near_labels(bundle, rng)

    verdicts = bundle.judge(top1)

    assert bundle.label_space.num_classes == 32_767 and "verdicts" not in bundle.arrays
    assert pairs
    rows = rng.choice(len(top1), 600, replace=False).tolist()
    chosen = {bundle.judged_names[row]: samples[bundle.judged_names[row]] for row in rows}
    predicted = {bundle.judged_names[row]: int(top1[row]) for row in rows}
    expected = label_space.judge_all(chosen, predicted, evidence)
    assert {bundle.judged_names[row]: int(verdicts[row]) for row in rows} == {
        name: byte(verdict) for name, verdict in expected.items()
    }
    assert {verdict.error_type for verdict in expected.values()} >= {1, 2, 3, 4, 6, 8}


def read(labels: Path, space: label_space.Space) -> dict[str, label_space.Sample]:
    """Read labels that are IDs; the oracle would search all names for each of them."""
    class_of = {id_: index for index, id_ in enumerate(space.ids)}
    samples = {}
    for row in label_space.read_rows(labels):
        indices = [class_of[label] for label in row["labels"].split()]
        samples[row["file_name"]] = label_space.Sample(
            class_of[row["target"]], frozenset(indices), bool(row["problematic"]), False, indices[0]
        )
    return samples


def predictions_near_labels(bundle: Bundle, rng: np.random.Generator) -> np.ndarray:
    """Return predictions of which many have a relation with the labels; otherwise nearly all were model failures."""
    count, targets = bundle.label_space.num_classes, bundle.evidence.effective_targets
    labels = bundle.evidence.labels
    last = labels.classes[labels.offsets[1:] - 1]
    options = np.stack(
        [
            bundle.evidence.targets,
            last,
            np.minimum(targets // 8 * 8 + rng.integers(0, 8, len(targets)), count - 1),
            count - 1 - targets,
            20_000 + targets % 50,
            rng.integers(0, count, len(targets)),
        ]
    )
    return options[rng.integers(0, len(options), len(targets)), np.arange(len(targets))].astype(np.int16)
