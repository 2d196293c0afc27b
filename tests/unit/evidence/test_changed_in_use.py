"""Bundles whose files change while they are in use: damage is an error, and restored files are accepted again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import structlog
from errata.errors import EvidenceDamaged
from unit.evidence.synthetic import CHANGES, synthetic_inputs

from service.evidence import bundle_arrays
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.bundle_arrays import READ_BY_ROW
from service.evidence.repository import EvidenceRepository

ARRAYS = ("names", "rows", "groups", "oov", "verdicts", "image_embeddings", "text_embeddings")


@pytest.fixture(autouse=True)
def check_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_arrays, "CHECK_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    write_bundle(synthetic_inputs(), path)
    for file in path.iterdir():
        os.utime(file, ns=(1, 1))  # a write within the same tick of the clock would not show
    return path


@pytest.fixture
def repository(folder: Path, tmp_path: Path) -> EvidenceRepository:
    return EvidenceRepository({"mine": [folder]}, tmp_path / "data")


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("change", [truncate, overwrite])
def test_file_that_changes_in_use_is_damaged_until_restored(
    repository: EvidenceRepository, folder: Path, name: str, change: Callable[[Path], None]
) -> None:
    digest = repository.find("mine", "").digest
    file = folder / f"{name}.npy"
    sound = file.read_bytes()

    change(file)

    for _ in range(2):
        for find in (
            lambda: repository.find("mine", ""),
            lambda: repository.find("mine", digest),
            lambda: repository.bundles("mine"),
        ):
            with pytest.raises(EvidenceDamaged) as error:
                find()
            assert f"mine ({digest[:12]})" in error.value.message
            assert f"{name}.npy" in error.value.message
            assert str(folder.parent) not in error.value.message
    assert repository.find("demo", "").dataset == "demo", "other data sets are served"

    file.write_bytes(sound)

    assert repository.find("mine", "").digest == digest
    assert np.array_equal(repository.find("mine", "").arrays[name], open_bundle(folder).arrays[name])


@pytest.mark.parametrize("name", ARRAYS)
def test_damage_between_two_checks_has_no_effect_on_arrays(
    repository: EvidenceRepository, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = np.array(repository.find("mine", "").arrays[name])
    monkeypatch.setattr(bundle_arrays, "CHECK_SECONDS", 3600.0)
    overwrite(folder / f"{name}.npy")

    bundle = repository.find("mine", "")

    if name in READ_BY_ROW:
        with pytest.raises(EvidenceDamaged):
            _ = bundle.arrays[name]
    else:
        assert np.array_equal(bundle.arrays[name], before)
    monkeypatch.setattr(bundle_arrays, "CHECK_SECONDS", 0.0)
    with pytest.raises(EvidenceDamaged):
        repository.find("mine", "")


def test_damage_is_logged_once_for_each_change_with_its_path(repository: EvidenceRepository, folder: Path) -> None:
    repository.find("mine", "")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            truncate(folder / "rows.npy")
            for _ in range(3):
                with pytest.raises(EvidenceDamaged):
                    repository.find("mine", "")

    assert [(log["event"], log["path"]) for log in logs] == [("evidence damaged", str(folder))] * 2


@pytest.mark.parametrize(
    "read",
    [lambda bundle: bundle.verdicts, lambda bundle: bundle.image_embedding(1),
     lambda bundle: bundle.arrays["text_embeddings"]],
    ids=["verdicts", "image_embeddings", "text_embeddings"],
)  # fmt: skip
def test_array_that_changes_before_it_is_read_is_damaged(
    repository: EvidenceRepository,
    folder: Path,
    read: Callable[[Bundle], object],
    request: pytest.FixtureRequest,
) -> None:
    bundle = repository.find("mine", "")
    truncate(folder / f"{request.node.callspec.id}.npy")

    with pytest.raises(EvidenceDamaged, match=bundle.digest[:12]) as error:
        read(bundle)
    assert str(folder) not in error.value.message


def test_verdict_table_with_another_digest_is_damaged_on_first_use(folder: Path, tmp_path: Path) -> None:
    sound = (folder / "verdicts.npy").read_bytes()
    (folder / "verdicts.npy").write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))  # before it is opened, of the same size
    repository = EvidenceRepository({"mine": [folder]}, tmp_path / "data")
    with pytest.raises(EvidenceDamaged, match="SHA-256"):
        _ = repository.find("mine", "").verdicts

    with pytest.raises(EvidenceDamaged, match="SHA-256"):
        repository.find("mine", "")

    (folder / "verdicts.npy").write_bytes(sound)
    assert repository.find("mine", "").verdicts.max() > 0


def test_loaded_table_stays_readable(repository: EvidenceRepository, folder: Path) -> None:
    bundle = repository.find("mine", "")
    before = np.array(bundle.verdicts)

    truncate(folder / "verdicts.npy")

    assert np.array_equal(bundle.verdicts, before)


def test_rewritten_files_with_equal_content_are_not_damaged(repository: EvidenceRepository, folder: Path) -> None:
    before = repository.find("mine", "")
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes())

    assert repository.find("mine", "").digest == before.digest


def test_overwriting_with_another_bundle_is_damage(
    repository: EvidenceRepository, folder: Path, tmp_path: Path
) -> None:
    repository.find("mine", "")
    write_bundle(CHANGES["oov"](synthetic_inputs()), tmp_path / "other")
    for file in (tmp_path / "other").iterdir():
        shutil.copyfile(file, folder / file.name)  # into the same inode

    with pytest.raises(EvidenceDamaged):
        repository.find("mine", "")


def test_replaced_bundle_stays_readable(repository: EvidenceRepository, folder: Path) -> None:
    facts = synthetic_inputs()
    bundle = repository.find("mine", "")
    write_bundle(CHANGES["oov"](synthetic_inputs()), folder)

    assert repository.find("mine", "") is bundle
    assert np.array_equal(bundle.image_embedding(2), facts.clip.images[2:3])
    assert np.array_equal(bundle.evidence.oov, facts.clip.oov)
    assert bundle.verdicts.shape == (5, 1000)
