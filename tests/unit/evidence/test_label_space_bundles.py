"""Bundles with their own label space, and bundles without a verdict table."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errata.errors import InvalidEvidence, PermanentError
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from oracle.verdicts import Facts, Sample, byte, judge
from unit.evidence.small_label_space import IMAGES, OVERLAPS, ROWS, own_inputs, own_label_space
from unit.evidence.synthetic import missing, synthetic_inputs
from unit.evidence.test_label_space_json import REFUSED, fields

from service.analyses.explain import explain_prediction
from service.analyses.judge import compute_summary, compute_verdicts
from service.bootstrap.build import verify_evidence
from service.domain import ErrorType, LabelSpace, Predictions, Superclasses, class_relations, create_label_space
from service.evidence import layout
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.label_space_json import to_json


def own_bundle(folder: Path, label_space: LabelSpace | None = None) -> Bundle:
    write_bundle(own_inputs(label_space), folder)
    return open_bundle(folder)


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    change(raw)
    (folder / "manifest.json").write_text(json.dumps(raw))


def replace_label_space(folder: Path, content: bytes) -> None:
    """Replace the label space of a bundle, with its size and digest in the manifest."""
    (folder / "label_space.json").write_bytes(content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_manifest(folder, lambda raw: raw["files"].update({"label_space.json": facts}))


def test_label_space_is_part_of_the_bundle(tmp_path: Path) -> None:
    bundle = own_bundle(tmp_path / "bundle")

    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["schema"] == 2
    assert manifest["label_space"] == bundle.label_space.name == "mine"
    assert fields(bundle.label_space) == fields(own_label_space())
    assert bundle.manifest.counts["classes"] == 7
    assert bundle.manifest.superclasses == ("birds", "tall", "машины", "vessels")
    assert "superclass_members" not in bundle.arrays
    assert bundle.label_space.groups == ("animal", "machine")
    assert bundle.arrays["groups"].tolist() == [
        [any(group in ROWS[label]["groups"] for label in labels) for _, labels, _ in IMAGES]
        for group in ("animal", "machine")
    ]
    assert verify_evidence(tmp_path / "bundle") == []


def test_verdicts_agree_with_the_oracle(tmp_path: Path) -> None:
    bundle = own_bundle(tmp_path / "bundle")

    superclasses = [
        {index for index, row in enumerate(ROWS) if name in row["superclasses"]}
        for name in bundle.manifest.superclasses
    ]
    overlap = {target: {b for a, b in OVERLAPS if a == target} for target in range(len(ROWS))}
    # (1, 2) and (2, 6) occur twice, and share no superclass
    facts = Facts(overlap, superclasses, {(1, 2), (2, 6)}, True, None)
    for row, (target, labels, problematic) in enumerate(IMAGES):
        sample = Sample(target, frozenset(labels), problematic, row == 4, next(iter(labels), None))
        expected = [byte(judge(sample, row, predicted, facts)) for predicted in range(len(ROWS))]
        assert bundle.verdicts[row].tolist() == expected, row


def changed_rows(index: int, **values: Any) -> LabelSpace:
    return create_label_space("mine", [*ROWS[:index], ROWS[index] | values, *ROWS[index + 1 :]], np.array(OVERLAPS))


CHANGES: dict[str, Callable[[], LabelSpace]] = {
    "name of the label space": lambda: create_label_space("other", ROWS, np.array(OVERLAPS)),
    "ID": lambda: changed_rows(2, id="SKU-9"),
    "name": lambda: changed_rows(2, name="Crane"),
    "synonym": lambda: changed_rows(2, synonyms=["hoist"]),
    "superclass": lambda: changed_rows(6, superclasses=["tall"]),
    "name of a superclass": lambda: changed_rows(5, superclasses=["cups"]),
    "group": lambda: changed_rows(6, groups=["machine"]),
    "synset": lambda: changed_rows(1, synset="n02012850"),
    "overlap": lambda: create_label_space("mine", ROWS, np.array(OVERLAPS[1:])),
    "direction of an overlap": lambda: create_label_space("mine", ROWS, np.array([(5, 4), *OVERLAPS[1:]])),
    "another class": lambda: create_label_space("mine", [*ROWS, ROWS[6] | {"id": "8"}], np.array(OVERLAPS)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_part_of_the_label_space_changes_the_digest(tmp_path: Path, change: Callable[[], LabelSpace]) -> None:
    before = own_bundle(tmp_path / "before")

    after = own_bundle(tmp_path / "after", change())

    assert after.digest != before.digest
    assert verify_evidence(tmp_path / "after") == []


def test_minimum_of_co_occurrences_changes_the_digest_and_the_pairs(tmp_path: Path) -> None:
    digest = write_bundle(own_inputs(min_cooccurrence=3), tmp_path / "bundle")

    bundle = open_bundle(tmp_path / "bundle")

    assert digest != own_bundle(tmp_path / "other").digest
    assert bundle.manifest.min_cooccurrence == 3
    assert bundle.evidence.cooccurrence is None, "no pair occurs in three images"
    assert ErrorType.SPURIOUS_CORRELATION in bundle.manifest.abstained
    assert verify_evidence(tmp_path / "bundle") == []


def test_order_of_superclasses_and_groups_does_not_change_the_digest(tmp_path: Path) -> None:
    space = own_label_space()
    ids = ("nobody", *reversed(space.superclasses.ids))
    members = np.array([[name in space.superclasses.names_of(index) for index in range(7)] for name in ids])
    other = replace(
        space,
        superclasses=Superclasses.from_members(ids, members),
        groups=space.groups[::-1],
        group_members=space.group_members[::-1],
    )
    bundle = own_bundle(tmp_path / "bundle", other)
    again = own_bundle(tmp_path / "again", bundle.label_space)

    assert fields(bundle.label_space) == fields(space)
    assert again.digest == bundle.digest
    assert verify_evidence(tmp_path / "bundle") == []
    for group in ("animal", "machine"):
        members = bundle.arrays["groups"][bundle.label_space.groups.index(group)]
        assert members.tolist() == [any(group in ROWS[label]["groups"] for label in labels) for _, labels, _ in IMAGES]


# invalid label spaces


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_invalid_label_space_is_refused_with_its_file(tmp_path: Path, content: bytes) -> None:
    own_bundle(tmp_path / "bundle")
    replace_label_space(tmp_path / "bundle", content)

    with pytest.raises(InvalidEvidence, match=r"label_space\.json") as error:
        open_bundle(tmp_path / "bundle")

    assert error.value.violations[0].field == "label_space.json"
    assert len(error.value.message) < 600 + len(str(tmp_path))


def test_label_space_with_another_digest_is_refused(tmp_path: Path) -> None:
    own_bundle(tmp_path / "bundle")
    file = tmp_path / "bundle" / "label_space.json"
    file.write_bytes(file.read_bytes().replace(b"alone", b"alonf"))

    with pytest.raises(InvalidEvidence, match="SHA-256 differs"):
        open_bundle(tmp_path / "bundle")


def test_valid_label_space_of_another_bundle_is_found_by_verify(tmp_path: Path) -> None:
    own_bundle(tmp_path / "bundle")
    replace_label_space(tmp_path / "bundle", to_json(changed_rows(2, name="Crane")))

    assert verify_evidence(tmp_path / "bundle")[0].startswith("digest:")


def test_a_manifest_with_other_rules_that_abstain_is_found_by_verify(tmp_path: Path) -> None:
    own_bundle(tmp_path / "bundle")
    assert verify_evidence(tmp_path / "bundle") == []
    change_manifest(tmp_path / "bundle", lambda raw: raw.update(abstained=[]))

    (difference,) = verify_evidence(tmp_path / "bundle")
    assert difference.startswith("abstained: expected ['FINE_GRAINED_OOV'")


@pytest.mark.parametrize("change", [{"label_space": "theirs"}, {"superclasses": ["birds"]}], ids=str)
def test_manifest_that_differs_from_the_label_space_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    own_bundle(tmp_path / "bundle")
    change_manifest(tmp_path / "bundle", lambda raw: raw.update(change))

    with pytest.raises(InvalidEvidence, match="differ from the manifest"):
        open_bundle(tmp_path / "bundle")


def test_missing_label_space_is_refused(tmp_path: Path) -> None:
    own_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / "label_space.json").unlink()

    with pytest.raises(InvalidEvidence, match=r"label_space\.json"):
        open_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", ["label_space.json", "manifest.json"])
def test_pipe_instead_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    own_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / name).unlink()
    os.mkfifo(tmp_path / "bundle" / name)

    with pytest.raises(InvalidEvidence, match=name):
        open_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", ["label_space", "files"])
def test_bundle_without_its_label_space_is_not_taken_for_imagenet_1k(tmp_path: Path, name: str) -> None:
    own_bundle(tmp_path / "bundle")
    change_manifest(
        tmp_path / "bundle",
        lambda raw: raw["files"].pop("label_space.json") if name == "files" else raw.pop("label_space"),
    )

    with pytest.raises(InvalidEvidence):
        open_bundle(tmp_path / "bundle")


def test_prediction_that_is_no_class_is_an_error(tmp_path: Path) -> None:
    bundle = own_bundle(tmp_path / "bundle")
    predictions = Predictions(np.array([7, *[0] * 8], dtype=np.int16))

    with pytest.raises(PermanentError, match="class 7, but label space 'mine' has the classes 0 to 6"):
        compute_verdicts(bundle, predictions)


def test_manifest_of_an_earlier_version_means_imagenet_1k(tmp_path: Path) -> None:
    digest = write_bundle(synthetic_inputs(), tmp_path / "bundle")
    change_manifest(
        tmp_path / "bundle",
        lambda raw: (raw.pop("label_space"), raw.pop("min_cooccurrence"), raw["counts"].pop("classes")),
    )

    bundle = open_bundle(tmp_path / "bundle")

    assert (bundle.digest, bundle.label_space.name, bundle.manifest.min_cooccurrence) == (digest, "imagenet-1k", 2)
    assert verify_evidence(tmp_path / "bundle") == []


# bundles without a table


Pair = tuple[Bundle, Bundle]


INPUTS = {"imagenet-1k": lambda: missing("clip"), "with CLIP": synthetic_inputs, "own": own_inputs}


@pytest.fixture(scope="module", params=INPUTS.values(), ids=INPUTS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The same bundle with and without a verdict table."""
    folder, inputs = tmp_path_factory.mktemp("pair"), request.param()
    write_bundle(inputs, folder / "with")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MAX_TABLE_CELLS", 0)
        write_bundle(inputs, folder / "without")
        return open_bundle(folder / "with"), open_bundle(folder / "without")


