"""Uploads over a real socket: hostile files, and valid files with known verdicts."""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import grpc
import numpy as np
import pyarrow as pa
from errata import v1 as pb
from errata.v1 import analysis_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pyarrow import parquet

from service.evidence.bundle import Bundle

CHUNK = 1 << 19  # bytes
PAUSE = 0.05  # seconds before an upload that was refused for now is repeated


@dataclass(frozen=True)
class Answer:
    """The result of a call."""

    code: grpc.StatusCode
    reason: str  # of the error's details, or empty
    message: str
    seconds: float
    analysis: Any = None  # pb.Analysis of an upload that was accepted

    @property
    def text(self) -> str:
        """Return code and reason."""
        return f"{self.code.name} {self.reason}".strip()


def send(address: str, content: BinaryIO, dataset: str, timeout: float) -> Answer:
    """Upload a file in pieces over a new connection, and return the result of the call."""

    def messages() -> Iterator[pb.UploadPredictionsRequest]:
        yield pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset=dataset)))
        while chunk := content.read(CHUNK):
            yield pb.UploadPredictionsRequest(chunk=chunk)

    started = time.monotonic()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_metadata_size", 64 << 10)]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            analysis = analysis_service_pb2_grpc.AnalysisServiceStub(channel).UploadPredictions(
                messages(), timeout=timeout
            )
        except grpc.RpcError as error:
            reason, message = _reason(error), error.details() or ""
            return Answer(error.code(), reason, message, time.monotonic() - started)
    return Answer(grpc.StatusCode.OK, "", "", time.monotonic() - started, analysis)


def _reason(error: grpc.RpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return str(info.reason)
    return ""


@dataclass(frozen=True)
class GoodUpload:
    """A file for the 20 photographs with two wrong predictions."""

    content: bytes
    correct: int
    errors: int

    def send(self, address: str, timeout: float) -> Answer:
        """Upload the file, and retry while the service is too busy.

        Raises:
            AssertionError: The service does not accept it in time, or counts other verdicts.
        """
        started = time.monotonic()
        while True:
            left = timeout - (time.monotonic() - started)
            answer = send(address, io.BytesIO(self.content), "demo", max(left, PAUSE))
            if answer.reason != "TOO_BUSY" or left < PAUSE:
                break
            time.sleep(PAUSE)
        assert answer.code is grpc.StatusCode.OK, f"a good upload ended with {answer.text}: {answer.message:.200}"
        counts = answer.analysis.summary.groups["all"]
        assert (counts.counts["correct"], counts.top1_errors) == (self.correct, self.errors)
        return Answer(answer.code, "", "", time.monotonic() - started, answer.analysis)


def good_uploads(demo: Bundle) -> tuple[GoodUpload, ...]:
    """Return good files as CSV, which streams, and as Parquet, which takes the way of the hostile binary files."""
    predicted = np.array(demo.all_targets)
    predicted[:2] = np.where(predicted[:2] == 0, 1, 0)
    names = [str(name) for name in demo.judged_names]
    rows = "".join(f"{name},{value}\n" for name, value in zip(names, predicted.tolist(), strict=True))
    file = io.BytesIO()
    parquet.write_table(pa.table({"file_name": names, "top1": predicted}), file)
    contents = (("file_name,top1\n" + rows).encode(), file.getvalue())
    return tuple(GoodUpload(content, correct=len(names) - 2, errors=2) for content in contents)
