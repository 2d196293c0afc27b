"""Evidence that is built from reviews or uploaded is published, so that all processes have it, with an audit event."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from errata.errors import EvidenceDamaged, EvidenceNotFound, InvalidEvidence, TooLarge, Unavailable

from service.analyses import evidence_versions as versions
from service.analyses.ports import Stores
from service.analyses.review_export import LabelsExport, export_labels
from service.archive.publications import ArchivePublications
from service.domain import AuditAction, Labels, LabelSource, Review
from service.evidence import manifest as manifest_module
from service.evidence import publications
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.cooccurrence import CooccurrenceInputs
from service.evidence.inputs import BundleInputs, ReviewsInfo
from service.evidence.publications import InMemoryPublications, Publications
from service.evidence.relabeled import inputs_of
from service.evidence.repository import EvidenceRepository
from service.evidence.uploaded_labels import relabel_from_file
from service.rules import RULES_VERSION

from .conftest import Backend

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Cluster:
    """Processes that share an archive."""

    street: Bundle
    publications: Callable[[], Publications]
    folder: Path

    def start(self, name: str, is_configured: bool = True) -> Stores:
        configured = {"street": [self.street.path]} if is_configured else {}
        repository = EvidenceRepository(configured, self.folder / name, self.publications())
        return Backend(repository).ports.stores


@pytest.fixture(params=["folder", "object store", "in memory"])
def cluster(request: pytest.FixtureRequest, street: Bundle, tmp_path: Path) -> Cluster:
    shared = InMemoryPublications()
    location = {"folder": str(tmp_path / "archive"), "object store": f"memory://{tmp_path}"}.get(request.param)
    return Cluster(
        street,
        (lambda: shared) if location is None else (lambda: ArchivePublications(location, refresh_seconds=0.0)),
        tmp_path,
    )


@pytest.fixture
def stores(cluster: Cluster) -> Stores:
    return cluster.start("one")


def add_review(stores: Stores, number: int = 1, image: str = "a", **statements: object) -> None:
    review = Review(f"{number:032x}", "street", image, "e" * 64, "ann", True, NOW)
    stores.reviews.append(replace(review, **(statements or {"added": ("owl",)})))


def tar_of(bundle: Bundle, change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None] = lambda info: info) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(bundle.path, ".", filter=change)
    return content.getvalue()


def test_other_processes_have_evidence_from_reviews_at_once(cluster: Cluster, stores: Stores) -> None:
    add_review(stores)

    built = versions.build_from_reviews(stores, "street", "", 1, "root")

    other = cluster.start("two")
    assert other.evidence.find("street", built.digest[:9]).evidence.labels.of(0).tolist() == [0, 2]
    assert other.evidence.find("street", "").digest == cluster.street.digest  # publishing does not make it the default
    assert [version.manifest.digest for version in versions.list_versions(other, "street")] == [
        cluster.street.digest,
        built.digest,
    ]
    unconfigured = cluster.start("three", is_configured=False)
    assert unconfigured.evidence.find("street", "").digest == built.digest
    assert "street" in unconfigured.evidence.datasets()


def test_the_default_holds_for_all_processes_until_another_one_is_made_the_default(
    cluster: Cluster, stores: Stores
) -> None:
    other = cluster.start("two")
    before = other.evidence.find("street", "")
    add_review(stores)
    built = versions.build_from_reviews(stores, "street", "", 1, "root")

    versions.set_default(stores, "street", built.digest[:8], "root")

    assert other.evidence.find("street", "").digest == built.digest
    assert other.evidence.find("street", "street").digest == built.digest
    assert other.evidence.versions("street")[0].digest == built.digest
    assert cluster.start("after a restart").evidence.find("street", "").digest == built.digest
    versions.set_default(other, "street", before.digest, "")
    assert stores.evidence.find("street", "").digest == before.digest
    assert cluster.start("elsewhere", is_configured=False).evidence.find("street", "").digest == before.digest


def test_the_same_reviews_publish_evidence_once(stores: Stores) -> None:
    add_review(stores)

    first = versions.build_from_reviews(stores, "street", "", 1, "root")
    again = versions.build_from_reviews(stores, "street", first.manifest.base, 1, "someone")

    assert again.digest == first.digest
    (event,) = versions.list_audit_events(stores)
    assert (event.actor, event.action, event.dataset, event.digest) == ("root", "build", "street", first.digest)
    assert (event.details["num_reviews"], event.details["base"]) == ("1", first.manifest.base)


def test_the_next_build_corrects_the_same_base(stores: Stores) -> None:
    add_review(stores, 1, added=("owl",))
    first = versions.build_from_reviews(stores, "street", "", 1, "")
    versions.set_default(stores, "street", first.digest, "")
    add_review(stores, 2, added=(), undoes=f"{1:032x}")
    add_review(stores, 3, "b", rejected=("dog",))

    second = versions.build_from_reviews(stores, "street", "", 1, "")

    assert second.manifest.base == first.manifest.base
    assert second.evidence.labels.of(0).tolist() == [0]  # the review was undone
    assert second.evidence.problematic.tolist() == [False, True, False, False]
    exported = b"".join(export_labels(stores, "street", LabelsExport(as_csv=False))).splitlines()
    assert [json.loads(line)["labels"] for line in exported] == [
        [second.label_space.ids[label] for label in second.evidence.labels.of(row).tolist()] for row in range(4)
    ]


def test_reviews_that_restore_the_labels_of_a_version_keep_its_origin(stores: Stores, street: Bundle) -> None:
    corrected = (street.path.parent / "labels.csv").read_bytes().replace(b"a,cat", b"a,cat;owl")
    uploaded = versions.upload_labels(stores, "street", io.BytesIO(corrected), "ci")
    add_review(stores, rejected=("owl",))

    restored = versions.build_from_reviews(stores, "street", uploaded.digest, 1, "root")

    assert (restored.digest, restored.manifest) == (street.digest, street.manifest)
    assert [event.digest for event in versions.list_audit_events(stores)] == [uploaded.digest]


def test_an_upload_of_the_labels_of_a_bundle_from_reviews_returns_it(stores: Stores) -> None:
    add_review(stores, added=("owl",))
    built = versions.build_from_reviews(stores, "street", "", 1, "root")
    labels = built.evidence.labels
    ids = built.label_space.ids
    lines = [f"{name},{';'.join(ids[i] for i in labels.of(row))}" for row, name in enumerate(built.judged_names)]

    content = "\n".join(["file_name,labels", *lines]).encode()
    uploaded = versions.upload_labels(stores, "street", io.BytesIO(content), "ci", built.digest)

    assert LabelSource.REVIEW in labels.sources
    assert uploaded.digest == built.digest
    assert [event.actor for event in versions.list_audit_events(stores)] == ["root"]


def test_a_bundle_that_is_its_own_base_is_its_base(cluster: Cluster, street: Bundle, tmp_path: Path) -> None:
    """Earlier versions of this service wrote such a bundle if reviews restored the labels of its base's base."""
    stores = cluster.start("new", is_configured=False)
    cycle = replace(inputs_of(street), base=street.digest, reviews=ReviewsInfo("a" * 64, 1, 1))
    write_bundle(cycle, tmp_path / "cycle")
    versions.upload_bundle(stores, io.BytesIO(tar_of(open_bundle(tmp_path / "cycle"))), "ci")

    digests: list[str] = []
    thread = Thread(target=lambda: digests.append(versions.find_base(stores, "street", "").digest), daemon=True)
    thread.start()
    thread.join(30)

    assert digests == [street.digest]


