"""A service removes the files that killed writers left behind."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from errata import Client

from service.storage import ORPHAN_SECONDS

from .cluster import wait_for
from .conftest import serving

# killed after the predictions are stored, while the document is written
WRITER = """
import os, sys
from datetime import UTC, datetime
import numpy as np
from service.archive.archive import FileArchive
from service.archive.files import open_files
from service.domain import Analysis, AnalysisRequest, Predictions, State
fsync, calls = os.fsync, []
def kill_at_the_document(file):
    calls.append(file)
    if len(calls) == 2:
        os.kill(os.getpid(), 9)
    fsync(file)
os.fsync = kill_at_the_document
analysis = Analysis(sys.argv[2], AnalysisRequest("demo"), State.FAILED, "e" * 64, datetime.now(UTC))
FileArchive(open_files(sys.argv[1])).put(analysis, Predictions(np.zeros(5, dtype=np.int16)))
"""
EVENT_WRITER = """
import os, sys
from datetime import UTC, datetime
from service.archive.files import open_files
from service.archive.record_log import RecordLog
from service.domain import AuditAction, AuditEvent
os.fsync = lambda _: os.kill(os.getpid(), 9)
event = AuditEvent("0" * 32, datetime.now(UTC), "ann", AuditAction.CREATE, "demo")
RecordLog(open_files(sys.argv[1]), AuditEvent).append(event)
"""
BUILDER = """
import os, sys
from pathlib import Path
from service.storage import atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "verdicts.npy").write_bytes(b"half")
    os.kill(os.getpid(), 9)
"""


def run_until_killed(program: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL


def names(folder: Path) -> set[str]:
    """Return the names of all files and folders, without the audit log and its complete events."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    return {path for path in paths if not re.fullmatch(r"audit-analyses(/[0-9a-f]{32}\.json)?", path)}


def test_a_service_removes_old_orphaned_files_at_its_start(tmp_path: Path, demo_csv: bytes) -> None:
    archive, data = tmp_path / "archive", tmp_path / "data"
    run_until_killed(WRITER, str(archive), "old")
    run_until_killed(EVENT_WRITER, str(archive / "audit-analyses"))
    run_until_killed(BUILDER, str(data / "evidence" / "mine" / "first"))
    assert len(names(archive)) == 3, "the predictions, an incomplete document, and an incomplete event"
    for path in (*archive.rglob("*"), *data.rglob("*")):
        os.utime(path, (time.time() - 2 * ORPHAN_SECONDS,) * 2)
    before = names(archive)
    run_until_killed(WRITER, str(archive), "new")
    young = names(archive) - before

    with serving(data, archive) as service, Client(service.grpc) as client:
        wait_for(lambda: not before & names(archive), "the orphaned files are removed")
        wait_for(lambda: not names(data / "evidence" / "mine"), "the scratch folder is removed")
        analysis = client.upload(io.BytesIO(demo_csv), "demo")

        assert names(archive) - young == {
            f"{analysis.name.removeprefix('analyses/')}{end}" for end in (".json", ".predictions.npz")
        }
        assert young <= names(archive)
