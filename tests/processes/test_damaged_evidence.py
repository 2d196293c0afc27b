"""The files of a bundle are truncated while the service runs; the process survives and recovers."""

import io
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client
from errata.errors import EvidenceDamaged

from service.evidence.bundle import Bundle

from .conftest import Serving, serving


@pytest.fixture
def service(imagenet_real: Bundle, demo: Bundle, tmp_path: Path) -> Iterator[Serving]:
    for bundle in (imagenet_real, demo):
        shutil.copytree(bundle.path.parent, tmp_path / "data" / "evidence" / bundle.dataset)
    with serving(tmp_path / "data", tmp_path / "archive", ERRATA_LOG_FORMAT="json") as running:
        yield running


def test_truncated_evidence_affects_only_its_callers_until_it_is_restored(
    service: Serving, imagenet_real: Bundle, demo_csv: bytes, tmp_path: Path
) -> None:
    folder = next((tmp_path / "data" / "evidence" / "imagenet-real").glob("*/"))
    predictions = b"file_name,predicted_class\n" + b"".join(b"%s,1\n" % name for name in imagenet_real.arrays["names"])
    failures: list[Exception] = []
    judged = threading.Semaphore(0)
    stop = threading.Event()

    def upload_until_stopped() -> None:
        with Client(service.grpc, attempts=1) as own:
            while not stop.is_set():
                try:
                    own.upload(io.BytesIO(predictions), "imagenet-real")
                except Exception as error:
                    failures.append(error)
                judged.release()

    with Client(service.grpc, attempts=1) as client:
        before = client.upload(io.BytesIO(predictions), "imagenet-real")
        callers = [threading.Thread(target=upload_until_stopped) for _ in range(3)]
        for caller in callers:
            caller.start()
        judged.acquire()
        for file in folder.glob("*.npy"):
            os.truncate(file, 0)
        deadline = time.monotonic() + 60
        while not failures and time.monotonic() < deadline:  # the files are checked once a second
            judged.acquire()
        for _ in range(30):
            judged.acquire()
        stop.set()
        for caller in callers:
            caller.join()

        assert service.process.poll() is None
        assert failures
        for error in failures:
            assert isinstance(error, EvidenceDamaged), repr(error)
            assert f"imagenet-real ({imagenet_real.digest[:12]})" in error.message
            assert str(tmp_path) not in error.message
        for call in (
            lambda: client.upload(io.BytesIO(predictions), "imagenet-real"),
            lambda: next(client.verdicts(before.name)),
            lambda: client.explain(before.name, imagenet_real.judged_names[0]),
        ):
            with pytest.raises(EvidenceDamaged):
                call()
        assert client.upload(io.BytesIO(demo_csv), "demo").summary.groups

        for file in folder.glob("*.npy"):
            file.write_bytes((imagenet_real.path / file.name).read_bytes())

        assert client.upload(io.BytesIO(predictions), "imagenet-real").summary == before.summary
