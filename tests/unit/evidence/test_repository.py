"""The repository finds bundles and builds them once, on first use."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from errata.errors import (
    DatasetNotFound,
    EvidenceDamaged,
    EvidenceNotFound,
    InvalidEvidence,
    InvalidSetting,
    Unavailable,
)
from unit.evidence.synthetic import CHANGES, synthetic_inputs

from service.bootstrap.build import verify_evidence
from service.domain import ClassPairs, Superclasses
from service.evidence import repository as repository_module
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository, fingerprint
from service.taxonomy.imagenet_1k import imagenet_1k

BUILD = """
import sys
from pathlib import Path
from service.evidence.repository import EvidenceRepository
print("ready", flush=True)
sys.stdin.readline()
print("digest", EvidenceRepository({}, Path(sys.argv[1])).find("demo", "").digest)
"""


@pytest.mark.processes
def test_concurrent_builds_produce_one_bundle(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=60)[0] for child in children]

    assert [child.returncode for child in children] == [0, 0]
    first, second = (output.split("digest ")[-1].strip() for output in outputs)
    assert first == second
    folders = list((tmp_path / "evidence" / "demo").iterdir())
    assert len(folders) == 1
    assert verify_evidence(folders[0]) == []
    assert sum("evidence built" in output for output in outputs) == 1  # the other one waited and found it


def test_built_in_data_sets_are_built_on_first_use(demo: Bundle, data_dir: Path) -> None:
    written = (demo.path / "manifest.json").stat().st_mtime_ns

    again = EvidenceRepository({}, data_dir).find("demo", "")

    assert (again.path, again.digest) == (demo.path, demo.digest)
    assert (again.path / "manifest.json").stat().st_mtime_ns == written
    assert demo.path.is_relative_to(data_dir)


@pytest.mark.parametrize("dataset", ["demo", "imagenet-real"])
def test_built_bundle_verifies_and_has_neither_clip_nor_list(dataset: str, repository: EvidenceRepository) -> None:
    bundle = repository.find(dataset, "")

    assert bundle.dataset == dataset
    assert verify_evidence(bundle.path) == []
    assert [kind.name for kind in bundle.manifest.abstained] == ["FINE_GRAINED_OOV", "NON_PROTOTYPICAL"]


def test_bundle_is_found_by_digest_prefix(tmp_path: Path) -> None:
    digest = write_bundle(synthetic_inputs(), tmp_path / "one")
    other = write_bundle(CHANGES["oov"](synthetic_inputs()), tmp_path / "two")
    repository = EvidenceRepository({"mine": [tmp_path / "one", tmp_path / "two"]}, tmp_path / "data")

    assert repository.find("mine", "").digest == digest  # the first is the default
    assert repository.find("mine", digest).digest == repository.find("mine", digest[:8]).digest == digest
    assert repository.find("mine", other[:8]).digest == other
    assert [bundle.digest for bundle in repository.bundles("mine")] == [digest, other]
    assert "mine" in repository.datasets()


def test_digest_that_no_bundle_has_is_not_found(tmp_path: Path) -> None:
    digest = write_bundle(synthetic_inputs(), tmp_path / "one")
    repository = EvidenceRepository({"mine": [tmp_path / "one"]}, tmp_path / "data")

    with pytest.raises(EvidenceNotFound, match=digest[:12]):
        repository.find("mine", "xyz")


def test_ambiguous_digest_prefix_is_not_found(tmp_path: Path) -> None:
    # of 17 digests two start with the same digit
    digests, paths = [], []
    for number in range(17):
        facts = synthetic_inputs()
        facts.labels.labels.classes[0] = 100 + number
        paths.append(tmp_path / str(number))
        digests.append(write_bundle(facts, paths[-1]))
    starts = [digest[0] for digest in digests]
    twice = next(start for start in starts if starts.count(start) > 1)

    with pytest.raises(EvidenceNotFound):
        EvidenceRepository({"mine": paths}, tmp_path / "data").find("mine", twice)


def test_copies_of_a_bundle_count_once(tmp_path: Path) -> None:
    digest = write_bundle(synthetic_inputs(), tmp_path / "one")
    write_bundle(synthetic_inputs(), tmp_path / "two")
    repository = EvidenceRepository({"mine": [tmp_path / "one", tmp_path / "two"]}, tmp_path / "data")

    assert [bundle.digest for bundle in repository.bundles("mine")] == [digest]


def test_bundle_in_the_data_folder_is_found(tmp_path: Path) -> None:
    digest = write_bundle(synthetic_inputs(), tmp_path / "evidence" / "mine" / "first")

    repository = EvidenceRepository({}, tmp_path)

    assert "mine" in repository.datasets()
    assert repository.find("mine", "").digest == digest


def test_incomplete_bundle_is_ignored(tmp_path: Path) -> None:
    write_bundle(synthetic_inputs(), tmp_path / "evidence" / "mine" / ".first.scratch")

    repository = EvidenceRepository({}, tmp_path)

    assert "mine" not in repository.datasets()
    with pytest.raises(DatasetNotFound):
        repository.bundles("mine")


def test_data_set_without_evidence_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match="demo") as error:
        EvidenceRepository({}, tmp_path).find("imagenet-x", "")

    assert error.value.violations[0].field == "dataset"


def test_bundle_of_another_data_set_is_rejected_by_its_path_at_start(tmp_path: Path) -> None:
    write_bundle(synthetic_inputs(), tmp_path / "one")
    repository = EvidenceRepository({"yours": [tmp_path / "one"]}, tmp_path / "data")

    with pytest.raises(InvalidEvidence, match="one has the data set mine, not yours"):
        repository.check()
    with pytest.raises(EvidenceDamaged) as later:  # to a caller, without the path
        repository.bundles("yours")
    assert "bundle has the data set mine, not yours" in later.value.message
    assert str(tmp_path) not in later.value.message


def test_missing_configured_bundle_is_rejected_at_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match="nothing here"):
        EvidenceRepository({"mine": [tmp_path / "nothing here"]}, tmp_path / "data").check()


def test_data_folder_that_cannot_be_created_is_rejected_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InvalidSetting) as refused:
        EvidenceRepository({}, tmp_path / "file" / "data").check()
    assert refused.value.violations[0].field == "ERRATA_DATA_DIR"


def test_a_build_on_a_full_disk_is_unavailable_with_the_reason(tmp_path: Path) -> None:
    repository = EvidenceRepository({}, tmp_path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes beyond the limit fail, as on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        with pytest.raises(Unavailable) as refused:
            repository.find("imagenet-real", "")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)

    # numpy raises an OSError without errno and strerror for an incomplete write
    assert re.fullmatch(
        r"The evidence of imagenet-real cannot be built: \d+ requested and \d+ written\.", str(refused.value)
    )


def test_damaged_bundle_is_skipped_unless_it_is_the_default(tmp_path: Path) -> None:
    for name in ("one", "two"):
        facts = replace(synthetic_inputs(), imagenet_m=None) if name == "two" else synthetic_inputs()
        write_bundle(facts, tmp_path / name)
    file = tmp_path / "two" / "verdicts.npy"
    file.write_bytes(file.read_bytes()[:-1])

    (sound,) = EvidenceRepository({"mine": [tmp_path / "one", tmp_path / "two"]}, tmp_path / "data").bundles("mine")
    assert sound.path == tmp_path / "one"
    with pytest.raises(EvidenceDamaged, match="damaged"):
        EvidenceRepository({"mine": [tmp_path / "two", tmp_path / "one"]}, tmp_path / "data").bundles("mine")


def _save(path: Path, array: np.ndarray) -> None:
    """Replace an array of a bundle, and its size in the manifest."""
    np.save(path, array)
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["files"][path.name]["bytes"] = path.stat().st_size
    (path.parent / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda file: file.write_text("{")),
        ("rows.npy", Path.unlink),
        ("rows.npy", lambda file: file.write_bytes(b"x" * file.stat().st_size)),
        ("rows.npy", lambda file: _save(file, np.load(file)[0])),
        ("rows.npy", lambda file: _save(file, np.load(file).astype("f8"))),
        ("rows.npy", lambda file: _save(file, np.load(file)[:, None])),
        ("rows.npy", lambda file: _save(file, np.load(file) + 1000)),
        ("names.npy", lambda file: _save(file, np.full(np.load(file).shape, b"\xff"))),
        ("label_offsets.npy", lambda file: _save(file, np.load(file) + np.arange(len(np.load(file))) % 2 * -9)),
    ],
    ids=["no manifest", "manifest", "no array", "content", "value", "type", "shape", "range", "text", "offsets"],
)
def test_the_error_of_a_damaged_bundle_has_one_remedy(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    write_bundle(synthetic_inputs(), tmp_path / "one")
    damage(tmp_path / "one" / name)

    with pytest.raises(EvidenceDamaged) as error:
        EvidenceRepository({"mine": [tmp_path / "one"]}, tmp_path / "data").find("mine", "")
    assert str(tmp_path) not in error.value.message
    assert len(re.findall("[Bb]uild (it|the bundle) again", error.value.message)) == 1
    assert error.value.message.endswith(" again.")


@pytest.mark.parametrize(
    ("dataset", "digest"),
    [
        ("imagenet-real", "fffc5c447330c9e44c6f55be1ca542cf8584222f3d1452b12545ba44157ed0fe"),
        ("demo", "d8128ed36c86cfd065024ede9da9ca7e527f6cdf35e4cd07004f14975c71d316"),
    ],
)
def test_digests_are_those_of_versions_without_label_spaces(
    dataset: str, digest: str, repository: EvidenceRepository
) -> None:
    assert repository.find(dataset, "").digest == digest


def test_each_change_of_the_classes_of_imagenet_1k_builds_its_data_sets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    space = imagenet_1k()
    changes = (
        {},
        {"names": ("carp", *space.names[1:])},
        {"synonyms": ((), *space.synonyms[1:])},
        {"superclasses": Superclasses.from_names([()] * 1000)},
        {"group_members": ~space.group_members},
        {"overlaps": ClassPairs.of(np.array([[249, 248]]), 1000)},
    )
    fingerprints = set()
    for change in changes:
        monkeypatch.setattr(repository_module, "imagenet_1k", lambda change=change: replace(space, **change))
        fingerprints.add(fingerprint.__wrapped__("demo"))

    assert len(fingerprints) == len(changes)
