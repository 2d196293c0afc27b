"""Writing a bundle: the content of its digest, and builds that fail or are killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle.verdicts import OVERLAP, Sample, byte, judge
from oracle.verdicts import Facts as Known
from unit.evidence.encoders import Describing
from unit.evidence.synthetic import CHANGES, synthetic_inputs

from service.evidence.build import as_arrays, digest_of, sample_groups, write_bundle
from service.evidence.bundle import open_bundle
from service.evidence.inputs import BundleInputs, Source
from service.evidence.labels import pack_labels
from service.evidence.layout import WITHOUT_DIGEST
from service.evidence.repository import EvidenceRepository, fingerprint
from service.taxonomy.imagenet_1k import imagenet_1k

LABEL_SPACE = synthetic_inputs().label_space


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    first = write_bundle(synthetic_inputs(), tmp_path / "one")
    second = write_bundle(synthetic_inputs(), tmp_path / "far" / "away")

    assert first == second == manifest(tmp_path / "one")["digest"] == manifest(tmp_path / "far" / "away")["digest"]
    assert len(first) == 64 and set(first) <= set("0123456789abcdef")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_input_changes_the_digest(tmp_path: Path, change: Callable[[BundleInputs], BundleInputs]) -> None:
    before = write_bundle(synthetic_inputs(), tmp_path / "before")

    assert write_bundle(change(synthetic_inputs()), tmp_path / "after") != before


@pytest.mark.parametrize("name", sorted({*as_arrays(synthetic_inputs())} - WITHOUT_DIGEST))
def test_each_bit_of_an_array_changes_the_digest(name: str) -> None:
    arrays = as_arrays(synthetic_inputs())
    altered = arrays[name].copy()
    altered.view(np.uint8).reshape(-1)[-1] ^= 1

    assert digest_of("mine", LABEL_SPACE, arrays | {name: altered}) != digest_of("mine", LABEL_SPACE, arrays)


def test_type_and_shape_change_the_digest() -> None:
    arrays = {"x": np.arange(4, dtype=np.int32)}
    digests = {
        digest_of("mine", LABEL_SPACE, changed)
        for changed in (
            arrays,
            {"x": arrays["x"].view(np.uint32)},
            {"x": arrays["x"].reshape(2, 2)},
            {"y": arrays["x"]},
            {"x": arrays["x"][:2], "y": arrays["x"][2:]},
        )
    }

    assert len(digests) == 5


def test_memory_layout_does_not_change_the_digest() -> None:
    arrays = as_arrays(synthetic_inputs())
    columns_first = {name: np.asfortranarray(array) for name, array in reversed(arrays.items())}

    assert digest_of("mine", LABEL_SPACE, columns_first) == digest_of("mine", LABEL_SPACE, arrays)


def test_sources_do_not_change_the_digest(tmp_path: Path) -> None:
    other = replace(synthetic_inputs(), sources=(Source("another file", "elsewhere", "MIT"),))

    assert write_bundle(other, tmp_path / "a") == write_bundle(synthetic_inputs(), tmp_path / "b")
    assert manifest(tmp_path / "a")["sources"][0]["name"] == "another file"


def test_description_of_the_encoder_does_not_change_the_digest(tmp_path: Path) -> None:
    inputs = synthetic_inputs()
    assert inputs.clip is not None
    described = replace(inputs, clip=replace(inputs.clip, encoder=Describing.INFO))

    assert write_bundle(described, tmp_path / "a") == write_bundle(inputs, tmp_path / "b")
    assert manifest(tmp_path / "a")["encoder"]["activation"] == "gelu"
    assert manifest(tmp_path / "b")["encoder"] is None


def test_verdict_table_agrees_with_the_oracle(tmp_path: Path) -> None:
    facts = synthetic_inputs()
    write_bundle(facts, tmp_path / "bundle")

    table = open_bundle(tmp_path / "bundle").verdicts

    bits = np.unpackbits(facts.clip.oov, axis=1)
    known = Known(OVERLAP, [{1, 2, 3}, {3, 900}], {(1, 20)}, True, lambda row, predicted: bool(bits[row, predicted]))
    samples = [
        Sample(1, frozenset({1, 20}), False, False),
        Sample(3, frozenset({3}), False, True),
        Sample(356, frozenset({356, 357}), False, False),
        Sample(504, frozenset(), True, False),
        Sample(0, frozenset({0, 999}), False, False),
    ]
    for row, sample in enumerate(samples):
        assert table[row].tolist() == [byte(judge(sample, row, predicted, known)) for predicted in range(1000)]


def test_sample_is_in_the_groups_of_any_of_its_labels() -> None:
    organism, artifact, other = (int(row.argmax()) for row in imagenet_1k().group_members)
    labels = pack_labels([{organism: 1, artifact: 1}, {}, {other: 1}, {organism: 1, other: 1, artifact: 1}])

    assert sample_groups(labels, imagenet_1k()).T.tolist() == [
        [True, True, False],
        [False, False, False],
        [False, False, True],
        [True, True, True],
    ]


def test_build_replaces_the_old_bundle(tmp_path: Path) -> None:
    write_bundle(synthetic_inputs(), tmp_path / "bundle")

    digest = write_bundle(CHANGES["dataset"](synthetic_inputs()), tmp_path / "bundle")

    assert open_bundle(tmp_path / "bundle").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def inconsistent_inputs() -> BundleInputs:
    """Return inputs whose arrays can be written, but whose verdict table cannot be computed."""
    return replace(synthetic_inputs(), non_prototypical=np.zeros(4, dtype=bool))


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        write_bundle(inconsistent_inputs(), tmp_path / "bundle")

    assert list(tmp_path.iterdir()) == []


def test_failed_build_leaves_the_old_bundle(tmp_path: Path) -> None:
    digest = write_bundle(synthetic_inputs(), tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}

    with pytest.raises(ValueError, match="broadcast"):
        write_bundle(inconsistent_inputs(), tmp_path / "bundle")

    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == before
    assert open_bundle(tmp_path / "bundle").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


# Builds the demo as the repository does, but never finishes the manifest, because its list of sources is endless.
STUCK_BUILD = """
import sys
from dataclasses import replace
from pathlib import Path
from service.evidence.build import write_bundle
from service.evidence.recipes import gather
from service.storage import lock

class Endless:
    def __iter__(self):
        print("half way", flush=True)
        sys.stdin.read()

folder, name = Path(sys.argv[1]), sys.argv[2]
with lock(folder / "demo.lock"):
    write_bundle(replace(gather("demo"), sources=Endless()), folder / "demo" / name)
"""


@pytest.mark.processes
def test_killed_build_leaves_no_incomplete_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    place = folder / "demo" / fingerprint("demo")
    with subprocess.Popen(
        [sys.executable, "-c", STUCK_BUILD, str(folder), place.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half way\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL

    assert list(folder.glob("demo/*/*.npy")), "it was not killed in the middle"
    assert not place.exists()

    bundles = EvidenceRepository({}, tmp_path).bundles("demo")  # the lock ended with the process

    assert [bundle.path for bundle in bundles] == [place]
    assert open_bundle(place).digest == bundles[0].digest
    assert len(bundles[0].evidence) == 20
