"""Reading a bundle: arrays round-trip, and damaged bundles are rejected with the name of the file."""

import json
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from errata.errors import EvidenceDamaged, ImageNotFound, InvalidEvidence
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from unit.evidence.synthetic import missing, synthetic_inputs

from service.bootstrap.build import verify_evidence
from service.domain import ALL, ErrorType, RowOrder
from service.evidence import bundle_arrays
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.layout import WITHOUT_DIGEST
from service.evidence.manifest import read_manifest
from service.storage import sha256_of
from service.taxonomy.imagenet_1k import imagenet_1k

REQUIRED = (
    *("names", "all_targets", "rows", "label_offsets", "label_classes", "label_sources"),
    *("problematic", "groups", "superclass_members", "verdicts"),
)
PAIRS = ("pair_classes", "pair_counts", "pair_examples")
CLIP = ("neighbors", "image_embeddings", "text_embeddings", "oov")
OPTIONAL = (*PAIRS, "non_prototypical", *CLIP, "label_preferred", "imagenet_m")
ARRAYS = (*REQUIRED, *OPTIONAL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(synthetic_inputs(), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    return open_bundle(folder)


def rewrite(folder: Path, name: str, array: np.ndarray) -> None:
    """Replace an array of a bundle, and its size in the manifest."""
    np.save(folder / f"{name}.npy", array)
    change_manifest(
        folder, lambda raw: raw["files"][f"{name}.npy"].update(bytes=(folder / f"{name}.npy").stat().st_size)
    )


def change_manifest(folder: Path, change: Callable[[dict], object]) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    change(raw)
    (folder / "manifest.json").write_text(json.dumps(raw))


# valid bundles


def test_arrays_round_trip(bundle: Bundle) -> None:
    facts, evidence = synthetic_inputs(), bundle.evidence

    assert bundle.dataset == "mine"
    assert bundle.manifest.superclasses == ("a", "b")
    assert bundle.manifest.abstained == ()
    assert np.array_equal(bundle.arrays["names"], facts.labels.names)
    assert np.array_equal(bundle.all_targets, facts.labels.all_targets)
    assert np.array_equal(bundle.rows, facts.labels.rows)
    assert evidence.targets.tolist() == [1, 3, 356, 504, 0]
    assert [evidence.labels.of(row).tolist() for row in range(5)] == [[1, 20], [3], [356, 357], [], [0, 999]]
    assert np.array_equal(evidence.labels.sources, facts.labels.labels.sources)
    assert np.array_equal(evidence.problematic, facts.labels.problematic)
    assert np.array_equal(evidence.non_prototypical, facts.non_prototypical)
    assert np.array_equal(evidence.oov, facts.clip.oov)
    assert np.array_equal(bundle.arrays["neighbors"], facts.clip.neighbors)
    assert np.array_equal(bundle.arrays["image_embeddings"], facts.clip.images)
    assert np.array_equal(bundle.arrays["text_embeddings"], facts.clip.texts)
    assert np.array_equal(bundle.imagenet_m, facts.imagenet_m)
    assert bundle.label_space.name == "imagenet-1k"
    assert evidence.overlap is imagenet_1k().overlaps
    for name in ("classes", "counts", "examples"):
        assert np.array_equal(getattr(bundle.pairs, name), getattr(facts.pairs, name))


def test_relations_are_derived_from_the_arrays(bundle: Bundle) -> None:
    evidence, classes = bundle.evidence, np.arange(1000)
    same = np.argwhere(np.triu(evidence.superclasses.share(classes[:, None], classes[None]), 1))

    assert evidence.cooccurrence is not None
    assert same.tolist() == [[1, 2], [1, 3], [2, 3], [3, 900]]
    assert evidence.cooccurrence.as_array().tolist() == [[1, 20], [20, 1]]
    # (2, 3) share a superclass; (5, 999) is seen once


def test_manifest_describes_the_bundle(bundle: Bundle) -> None:
    assert bundle.manifest.counts == {
        "images": 7,
        "judged": 5,
        "problematic": 1,
        "rejected_targets": 0,
        "classes": 1000,
        "superclasses": 2,
        "co_occurrence_pairs": 1,
    }
    assert bundle.manifest.sources == synthetic_inputs().sources
    assert sorted(bundle.manifest.files) == sorted(f"{name}.npy" for name in ARRAYS)


@pytest.mark.parametrize(
    ("part", "arrays", "error_type"),
    [
        ("clip", {*CLIP, "label_preferred"}, ErrorType.FINE_GRAINED_OOV),
        ("pairs", {*PAIRS}, ErrorType.SPURIOUS_CORRELATION),
        ("non_prototypical", {"non_prototypical"}, ErrorType.NON_PROTOTYPICAL),
    ],
)
def test_missing_part_makes_its_rule_abstain(
    tmp_path: Path, part: str, arrays: set[str], error_type: ErrorType
) -> None:
    write_bundle(missing(part), tmp_path / "bundle")

    bundle = open_bundle(tmp_path / "bundle")

    assert bundle.manifest.abstained == (error_type,)
    assert set(ARRAYS) - set(bundle.arrays) == arrays
    assert error_type not in np.unique(bundle.verdicts[~bundle.evidence.problematic] & 0x0F)


def test_label_preferences_are_looked_up_by_image_and_class(bundle: Bundle) -> None:
    rows, predicted = np.array([0, 0, 0, 4, 4]), np.array([0, 15, 16, 40, 999], dtype=np.int16)

    preferred = bundle.labels_preferred(rows, predicted)

    assert preferred is not None
    bits = np.unpackbits(synthetic_inputs().clip.label_preferred, axis=1).astype(bool)
    assert preferred.tolist() == bits[rows, predicted].tolist() == [True, True, False, True, False]


def test_bundle_of_an_earlier_version_has_no_label_preferences_and_the_same_digest(folder: Path) -> None:
    digest = open_bundle(folder).digest
    (folder / "label_preferred.npy").unlink()
    change_manifest(folder, lambda raw: raw["files"].pop("label_preferred.npy"))

    bundle = open_bundle(folder)

    assert bundle.digest == digest
    assert verify_evidence(folder) == []
    assert bundle.labels_preferred(np.array([0]), np.array([0], dtype=np.int16)) is None


def test_imagenet_m_is_optional(tmp_path: Path) -> None:
    write_bundle(missing("imagenet_m"), tmp_path / "bundle")

    bundle = open_bundle(tmp_path / "bundle")

    assert bundle.imagenet_m is None
    assert bundle.manifest.abstained == ()
    assert set(ARRAYS) - set(bundle.arrays) == {"imagenet_m"}


def test_array_is_read_only(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="read-only"):
        bundle.verdicts[0, 0] = 1


def test_image_is_found_by_its_name(bundle: Bundle) -> None:
    assert bundle.judged_names == [f"image_{number}.jpg" for number in (0, 2, 3, 4, 6)]
    assert bundle.row("image_4.jpg") == 3


@pytest.mark.parametrize("name", ["image_1.jpg", "image_7.jpg", "", "IMAGE_0.jpg"])
def test_unlabeled_or_unknown_image_is_not_found(bundle: Bundle, name: str) -> None:
    with pytest.raises(ImageNotFound) as error:
        bundle.row(name)

    assert ("has no labels" in error.value.message) == (name == "image_1.jpg"), "which lies in the data set"


@pytest.mark.parametrize("name", ["val/image_4.jpg", r"C:\val\image_4.JPEG", "image_4"])
def test_the_error_for_an_unknown_image_has_similar_names(bundle: Bundle, name: str) -> None:
    with pytest.raises(ImageNotFound, match=r"Similar names: 'image_4\.jpg'\."):
        bundle.row(name)


def test_groups_are_those_of_the_labels(bundle: Bundle) -> None:
    labels = [{1, 20}, {3}, {356, 357}, set(), {0, 999}]
    for group, classes in zip(("organism", "artifact", "other"), imagenet_1k().group_members, strict=True):
        assert bundle.group_mask(group).tolist() == [
            any(classes[label] for label in image_labels) for image_labels in labels
        ]
    assert bundle.group_mask(ALL).tolist() == [True] * 5


def test_superclass_is_found_by_its_id(bundle: Bundle) -> None:
    assert bundle.label_space.superclasses.mask("b").nonzero()[0].tolist() == [3, 900]
    assert bundle.label_space.superclasses.mask("c") is None


def test_positions_follow_the_row_order(imagenet_real: Bundle) -> None:
    # spec: class indices are in the order of the sorted WordNet ids, so `wnid/file` sorts by class and then by file
    names, targets = imagenet_real.arrays["names"].tolist(), imagenet_real.all_targets.tolist()
    by_path = sorted(range(len(names)), key=lambda image: (targets[image], names[image]))

    assert imagenet_real.positions(RowOrder.PATH).tolist() == by_path
    assert imagenet_real.positions(RowOrder.FILE_NAME).tolist() == sorted(range(len(names)), key=names.__getitem__)


# incomplete and invalid bundles


@pytest.mark.parametrize("name", ARRAYS)
def test_truncated_array_is_rejected_by_name(folder: Path, name: str) -> None:
    file = folder / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(InvalidEvidence, match=f"{name}.npy"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ARRAYS)
def test_missing_array_file_is_rejected_by_name(folder: Path, name: str) -> None:
    (folder / f"{name}.npy").unlink()

    with pytest.raises(InvalidEvidence, match=f"{name}.npy"):
        open_bundle(folder)


@pytest.mark.parametrize("name", REQUIRED)
def test_array_missing_in_the_manifest_is_rejected_by_name(folder: Path, name: str) -> None:
    change_manifest(folder, lambda raw: raw["files"].pop(f"{name}.npy"))

    with pytest.raises(InvalidEvidence, match=name):
        open_bundle(folder)


@pytest.mark.parametrize("name", [*PAIRS, *CLIP])
def test_incomplete_part_is_rejected(folder: Path, name: str) -> None:
    change_manifest(folder, lambda raw: raw["files"].pop(f"{name}.npy"))

    with pytest.raises(InvalidEvidence):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all_targets", 1000),
        ("all_targets", -1),
        ("rows", 7),
        ("rows", -1),
        ("label_classes", 1000),
        ("pair_classes", -1),
        ("neighbors", 1000),
        ("label_offsets", 9),
    ],
)
def test_index_out_of_range_is_rejected_by_name(folder: Path, name: str, value: int) -> None:
    array = np.load(folder / f"{name}.npy")
    array.reshape(-1)[1] = value
    np.save(folder / f"{name}.npy", array)

    with pytest.raises(InvalidEvidence, match=name):
        open_bundle(folder)