def test_every_change_is_an_audit_event_that_can_be_exported(stores: Stores, street: Bundle) -> None:
    add_review(stores)
    built = versions.build_from_reviews(stores, "street", "", 1, "")
    versions.upload_labels(stores, "street", io.BytesIO(b"file_name,labels\nb,cat\n"), "ci")
    versions.set_default(stores, "street", street.digest, "root")
    versions.record_event(stores, AuditAction.IMPORT, "ci", "other", details={"reviews": "7"})

    lines = [json.loads(line) for line in versions.export_audit_events(versions.list_audit_events(stores)).splitlines()]

    assert {(line["actor"], line["action"]) for line in lines} == {
        ("unauthenticated", "build"),
        ("ci", "upload-labels"),
        ("root", "publish"),
        ("root", "set-default"),
        ("ci", "import"),
    }
    assert all(line["time"] for line in lines)
    of_street = versions.list_audit_events(stores, "street")
    assert len(of_street) == 4
    assert [event.digest for event in of_street if event.action is AuditAction.BUILD] == [built.digest]


def test_uploaded_labels_replace_labels_and_keep_the_original_labels(stores: Stores, street: Bundle) -> None:
    file = b"file_name,target,labels,problematic\nc,cat,dog;owl,\na,cat,cat,\nb,dog,,torn\n"

    after = versions.upload_labels(stores, "street", io.BytesIO(file), "ci")

    assert after.judged_names == ["a", "b", "c"]  # d is not evaluated
    assert after.image_names == street.image_names
    assert after.images_digest == street.images_digest
    assert [after.evidence.labels.of(row).tolist() for row in range(3)] == [[0], [], [1, 2]]
    assert after.evidence.problematic.tolist() == [False, True, False]
    assert after.manifest.base == street.digest
    assert after.manifest.counts["rejected_targets"] == 1