def test_table_is_no_part_of_the_digest(pair: Pair) -> None:
    with_table, without_table = pair

    assert "verdicts" in with_table.arrays
    assert "verdicts" not in without_table.arrays
    assert with_table.digest == without_table.digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MAX_TABLE_CELLS", 0)
        assert verify_evidence(without_table.path) == []


def test_small_bundle_without_its_table_is_refused(pair: Pair) -> None:
    with pytest.raises(InvalidEvidence, match="verdicts"):
        open_bundle(pair[1].path)


@pytest.mark.parametrize(
    ("samples", "classes", "expected"),
    [(46_837, 1000, True), (131_072, 2048, True), (131_073, 2048, False), (10, 2049, False), (1_000_000, 100, True)],
)
def test_tables_of_many_cells_or_classes_are_not_written(samples: int, classes: int, expected: bool) -> None:
    assert layout.has_table(samples, classes) is expected


@pytest.mark.slow
@max_examples(40)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_verdicts_and_evidence_do_not_depend_on_the_table(pair: Pair, seed: int, is_dense: bool) -> None:
    with_table, without_table = pair
    num_images, num_classes = len(with_table.all_targets), with_table.label_space.num_classes
    top1 = np.random.default_rng(seed).integers(-1, num_classes, num_images).astype(np.int16)
    predictions = Predictions(top1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_relations, "DENSE_CLASSES", 2048 if is_dense else 0)

        verdicts = [compute_verdicts(bundle, predictions) for bundle in pair]

        assert verdicts[0].tolist() == verdicts[1].tolist()
        assert compute_summary(with_table, predictions) == compute_summary(without_table, predictions)
        names = {} if "oov" in with_table.arrays else with_table.row_of_name  # the embeddings of texts are no real ones
        for name, row in names.items():
            predicted = max(0, int(top1[with_table.rows[row]]))
            explained = [explain_prediction(bundle, name, predicted) for bundle in (with_table, without_table)]
            assert explained[0] == explained[1]


@pytest.mark.slow
def test_every_verdict_on_demand_equals_the_table(pair: Pair) -> None:
    with_table, without_table = pair

    for predicted in range(with_table.label_space.num_classes):
        top1 = np.full(len(with_table.rows), predicted, dtype=np.int16)
        assert without_table.judge(top1).tolist() == with_table.verdicts[:, predicted].tolist()
        assert without_table.verdict(0, predicted).tolist() == [with_table.verdicts[0, predicted]]