@pytest.mark.parametrize("name", ARRAYS)
def test_single_value_instead_of_an_array_is_rejected_by_name(folder: Path, name: str) -> None:
    rewrite(folder, name, np.load(folder / f"{name}.npy").reshape(-1)[0])

    with pytest.raises(InvalidEvidence, match=rf"{name}\.npy: expected (an array, got a single value|shape)"):
        open_bundle(folder)


@pytest.mark.parametrize("count", [-1, 1 << 31, 10**30])
def test_count_that_no_response_can_contain_is_rejected(folder: Path, count: int) -> None:
    change_manifest(folder, lambda raw: raw["counts"].update(rejected_targets=count))

    with pytest.raises(InvalidEvidence, match="invalid counts"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ARRAYS)
def test_array_of_another_shape_is_rejected(folder: Path, name: str) -> None:
    whole = np.load(folder / f"{name}.npy")
    rewrite(folder, name, whole[:, :-1] if name == "text_embeddings" else whole[:-1])  # there are as many as there are

    with pytest.raises(InvalidEvidence, match=r"\.npy: expected shape"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ARRAYS)
def test_array_of_another_type_is_rejected_by_name(folder: Path, name: str) -> None:
    array = np.load(folder / f"{name}.npy")
    rewrite(folder, name, np.zeros(array.shape, dtype=np.float64))

    with pytest.raises(InvalidEvidence, match=f"{name}.npy"):
        open_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x80\x04N.", b"\x93NUMPY\x01\x00"])