def test_an_upload_of_labels_of_a_version_keeps_its_origin(stores: Stores, street: Bundle) -> None:
    corrected = b"file_name,labels\na,cat;dog\nb,dog\nc,cat\nd,owl\n"
    original = (street.path.parent / "labels.csv").read_bytes()
    uploaded = versions.upload_labels(stores, "street", io.BytesIO(corrected), "ci")

    for base in ("", uploaded.digest):
        assert versions.upload_labels(stores, "street", io.BytesIO(original), "other", base).digest == street.digest
        assert versions.upload_labels(stores, "street", io.BytesIO(corrected), "other", base).digest == uploaded.digest

    assert [event.actor for event in versions.list_audit_events(stores)] == ["ci"]
    origins = {version.manifest.digest: version.event for version in versions.list_versions(stores, "street")}
    assert origins[street.digest] is None


def test_the_name_of_its_folder_does_not_change_the_origin_of_a_configured_version(
    cluster: Cluster, street: Bundle
) -> None:
    folder = Path(shutil.copytree(street.path, cluster.folder / street.digest))  # named as a copy of a publication
    stores = Backend(EvidenceRepository({"street": [folder]}, cluster.folder / "named")).ports.stores
    original = (street.path.parent / "labels.csv").read_bytes()
    corrected = b"file_name,labels\na,cat;dog\nb,dog\nc,cat\nd,owl\n"
    uploaded = versions.upload_labels(stores, "street", io.BytesIO(corrected), "ci")

    assert versions.upload_labels(stores, "street", io.BytesIO(original), "ci", uploaded.digest).digest == street.digest

    assert [event.digest for event in versions.list_audit_events(stores)] == [uploaded.digest]


def test_labels_of_a_bundle_that_only_this_process_has_are_published(cluster: Cluster, street: Bundle) -> None:
    content = b"file_name,labels\na,cat;dog\nb,dog\nc,cat\nd,owl\n"
    builder = Backend(EvidenceRepository({"street": [street.path]}, cluster.folder / "builder")).ports.stores
    built = versions.upload_labels(builder, "street", io.BytesIO(content), "ci")
    shutil.copytree(built.path, cluster.folder / "one" / "evidence" / "street" / "own")
    one, two = cluster.start("one"), cluster.start("two")

    versions.upload_labels(one, "street", io.BytesIO(content), "ci")

    assert two.evidence.find("street", built.digest).digest == built.digest


