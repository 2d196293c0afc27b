"""Published evidence: processes share it without a restart, and a killed publisher leaves nothing half visible."""

import io
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from errata import Client
from indexed_archive import InMemoryIndexedArchive

from service.analyses import evidence_versions
from service.analyses.ports import Stores
from service.archive.files import open_files
from service.archive.publications import ArchivePublications
from service.archive.record_log import RecordLog
from service.domain import Review
from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository
from service.jobs.memory import InMemoryJobStore

from .cluster import wait_for
from .conftest import serving

# Builds and publishes evidence from the reviews of an archive; killed at the Nth flush of a file to the disk.
PUBLISHER = """
import os, sys
from pathlib import Path
sys.path += sys.argv[4].split(":")
import indexed_archive
indexed_archive.MEMORY = Path(sys.argv[1]).parent  # a killed process removes no folders
from processes.test_published_evidence import open_stores
from service.analyses import evidence_versions
fsync, calls = os.fsync, []
def kill_at(file):
    calls.append(file)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    fsync(file)
os.fsync = kill_at
stores = open_stores(Path(sys.argv[1]), Path(sys.argv[2]))
built = evidence_versions.build_from_reviews(stores, "demo", "", 1, "root")
evidence_versions.set_default(stores, "demo", built.digest, "root")
"""
ROOT = Path(__file__).parents[2]


def open_stores(archive: Path, data_dir: Path) -> Stores:
    """Return the stores of a process with this archive."""
    analyses = InMemoryIndexedArchive()
    return Stores(
        EvidenceRepository({}, data_dir, ArchivePublications(str(archive), refresh_seconds=0.0)),
        InMemoryJobStore(lambda: 0.0),
        analyses,
        analyses.index,
        lambda: datetime.now(UTC),
        RecordLog(open_files(str(archive / "reviews")), Review),
    )


def add_review(stores: Stores, demo: Bundle, number: int = 1, label: int = 7) -> None:
    class_id = demo.label_space.ids[label]
    stores.reviews.append(
        Review(
            f"{number:032x}",
            "demo",
            demo.judged_names[0],
            demo.digest,
            "ann",
            True,
            datetime.now(UTC),
            added=(class_id,),
        )
    )


@pytest.mark.slow
def test_a_publisher_that_is_killed_at_any_write_leaves_all_or_nothing(demo: Bundle, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    stores = open_stores(archive, tmp_path / "data")
    add_review(stores, demo)
    python_path = f"{ROOT}:{ROOT / 'client'}:{ROOT / 'tests'}"
    killed = 0
    for number in (1, 20, 24, 26, 27, 28, 29, 35, 42, 1000):
        program = [sys.executable, "-c", PUBLISHER, str(archive), str(tmp_path / f"{number}"), str(number), python_path]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        done = subprocess.run(program, check=False, capture_output=True, text=True, env=environment)
        killed += done.returncode == -signal.SIGKILL
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        reader = open_stores(archive, tmp_path / f"reader of {number}")
        for version in evidence_versions.list_versions(reader, "demo"):  # whatever is visible is complete
            bundle = reader.evidence.find("demo", version.manifest.digest)
            assert bundle.judge(bundle.evidence.targets).shape == (20,)
        events = evidence_versions.list_audit_events(reader)
        assert len(events) <= 2
        if done.returncode == 0:
            break

    assert killed > 3
    reader = open_stores(archive, tmp_path / "last")
    assert [event.action for event in evidence_versions.list_audit_events(reader)] == ["set-default", "build"]
    assert reader.evidence.find("demo", "").evidence.labels.of(0).tolist()[-1] == 7


def test_two_services_have_published_evidence_without_a_restart(demo: Bundle, demo_csv: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    admin = open_stores(archive, tmp_path / "admin")
    with serving(tmp_path / "one", archive) as first, serving(tmp_path / "two", archive) as second:
        clients = [Client(service.grpc, attempts=1) for service in (first, second)]
        before = [client.upload(io.BytesIO(demo_csv), "demo") for client in clients]
        assert {analysis.evidence.rpartition("/")[2] for analysis in before} == {demo.digest}
        add_review(admin, demo, label=int(demo_label(demo_csv)))
        built = evidence_versions.build_from_reviews(admin, "demo", "", 1, "root")

        for client in clients:
            wait_for(
                lambda client=client: built.digest in {e.digest for e in client.evidence_bundles("demo")},
                "the service lists the evidence",
            )
            assert client.upload(io.BytesIO(demo_csv), "demo").evidence.endswith(demo.digest)
        evidence_versions.set_default(admin, "demo", built.digest, "root")
        for client in clients:
            wait_for(
                lambda client=client: client.dataset("demo").default_evidence.endswith(built.digest),
                "the service has the default",
            )
            after = client.upload(io.BytesIO(demo_csv), "demo")
            assert after.evidence.endswith(built.digest)
            assert after.summary.groups["all"].counts != before[0].summary.groups["all"].counts
            again = client.reanalyze(before[0].name, built.digest)
            assert again.summary.groups["all"].counts == after.summary.groups["all"].counts
        first.process.kill()
        first.process.wait()
        for client in clients:
            client.close()

    with serving(tmp_path / "three", archive) as third, Client(third.grpc, attempts=1) as client:
        assert client.dataset("demo").default_evidence.endswith(built.digest)


def demo_label(demo_csv: bytes) -> bytes:
    """Return the class that the model predicts for the first photograph."""
    return demo_csv.splitlines()[1].rpartition(b",")[2]