def test_file_without_an_array_is_rejected_by_name(folder: Path, content: bytes) -> None:
    (folder / "rows.npy").write_bytes(content)
    change_manifest(folder, lambda raw: raw["files"]["rows.npy"].update(bytes=len(content)))

    with pytest.raises(InvalidEvidence, match=r"rows\.npy"):
        open_bundle(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"schema": 1}', '{"schema": 1, "files": {}}'])
def test_invalid_manifest_is_rejected_by_name(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)

    with pytest.raises(InvalidEvidence, match="manifest"):
        open_bundle(folder)


@pytest.mark.parametrize("schema", [0, 3, 999, "1", None])
def test_another_schema_is_rejected(folder: Path, schema: object) -> None:
    change_manifest(folder, lambda raw: raw.update(schema=schema))

    with pytest.raises(InvalidEvidence, match="schema") as error_info:
        open_bundle(folder)

    assert "manifest.json" in error_info.value.message
    assert error_info.value.violations[0].field == "schema"


@pytest.mark.parametrize("key", ["schema", "dataset", "digest", "rules_version", "superclasses", "abstained", "counts",
                                 "sources", "files"])  # fmt: skip
def test_manifest_without_one_of_its_parts_is_rejected_by_name(folder: Path, key: str) -> None:
    change_manifest(folder, lambda raw: raw.pop(key))

    with pytest.raises(InvalidEvidence, match=r"manifest\.json"):
        open_bundle(folder)


