"""Writing a bundle: what its digest covers, and what is left of a build that ends early."""

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
from unit.evidence.made import CHANGES, made_facts

from service.evidence.build import as_arrays, digest_of, sample_groups, write_bundle
from service.evidence.bundle import open_bundle
from service.evidence.inputs import Facts, Source
from service.evidence.labels import pack
from service.evidence.repository import EvidenceRepository, fingerprint
from service.taxonomy.groups import class_groups


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_the_same_facts_have_the_same_digest_in_another_folder(tmp_path: Path) -> None:
    first = write_bundle(made_facts(), tmp_path / "one")
    second = write_bundle(made_facts(), tmp_path / "far" / "away")

    assert first == second == manifest(tmp_path / "one")["digest"] == manifest(tmp_path / "far" / "away")["digest"]
    assert len(first) == 64 and set(first) <= set("0123456789abcdef")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_other_fact_makes_another_digest(tmp_path: Path, change: Callable[[Facts], Facts]) -> None:
    before = write_bundle(made_facts(), tmp_path / "before")

    assert write_bundle(change(made_facts()), tmp_path / "after") != before


@pytest.mark.parametrize("name", sorted(as_arrays(made_facts())))
def test_one_bit_of_any_array_makes_another_digest(name: str) -> None:
    arrays = as_arrays(made_facts())
    altered = arrays[name].copy()
    altered.view(np.uint8).reshape(-1)[-1] ^= 1

    assert digest_of("mine", ("a", "b"), arrays | {name: altered}) != digest_of("mine", ("a", "b"), arrays)


def test_kind_and_shape_are_part_of_the_digest() -> None:
    arrays = {"x": np.arange(4, dtype=np.int32)}
    seen = {
        digest_of("mine", (), changed)
        for changed in (
            arrays,
            {"x": arrays["x"].view(np.uint32)},
            {"x": arrays["x"].reshape(2, 2)},
            {"y": arrays["x"]},
            {"x": arrays["x"][:2], "y": arrays["x"][2:]},
        )
    }

    assert len(seen) == 5


def test_how_an_array_lies_in_memory_does_not_change_the_digest() -> None:
    arrays = as_arrays(made_facts())
    columns_first = {name: np.asfortranarray(array) for name, array in reversed(arrays.items())}

    assert digest_of("mine", ("a", "b"), columns_first) == digest_of("mine", ("a", "b"), arrays)


def test_names_of_sources_stand_outside_the_digest(tmp_path: Path) -> None:
    other = replace(made_facts(), sources=(Source("another file", "elsewhere", "MIT"),))

    assert write_bundle(other, tmp_path / "a") == write_bundle(made_facts(), tmp_path / "b")
    assert manifest(tmp_path / "a")["sources"][0]["name"] == "another file"


def test_the_table_that_is_written_is_the_oracle_s(tmp_path: Path) -> None:
    facts = made_facts()
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


def test_a_sample_is_in_the_groups_of_any_of_its_labels() -> None:
    organism, artifact, other = (int(row.argmax()) for row in class_groups())
    labels = pack([{organism: 1, artifact: 1}, {}, {other: 1}, {organism: 1, other: 1, artifact: 1}])

    assert sample_groups(labels).T.tolist() == [
        [True, True, False],
        [False, False, False],
        [False, False, True],
        [True, True, True],
    ]


def test_a_build_replaces_what_stood_there(tmp_path: Path) -> None:
    write_bundle(made_facts(), tmp_path / "bundle")

    digest = write_bundle(CHANGES["dataset"](made_facts()), tmp_path / "bundle")

    assert open_bundle(tmp_path / "bundle").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def half_broken() -> Facts:
    """Return facts whose arrays can be written, but no table follows from them: one image too few in the list."""
    return replace(made_facts(), non_prototypical=np.zeros(4, dtype=bool))


def test_a_build_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        write_bundle(half_broken(), tmp_path / "bundle")

    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_half_way_leaves_the_old_bundle_as_it_was(tmp_path: Path) -> None:
    digest = write_bundle(made_facts(), tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}

    with pytest.raises(ValueError, match="broadcast"):
        write_bundle(half_broken(), tmp_path / "bundle")

    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == before
    assert open_bundle(tmp_path / "bundle").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


# Builds the demo as the shelf does, and stops for good where the manifest is about to be written: its list of sources
# never comes to an end.
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
def test_a_build_killed_half_way_leaves_no_half_bundle(tmp_path: Path) -> None:
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

    bundles = EvidenceRepository({}, tmp_path).bundles("demo")  # the lock went with the process

    assert [bundle.path for bundle in bundles] == [place]
    assert open_bundle(place).digest == bundles[0].digest
    assert len(bundles[0].evidence) == 20