def test_an_upload_of_labels_of_a_bundle_in_the_data_folder_keeps_its_manifest(
    cluster: Cluster, street: Bundle
) -> None:
    shutil.copytree(street.path, cluster.folder / "one" / "evidence" / "street" / "own")
    stores = cluster.start("one", is_configured=False)
    original = (street.path.parent / "labels.csv").read_bytes()

    own = versions.upload_labels(stores, "street", io.BytesIO(original), "ci")

    assert (own.digest, versions.list_audit_events(stores)) == (street.digest, [])
    corrected = versions.upload_labels(stores, "street", io.BytesIO(original.replace(b"a,cat", b"a,cat;owl")), "ci")
    versions.upload_labels(stores, "street", io.BytesIO(original), "ci", corrected.digest)
    other = cluster.start("two", is_configured=False)
    assert other.evidence.find("street", street.digest).manifest == street.manifest
    assert [event.digest for event in versions.list_audit_events(stores)] == [street.digest, corrected.digest]


def test_published_labels_have_a_base_that_other_processes_have(cluster: Cluster, street: Bundle) -> None:
    corrected = (street.path.parent / "labels.csv").read_bytes().replace(b"a,cat", b"a,cat;owl")
    (cluster.folder / "corrected.csv").write_bytes(corrected)
    facts = replace(relabel_from_file(street, cluster.folder / "corrected.csv"), base="f" * 64)
    write_bundle(facts, cluster.folder / "one" / "evidence" / "street" / "own")
    stores = cluster.start("one")

    published = versions.upload_labels(stores, "street", io.BytesIO(corrected), "ci", street.digest)

    assert published.manifest.base == "f" * 64
    assert cluster.start("two").evidence.find("street", published.digest).manifest.base == street.digest


def test_labels_whose_publication_is_lost_are_published_again(cluster: Cluster, stores: Stores) -> None:
    content = b"file_name,labels\na,cat;dog\nb,dog\n"
    first = versions.upload_labels(stores, "street", io.BytesIO(content), "ci")
    repository = EvidenceRepository({"street": [cluster.street.path]}, cluster.folder / "one")  # with another archive

    again = versions.upload_labels(Backend(repository).ports.stores, "street", io.BytesIO(content), "ci")

    assert again.digest == first.digest
    assert [*repository.published.events("street")] == [first.digest]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file_name,labels\nz,cat\n", "'z' is no evaluated image"),
        (b"file_name,target,labels\na,dog,dog\n", "the original label of 'a' is 'cat', not 'dog'"),
        (b"file_name,labels\na,horse\n", "horse"),
        (b"PAR1 and the rest", "Parquet"),
        (b"", "labels"),
        (b"file_name,labels\na,cat\na,dog\n", "duplicate"),
        (b"\x80\x04\x95pickle", "labels"),
    ],
)
def test_invalid_labels_are_refused_and_change_nothing(stores: Stores, content: bytes, message: str) -> None:
    with pytest.raises(InvalidEvidence, match=message):
        versions.upload_labels(stores, "street", io.BytesIO(content), "ci")

    assert versions.list_audit_events(stores) == []


def test_an_uploaded_bundle_is_published(cluster: Cluster, street: Bundle) -> None:
    stores = cluster.start("one", is_configured=False)

    bundle = versions.upload_bundle(stores, io.BytesIO(tar_of(street)), "ci")

    assert bundle.digest == street.digest
    assert np.array_equal(bundle.verdicts, street.verdicts)
    assert cluster.start("two", is_configured=False).evidence.find("street", "").digest == street.digest
    assert versions.list_audit_events(stores)[0].action is AuditAction.UPLOAD_BUNDLE