def test_manifest_of_an_earlier_version_has_no_encoder(folder: Path) -> None:
    change_manifest(folder, lambda raw: raw.pop("encoder"))

    assert open_bundle(folder).manifest.encoder is None


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": {"architecture": "only"}},
        {"encoder": "ViT-L-14-336"},
        {"files": []},
        {"files": None},
        {"files": {"rows.npy": None}},
        {"files": {"rows.npy": {}}},
        {"files": {"../rows.npy": {"bytes": 1, "sha256": ""}}},
        {"files": {"rows.pkl": {"bytes": 1, "sha256": ""}}},
        {"superclasses": None},
        {"superclasses": ["a", "b", "c"]},
        {"abstained": ["NO_SUCH_TYPE"]},
        {"sources": [{"name": "only"}]},
        {"rules_version": "one"},
    ],
    ids=json.dumps,
)
def test_manifest_of_another_form_is_rejected(folder: Path, change: dict) -> None:
    change_manifest(folder, lambda raw: raw.update(change))

    with pytest.raises(InvalidEvidence):
        open_bundle(folder)


def test_folder_without_a_bundle_is_rejected_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "not there"):
        with pytest.raises(InvalidEvidence, match=r"manifest\.json"):
            read_manifest(path)


# content


def test_intact_bundle_verifies(folder: Path) -> None:
    assert verify_evidence(folder) == []


@pytest.mark.parametrize("name", ARRAYS)
def test_verify_finds_a_flipped_byte(folder: Path, name: str) -> None:
    file = folder / f"{name}.npy"
    content = bytearray(file.read_bytes())
    place, bit = {"rows": (-4, 2), "label_offsets": (-8, 2), "pair_examples": (-4, 2)}.get(
        name, (-1, 1)
    )  # indices that stay inside
    content[place] ^= bit
    file.write_bytes(content)

    wrong = verify_evidence(folder)

    assert f"{name}.npy" in wrong[0]
    # derived arrays follow from the rest and are not part of the digest
    assert len(wrong) == (1 if name in WITHOUT_DIGEST else 2)


def test_verify_finds_arrays_changed_together_with_the_manifest(folder: Path) -> None:
    change_manifest(folder, lambda raw: raw.update(dataset="yours"))

    assert any("digest" in difference for difference in verify_evidence(folder))


