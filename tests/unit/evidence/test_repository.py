"""The shelf: bundles are found, built on first use, each once."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from errata.errors import DatasetNotFound, EvidenceDamaged, EvidenceNotFound, InvalidEvidence, InvalidSetting
from unit.evidence.made import CHANGES, made_facts

from service.bootstrap.build import verify_evidence
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository

BUILD = """
import sys
from pathlib import Path
from service.evidence.repository import EvidenceRepository
print("ready", flush=True)
sys.stdin.readline()
print("digest", EvidenceRepository({}, Path(sys.argv[1])).find("demo", "").digest)
"""


@pytest.mark.processes
def test_two_builds_at_once_give_one_bundle(tmp_path: Path) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(2)
    ]
    for child in both:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in both:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=60)[0] for child in both]

    assert [child.returncode for child in both] == [0, 0]
    first, second = (output.split("digest ")[-1].strip() for output in said)
    assert first == second
    folders = list((tmp_path / "evidence" / "demo").iterdir())
    assert len(folders) == 1
    assert verify_evidence(folders[0]) == []
    assert sum("evidence built" in output for output in said) == 1  # the other one waited and found it


def test_what_needs_no_download_is_built_on_first_use_and_then_found(demo: Bundle, data_dir: Path) -> None:
    written = (demo.path / "manifest.json").stat().st_mtime_ns

    again = EvidenceRepository({}, data_dir).find("demo", "")

    assert (again.path, again.digest) == (demo.path, demo.digest)
    assert (again.path / "manifest.json").stat().st_mtime_ns == written
    assert demo.path.is_relative_to(data_dir)


@pytest.mark.parametrize("dataset", ["demo", "imagenet-real"])
def test_what_is_built_is_sound_and_has_neither_clip_nor_list(
    dataset: str, evidence_repository: EvidenceRepository
) -> None:
    bundle = evidence_repository.find(dataset, "")

    assert bundle.dataset == dataset
    assert verify_evidence(bundle.path) == []
    assert [kind.name for kind in bundle.manifest.abstained] == ["FINE_GRAINED_OOV", "NON_PROTOTYPICAL"]


def test_a_bundle_is_found_by_the_start_of_its_digest(tmp_path: Path) -> None:
    digest = write_bundle(made_facts(), tmp_path / "one")
    other = write_bundle(CHANGES["oov"](made_facts()), tmp_path / "two")
    evidence_repository = EvidenceRepository({"mine": [tmp_path / "one", tmp_path / "two"]}, tmp_path / "data")

    assert evidence_repository.find("mine", "").digest == digest  # the first is the default
    assert (
        evidence_repository.find("mine", digest).digest == evidence_repository.find("mine", digest[:8]).digest == digest
    )
    assert evidence_repository.find("mine", other[:8]).digest == other
    assert [bundle.digest for bundle in evidence_repository.bundles("mine")] == [digest, other]
    assert "mine" in evidence_repository.datasets()


def test_a_digest_that_no_bundle_has_is_not_found(tmp_path: Path) -> None:
    digest = write_bundle(made_facts(), tmp_path / "one")
    evidence_repository = EvidenceRepository({"mine": [tmp_path / "one"]}, tmp_path / "data")

    with pytest.raises(EvidenceNotFound, match=digest[:12]):
        evidence_repository.find("mine", "xyz")


def test_a_start_that_fits_two_digests_is_not_found(tmp_path: Path) -> None:
    # of 17 digests two start with the same digit
    digests, paths = [], []
    for number in range(17):
        facts = made_facts()
        facts.labels.labels.classes[0] = 100 + number
        paths.append(tmp_path / str(number))
        digests.append(write_bundle(facts, paths[-1]))
    starts = [digest[0] for digest in digests]
    twice = next(start for start in starts if starts.count(start) > 1)

    with pytest.raises(EvidenceNotFound):
        EvidenceRepository({"mine": paths}, tmp_path / "data").find("mine", twice)


def test_the_same_facts_lying_twice_are_one_bundle(tmp_path: Path) -> None:
    digest = write_bundle(made_facts(), tmp_path / "one")
    write_bundle(made_facts(), tmp_path / "two")
    evidence_repository = EvidenceRepository({"mine": [tmp_path / "one", tmp_path / "two"]}, tmp_path / "data")

    assert [bundle.digest for bundle in evidence_repository.bundles("mine")] == [digest]


def test_a_bundle_that_lies_in_the_data_folder_is_found(tmp_path: Path) -> None:
    digest = write_bundle(made_facts(), tmp_path / "evidence" / "mine" / "first")

    evidence_repository = EvidenceRepository({}, tmp_path)

    assert "mine" in evidence_repository.datasets()
    assert evidence_repository.find("mine", "").digest == digest


def test_a_bundle_that_is_still_being_written_is_not_seen(tmp_path: Path) -> None:
    write_bundle(made_facts(), tmp_path / "evidence" / "mine" / ".first.scratch")

    evidence_repository = EvidenceRepository({}, tmp_path)

    assert "mine" not in evidence_repository.datasets()
    with pytest.raises(DatasetNotFound):
        evidence_repository.bundles("mine")


def test_a_data_set_without_evidence_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match="demo") as raised:
        EvidenceRepository({}, tmp_path).find("imagenet-x", "")

    assert raised.value.violations[0].field == "dataset"


def test_a_bundle_of_another_data_set_is_refused_by_its_path_at_start(tmp_path: Path) -> None:
    write_bundle(made_facts(), tmp_path / "one")
    evidence_repository = EvidenceRepository({"yours": [tmp_path / "one"]}, tmp_path / "data")

    with pytest.raises(InvalidEvidence, match="one: expected a bundle of yours, got one of mine"):
        evidence_repository.check()
    with pytest.raises(EvidenceDamaged) as later:  # to a caller, without the path
        evidence_repository.bundles("yours")
    assert "expected a bundle of yours, got one of mine" in later.value.message
    assert str(tmp_path) not in later.value.message


def test_a_configured_bundle_that_isnt_there_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvidence, match="nothing here"):
        EvidenceRepository({"mine": [tmp_path / "nothing here"]}, tmp_path / "data").check()


def test_a_data_folder_that_can_not_be_made_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InvalidSetting) as refused:
        EvidenceRepository({}, tmp_path / "file" / "data").check()
    assert refused.value.violations[0].field == "ERRATA_DATA_DIR"


def test_a_damaged_bundle_is_left_out_unless_it_is_the_default(tmp_path: Path) -> None:
    for name in ("one", "two"):
        facts = replace(made_facts(), imagenet_m=None) if name == "two" else made_facts()
        write_bundle(facts, tmp_path / name)
    file = tmp_path / "two" / "verdicts.npy"
    file.write_bytes(file.read_bytes()[:-1])

    (sound,) = EvidenceRepository({"mine": [tmp_path / "one", tmp_path / "two"]}, tmp_path / "data").bundles("mine")
    assert sound.path == tmp_path / "one"
    with pytest.raises(EvidenceDamaged, match="damaged"):
        EvidenceRepository({"mine": [tmp_path / "two", tmp_path / "one"]}, tmp_path / "data").bundles("mine")
