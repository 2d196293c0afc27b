"""The authors' artefact folder: optional parts, invalid parts, and pickled arrays."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidEvidence
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st
from pickle_trap import Trap
from unit.evidence.official import wordnet_id, write_artefacts

from service.evidence.artefacts import read_artefacts

SAMPLES = [(f"{wordnet_id(target)}/{number}.JPEG", target) for number, target in enumerate([3, 0, 999, 134])]
NEIGHBORS = np.arange(200).reshape(4, 50)
PREDICATES = {"dogs": [["dog"]], "water birds": [["bird", "aquatic_bird"], ["seabird"]]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_artefacts(tmp_path / "artefacts", "imagenet", SAMPLES, NEIGHBORS, PREDICATES)


def refused(folder: Path, file: str) -> str:
    with pytest.raises(InvalidEvidence) as error_info:
        read_artefacts(folder, "imagenet")
    assert file in error_info.value.message
    return error_info.value.message


# optional parts


def test_every_part_is_read(folder: Path) -> None:
    artefacts = read_artefacts(folder, "imagenet")

    assert artefacts.superclasses is not None
    assert artefacts.superclasses.ids == ("dogs", "water birds")
    assert artefacts.samples is not None
    assert artefacts.samples.names == tuple(name for name, _ in SAMPLES)
    assert artefacts.samples.targets.tolist() == [3, 0, 999, 134]
    assert artefacts.neighbors is not None
    assert artefacts.neighbors.tolist() == NEIGHBORS[:, :10].tolist()  # only the first 10 count
    assert [source.name for source in artefacts.sources] == [
        "superclasses.json",
        "samples_info.npz",
        "valid_clip_knn.npz",
    ]


PARTS = {
    "superclasses.json": "superclasses",
    "imagenet/samples_info.npz": "samples",
    "imagenet/valid_clip_knn.npz": "neighbors",
    "labels_map.json": "",
    "imagenet_wnet_id_to_target.json": "",
}


@pytest.mark.parametrize("file", PARTS)
def test_missing_part_is_none(folder: Path, file: str) -> None:
    (folder / file).unlink()

    artefacts = read_artefacts(folder, "imagenet")

    for part in ("superclasses", "samples", "neighbors"):
        assert (getattr(artefacts, part) is None) == (part == PARTS[file])
    assert len(artefacts.sources) == (2 if PARTS[file] else 3)


def test_empty_folder_is_valid_and_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    artefacts = read_artefacts(tmp_path, "imagenet")

    assert (artefacts.superclasses, artefacts.samples, artefacts.neighbors, artefacts.sources) == (None, None, None, ())
    with pytest.raises(InvalidEvidence, match="not there"):
        read_artefacts(tmp_path / "not there", "imagenet")


def test_parts_of_other_data_sets_are_ignored(folder: Path) -> None:
    artefacts = read_artefacts(folder, "imagenet-a")

    assert (artefacts.samples, artefacts.neighbors) == (None, None)
    assert artefacts.superclasses is not None


def test_names_can_be_bytes(folder: Path) -> None:
    np.savez(
        folder / "imagenet" / "samples_info.npz",
        sample_files=np.array([name.encode() for name, _ in SAMPLES]),
        targets=np.array([target for _, target in SAMPLES]),
    )

    result = read_artefacts(folder, "imagenet").samples

    assert result is not None
    assert result.names == tuple(name for name, _ in SAMPLES)


# invalid parts


def swapped() -> dict[str, int]:
    ids = {wordnet_id(index): index for index in range(1000)}
    return ids | {wordnet_id(0): 1, wordnet_id(1): 0}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("imagenet_wnet_id_to_target.json", swapped()),
        ("imagenet_wnet_id_to_target.json", {wordnet_id(index): index for index in range(200)}),
        ("imagenet_wnet_id_to_target.json", {f"n{index:08d}": index for index in range(1000)}),
        ("imagenet_wnet_id_to_target.json", []),
        ("labels_map.json", {str(index): "name" for index in range(200)}),
        ("labels_map.json", {str(index): "name" for index in range(1001)}),
        ("labels_map.json", ["name"] * 1000),
    ],
    ids=lambda content: str(content)[:20],
)
def test_class_list_with_other_classes_is_rejected(folder: Path, file: str, content: object) -> None:
    (folder / file).write_text(json.dumps(content))

    refused(folder, file)


@pytest.mark.parametrize("file", ["labels_map.json", "imagenet_wnet_id_to_target.json", "superclasses.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1, 2", b'{"a": '])
def test_class_list_that_is_not_json_is_rejected_by_name(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)

    refused(folder, file)


def resave(folder: Path, file: str, **arrays: np.ndarray) -> None:
    np.savez(folder / "imagenet" / file, **arrays)


FILES = np.array([name for name, _ in SAMPLES])
TARGETS = np.array([target for _, target in SAMPLES])


@pytest.mark.parametrize(
    "arrays",
    [
        {"sample_files": FILES},
        {"targets": TARGETS},
        {"sample_files": FILES, "targets": TARGETS[:-1]},
        {"sample_files": FILES.reshape(2, 2), "targets": TARGETS.reshape(2, 2)},
        {"sample_files": FILES, "targets": TARGETS.astype(float)},
        {"sample_files": TARGETS, "targets": TARGETS},
        {"sample_files": FILES[0], "targets": TARGETS[0]},
        {"sample_files": np.array([b"\xff/a"] * 4), "targets": TARGETS},
    ],
    ids=range(8),
)
def test_samples_of_another_form_are_rejected(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    resave(folder, "samples_info.npz", **arrays)

    refused(folder, "samples_info.npz")


@pytest.mark.parametrize("target", [1, -1, 1000, 2**40 + 3])
def test_sample_with_a_wrong_target_is_rejected_by_name(folder: Path, target: int) -> None:
    resave(folder, "samples_info.npz", sample_files=FILES, targets=np.array([target, *TARGETS[1:]]))

    assert FILES[0] in refused(folder, "samples_info.npz")


@pytest.mark.parametrize("name", ["0.JPEG", "n00000000/0.JPEG", "/0.JPEG", ""])
def test_sample_outside_of_the_folders_of_the_classes_is_rejected(folder: Path, name: str) -> None:
    resave(folder, "samples_info.npz", sample_files=np.array([name, *FILES[1:]]), targets=TARGETS)

    refused(folder, "samples_info.npz")


def test_duplicate_sample_is_rejected(folder: Path) -> None:
    resave(
        folder, "samples_info.npz", sample_files=np.array([*FILES[:3], FILES[0]]), targets=np.array([*TARGETS[:3], 3])
    )

    refused(folder, "samples_info.npz")


@pytest.mark.parametrize("label", [-1, 1000, 65_536, 2**40])
def test_neighbor_with_an_invalid_class_is_rejected(folder: Path, label: int) -> None:
    neighbors = NEIGHBORS.copy()
    neighbors[2, 9] = label
    resave(folder, "valid_clip_knn.npz", topk_train_targets=neighbors)

    refused(folder, "valid_clip_knn.npz")


@pytest.mark.parametrize(
    "neighbors",
    [NEIGHBORS[:, :9], NEIGHBORS.astype(np.float32), NEIGHBORS[0], NEIGHBORS[:3], np.vstack([NEIGHBORS, NEIGHBORS])],
    ids=["too few", "no integers", "one row", "a row too few", "rows twice"],
)
def test_neighbors_of_another_form_are_rejected(folder: Path, neighbors: np.ndarray) -> None:
    resave(folder, "valid_clip_knn.npz", topk_train_targets=neighbors)

    refused(folder, "valid_clip_knn.npz")


@pytest.mark.parametrize(
    ("file", "names"),
    [("samples_info.npz", ("sample_files", "targets")), ("valid_clip_knn.npz", ("topk_train_targets",))],
)
def test_pickled_arrays_are_rejected_without_unpickling(
    folder: Path, tmp_path: Path, file: str, names: list[str]
) -> None:
    touched = tmp_path / "touched"
    pickled = np.array([Trap(touched)] * 4, dtype=object)
    np.savez(folder / "imagenet" / file, **dict.fromkeys(names, pickled))

    refused(folder, file)

    assert not touched.exists()
    with np.load(folder / "imagenet" / file, allow_pickle=True) as arrays:
        assert len(arrays[names[0]]) == 4
    assert touched.exists()  # the trap works


@pytest.mark.parametrize("file", ["samples_info.npz", "valid_clip_knn.npz"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", b"\x80\x04N."])
def test_file_that_is_no_archive_is_rejected_by_name(folder: Path, file: str, content: bytes) -> None:
    (folder / "imagenet" / file).write_bytes(content)

    refused(folder, file)


def test_array_that_is_no_archive_is_rejected_by_name(folder: Path) -> None:
    with (folder / "imagenet" / "valid_clip_knn.npz").open("wb") as file:
        np.save(file, NEIGHBORS)

    refused(folder, "valid_clip_knn.npz")


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed], ids=["plain", "compressed"])
def test_archive_with_altered_bytes_is_read_or_rejected(tmp_path: Path, compress: Callable[..., None]) -> None:
    folder = write_artefacts(tmp_path / "artefacts", "imagenet", SAMPLES)
    file = folder / "imagenet" / "valid_clip_knn.npz"
    compress(file, topk_train_targets=NEIGHBORS)
    sound = file.read_bytes()

    @max_examples(150)
    @given(st.integers(0, len(sound) - 1), st.integers(1, 255), st.booleans())
    def altered(place: int, bits: int, cut: bool) -> None:
        damaged = bytearray(sound)
        damaged[place] ^= bits
        file.write_bytes(damaged[:place] if cut else damaged)
        with suppress(InvalidEvidence):  # other errors fail the test
            read_artefacts(folder, "imagenet")

    altered()