def test_verify_finds_verdicts_that_are_not_those_of_the_rules(folder: Path) -> None:
    file = folder / "verdicts.npy"
    table = np.load(file)
    severe = table == ErrorType.MODEL_FAILURE.id
    assert severe.any()
    np.save(file, np.where(severe, ErrorType.CLASS_OVERLAP.id, table).astype(table.dtype))
    change_manifest(folder, lambda raw: raw["files"][file.name].update(sha256=sha256_of(file)))

    assert verify_evidence(folder) == ["verdicts.npy: the verdicts differ from those of the rules"]


@pytest.mark.parametrize("version", [0, "1", None, 2**40])
def test_rules_of_another_version_are_rejected(folder: Path, version: object) -> None:
    """Verdicts of other rules would contradict the explanations of these rules."""
    change_manifest(folder, lambda raw: raw.update(rules_version=version))

    with pytest.raises(InvalidEvidence, match="Build the bundle again"):
        open_bundle(folder)


@pytest.mark.parametrize("key", ["schema", "rules_version"])
def test_message_about_a_long_version_is_short(folder: Path, key: str) -> None:
    change_manifest(folder, lambda raw: raw.update({key: "9" * 10_000}))

    with pytest.raises(InvalidEvidence, match=f"'{'9' * 79} .*Build the bundle again") as error:
        open_bundle(folder)

    assert len(error.value.message) < 300 + len(str(folder))


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that a test can damage, if it restores the bundle afterward."""
    folder = tmp_path_factory.mktemp("worn") / "bundle"
    write_bundle(synthetic_inputs(), folder)
    return folder


@max_examples(250)
@given(st.sampled_from(ARRAYS), st.integers(0, 2**31), st.integers(1, 255))
def test_altered_byte_is_rejected_or_found(worn: Path, name: str, place: int, bits: int) -> None:
    file = worn / f"{name}.npy"
    sound = file.read_bytes()
    damaged = bytearray(sound)
    damaged[place % min(len(sound), 200)] ^= bits  # the header and the first values
    try:
        file.write_bytes(damaged)
        try:
            wrong = verify_evidence(worn)
        except InvalidEvidence:
            wrong = [name]
    finally:
        file.write_bytes(sound)

    assert any(name in item for item in wrong)


@max_examples(250)
@given(st.integers(0, 2**31), st.integers(1, 255))
def test_manifest_with_an_altered_byte_is_accepted_or_rejected(worn: Path, place: int, bits: int) -> None:
    file = worn / "manifest.json"
    sound = file.read_bytes()
    damaged = bytearray(sound)
    damaged[place % len(sound)] ^= bits
    file.write_bytes(damaged)
    try:
        with suppress(InvalidEvidence):  # and no other error
            verify_evidence(worn)
    finally:
        file.write_bytes(sound)

    assert verify_evidence(worn) == []


def test_only_the_tables_that_were_used_last_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_arrays, "MAX_LOADED", 2)
    monkeypatch.setattr(bundle_arrays, "_with_loaded", weakref.WeakValueDictionary())
    for name in "abc":
        write_bundle(synthetic_inputs(), tmp_path / name)
    bundles = [open_bundle(tmp_path / name) for name in "abc"]

    first, second, third = (bundle.arrays["verdicts"] for bundle in bundles)  # the last one releases the first one

    assert bundles[1].arrays["verdicts"] is second and bundles[2].arrays["verdicts"] is third
    again = bundles[0].arrays["verdicts"]  # releases the second one, which was used before the third one
    assert again is not first and (again == first).all()
    assert bundles[2].arrays["verdicts"] is third
    assert bundles[1].arrays["verdicts"] is not second


def test_a_released_table_whose_file_changed_in_place_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_arrays, "MAX_LOADED", 1)
    for name in "ab":
        write_bundle(synthetic_inputs(), tmp_path / name)
    first, second = (open_bundle(tmp_path / name) for name in "ab")
    table = first.arrays["verdicts"]
    assert len(second.arrays["verdicts"])
    with (tmp_path / "a" / "verdicts.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([table[-1, -1] ^ 1]))

    with pytest.raises(EvidenceDamaged, match=r"verdicts\.npy"):
        first.arrays["verdicts"]