def with_name(name: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    return lambda info: info if info.name != "./names.npy" else info.replace(name=name)


def with_type(type_: bytes, target: str = "") -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def change(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if info.name == "./names.npy":
            info.type, info.linkname, info.size = type_, target, 0
        return info

    return change


HOSTILE = {
    "parent": with_name("../names.npy"),
    "absolute": with_name("/tmp/names.npy"),
    "other folder": with_name("./deep/er/names.npy"),
    "program": with_name("./names.py"),
    "hidden": with_name("./.names.npy"),
    "long": with_name(f"./{'n' * 200}.npy"),
    "symbolic link": with_type(tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": with_type(tarfile.LNKTYPE, "./rows.npy"),
    "pipe": with_type(tarfile.FIFOTYPE),
    "device": with_type(tarfile.CHRTYPE),
    "sparse": with_type(tarfile.GNUTYPE_SPARSE),
    "missing array": lambda info: None if info.name == "./names.npy" else info,
    "missing manifest": lambda info: None if info.name == "./manifest.json" else info,
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tar_is_refused_and_writes_nothing_elsewhere(
    stores: Stores, street: Bundle, tmp_path: Path, change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None]
) -> None:
    with pytest.raises(InvalidEvidence):
        versions.upload_bundle(stores, io.BytesIO(tar_of(street, change)), "ci")

    assert versions.list_audit_events(stores) == []
    assert not [*tmp_path.rglob("names.py*")]
    assert not Path("/tmp/names.npy").exists()


def with_pairs(facts: BundleInputs, *pairs: tuple[int, int]) -> BundleInputs:
    count = len(pairs)
    inputs = CooccurrenceInputs(np.array(pairs, np.int16), np.full(count, 9, np.int32), np.ones((count, 3), np.int32))
    return replace(facts, pairs=inputs)


def with_labels(facts: BundleInputs, **values: object) -> BundleInputs:
    return replace(facts, labels=replace(facts.labels, **values))


TWICE = Labels(np.array([0, 2, 3, 4, 5], np.int32), np.array([0, 0, 1, 0, 2], np.int16), np.zeros(5, np.uint8))
INCONSISTENT: dict[str, Callable[[BundleInputs], BundleInputs]] = {
    "pair_classes: ": lambda facts: with_pairs(facts, (1, 0)),
    "pair_classes: a pair occurs twice": lambda facts: with_pairs(facts, (0, 1), (0, 1)),
    "problematic: ": lambda facts: with_labels(facts, problematic=np.ones(4, dtype=bool)),
    "label_classes: ": lambda facts: with_labels(facts, labels=TWICE),
}


@pytest.mark.parametrize("message", INCONSISTENT)
def test_an_inconsistent_bundle_is_refused(stores: Stores, street: Bundle, tmp_path: Path, message: str) -> None:
    """Otherwise the pages of an image with such a pair would fail."""
    write_bundle(INCONSISTENT[message](inputs_of(street)), tmp_path / "odd")

    with pytest.raises(InvalidEvidence, match=message):
        versions.upload_bundle(stores, io.BytesIO(tar_of(open_bundle(tmp_path / "odd"))), "ci")


@pytest.mark.slow
def test_an_altered_or_cut_tar_is_refused(stores: Stores, street: Bundle) -> None:
    content = tar_of(street)
    rng = np.random.default_rng(3)
    for cut in rng.integers(0, len(content) - 1024 * 10, 20).tolist():
        with pytest.raises(InvalidEvidence):
            versions.upload_bundle(stores, io.BytesIO(content[:cut]), "ci")
    for position in rng.integers(0, len(content), 60).tolist():
        altered = bytearray(content)
        altered[position] ^= 1 + int(rng.integers(0, 255))
        try:
            bundle = versions.upload_bundle(stores, io.BytesIO(bytes(altered)), "ci")
        except InvalidEvidence:
            continue
        assert bundle.digest == street.digest  # the byte was padding, or a field of a header without effect
        assert np.array_equal(bundle.verdicts, street.verdicts)


def test_content_outside_of_the_digest_is_computed_again(cluster: Cluster, street: Bundle, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(street.path, forged)
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["counts"]["superclasses"] = 77
    (forged / "manifest.json").write_text(json.dumps(manifest))
    stores = cluster.start("one", is_configured=False)

    bundle = versions.upload_bundle(stores, io.BytesIO(tar_of(replace(street, path=forged))), "ci")
    assert bundle.manifest.counts == street.manifest.counts

    np.save(forged / "verdicts.npy", np.ones_like(street.verdicts))  # every prediction is correct
    manifest["files"]["verdicts.npy"]["sha256"] = publications.sha256_of(forged / "verdicts.npy")
    (forged / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidEvidence, match="the verdicts differ from those of the rules"):
        versions.upload_bundle(stores, io.BytesIO(tar_of(replace(street, path=forged))), "ci")


@pytest.mark.parametrize("dataset", ["../../etc", "a/b", "", ".", "A", "x" * 65])
def test_a_data_set_name_that_is_no_folder_name_is_refused(
    stores: Stores, street: Bundle, tmp_path: Path, dataset: str
) -> None:

    write_bundle(replace(inputs_of(street), dataset=dataset), tmp_path / "odd")

    with pytest.raises(InvalidEvidence, match="invalid data set name"):
        versions.upload_bundle(stores, io.BytesIO(tar_of(open_bundle(tmp_path / "odd"))), "ci")


def test_pickled_arrays_and_compressed_or_large_uploads_are_refused(
    stores: Stores, street: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    np.save(content, np.array([{"a": print}], dtype=object), allow_pickle=True)

    def pickled(info: tarfile.TarInfo) -> tarfile.TarInfo:
        return info

    forged = tmp_path / "pickled"
    forged.mkdir()
    for file in street.path.iterdir():
        (forged / file.name).write_bytes(file.read_bytes())
    (forged / "names.npy").write_bytes(content.getvalue())
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["files"]["names.npy"] = {
        "sha256": publications.sha256_of(forged / "names.npy"),
        "bytes": len(content.getvalue()),
    }
    (forged / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidEvidence, match="Python objects"):
        versions.upload_bundle(stores, io.BytesIO(tar_of(replace(street, path=forged), pickled)), "ci")
    compressed = io.BytesIO()
    with tarfile.open(fileobj=compressed, mode="w:gz") as tar:
        tar.add(street.path, ".")
    with pytest.raises(InvalidEvidence, match="not the tar of a bundle"):
        versions.upload_bundle(stores, io.BytesIO(compressed.getvalue()), "ci")
    monkeypatch.setattr(versions, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(TooLarge):
        versions.upload_bundle(stores, io.BytesIO(tar_of(street)), "ci")
    bomb = tarfile.TarInfo("pax")
    bomb.type, bomb.size = tarfile.XHDTYPE, 1 << 40
    monkeypatch.setattr(versions, "MAX_BUNDLE_BYTES", 1 << 20)
    with pytest.raises(InvalidEvidence, match="not a plain file"):
        versions.upload_bundle(stores, io.BytesIO(bomb.tobuf(tarfile.GNU_FORMAT)), "ci")


def published_files(stores: Stores) -> Sequence[str]:
    return sorted(stores.evidence.published.publications.sizes())


def damage(stores: Stores, name: str, content: bytes) -> None:
    stores.evidence.published.publications.write(name, content)


def test_versions_share_files_and_parts_are_joined(
    cluster: Cluster, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publications, "PART_BYTES", 100)
    versions.publish(stores, "street", "", "root")
    num_files = len(published_files(stores))
    add_review(stores)

    built = versions.build_from_reviews(stores, "street", "", 1, "root")

    assert len(published_files(stores)) - num_files < num_files / 2
    other = cluster.start("two", is_configured=False)
    assert np.array_equal(other.evidence.find("street", built.digest).verdicts, built.verdicts)


@pytest.mark.parametrize("content", [b"", b"other"], ids=["truncated", "altered"])
def test_damaged_files_are_named_and_other_data_sets_remain_usable(
    cluster: Cluster, stores: Stores, content: bytes
) -> None:
    add_review(stores)
    built = versions.build_from_reviews(stores, "street", "", 1, "root")
    versions.set_default(stores, "street", built.digest, "root")
    for name in published_files(stores):
        damage(stores, name, content)

    other = cluster.start("two")

    with pytest.raises(EvidenceDamaged, match="Publish it again"):
        other.evidence.find("street", "")
    with pytest.raises(EvidenceDamaged):
        other.evidence.find("street", built.digest)
    assert other.evidence.find("street", cluster.street.digest).digest == cluster.street.digest
    assert other.evidence.find("demo", "").dataset == "demo"
    assert {manifest.digest for manifest in other.evidence.manifests()} == {
        cluster.street.digest,
        *(manifest.digest for manifest in other.evidence.manifests() if manifest.dataset == "demo"),
    }
    versions.publish(stores, "street", built.digest, "root")  # this process still has it
    assert other.evidence.find("street", "").digest == built.digest


def test_a_published_file_with_one_changed_bit_is_damaged(cluster: Cluster, stores: Stores) -> None:
    add_review(stores)
    built = versions.build_from_reviews(stores, "street", "", 1, "root")
    part = f"{built.manifest.files['verdicts.npy']['sha256']}.0000"
    content = stores.evidence.published.publications.read(part)
    assert content is not None
    damage(stores, part, content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(EvidenceDamaged, match=r"the SHA-256 of verdicts\.npy differs"):
        cluster.start("two").evidence.find("street", built.digest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "../street"}, "its data set or digest is invalid"),
        ({"digest": "../street"}, "its data set or digest is invalid"),
        ({"dataset": "other"}, "the manifest is of another bundle"),
        ({"digest": "0" * 64}, "the manifest is of another bundle"),
    ],
)
def test_an_event_that_names_another_bundle_is_refused(
    cluster: Cluster, stores: Stores, change: dict[str, str], message: str
) -> None:
    add_review(stores)
    built = versions.build_from_reviews(stores, "street", "", 1, "root")
    published = cluster.start("two").evidence.published
    event = published.events("street")[built.digest]

    with pytest.raises(EvidenceDamaged, match=message):
        published.fetch(replace(event, **change))


def test_the_error_of_published_evidence_of_other_rules_has_one_remedy(
    cluster: Cluster, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_review(stores)
    built = versions.build_from_reviews(stores, "street", "", 1, "root")
    other = cluster.start("two")
    monkeypatch.setattr(manifest_module, "RULES_VERSION", RULES_VERSION + 1)

    with pytest.raises(
        EvidenceDamaged, match=r"cannot be used: manifest\.json: .* of the rules.* Build the .* again\.$"
    ):
        other.evidence.published.fetch(other.evidence.published.events("street")[built.digest])


def test_a_publication_that_was_interrupted_is_not_visible_and_can_be_repeated(
    cluster: Cluster, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_review(stores)

    def fail(event: object) -> None:
        raise Unavailable("the power went out")

    with monkeypatch.context() as patch:
        patch.setattr(stores.evidence.published.publications, "append", fail)
        with pytest.raises(Unavailable):
            versions.build_from_reviews(stores, "street", "", 1, "root")

    assert published_files(stores)
    assert len(versions.list_versions(stores, "street")) == 1
    built = versions.build_from_reviews(stores, "street", "", 1, "root")
    assert cluster.start("two").evidence.find("street", built.digest).digest == built.digest


def test_unknown_evidence_cannot_be_the_default(stores: Stores) -> None:
    with pytest.raises(EvidenceNotFound, match="ffff"):
        versions.set_default(stores, "street", "ffff", "root")
    with pytest.raises(InvalidEvidence, match="change no label"):
        versions.build_from_reviews(stores, "street", "", 1, "root")

    assert versions.list_audit_events(stores) == []


@pytest.mark.parametrize("name", [b"a\nb.jpg", "\u202egpj.exe".encode(), b"", b"z" * 1025, b"b"])
def test_a_bundle_with_names_that_mislead_is_refused(
    stores: Stores, street: Bundle, tmp_path: Path, name: bytes
) -> None:
    facts = inputs_of(street)
    names = facts.labels.names.astype("S1100")
    assert names[1] == b"b"
    names[0] = name
    write_bundle(replace(facts, labels=replace(facts.labels, names=names)), tmp_path / "odd")

    with pytest.raises(InvalidEvidence, match="names: "):
        versions.upload_bundle(stores, io.BytesIO(tar_of(open_bundle(tmp_path / "odd"))), "ci")
