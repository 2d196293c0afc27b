"""The requests that both clients send."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from errata.v1 import errata_pb2 as pb

CHUNK = 1 << 19  # bytes


def create_request(
    model: str,
    dataset: str,
    evidence: str,
    display_name: str,
    labels: Mapping[str, str] | None,
    request_id: str,
    fresh: bool,
    gate_policy: str,
    gate_baseline: str,
) -> pb.CreateAnalysisRequest:
    """Return a request for a model; one without an id is given one, so that it can be repeated safely."""
    return pb.CreateAnalysisRequest(
        model=model,
        dataset=dataset,
        evidence=evidence,
        display_name=display_name,
        labels=labels or {},
        request_id=request_id or uuid.uuid4().hex,
        fresh=fresh,
        gate_policy=gate_policy,
        gate_baseline=gate_baseline,
    )


def upload_header(
    predictions: str | Path | BinaryIO,
    dataset: str,
    evidence: str,
    display_name: str,
    labels: Mapping[str, str] | None,
    request_id: str,
    row_order: "pb.RowOrder",
    fresh: bool,
    gate_policy: str,
    gate_baseline: str,
) -> pb.UploadHeader:
    """Return an upload's header; one without a name is called by its file's."""
    if not display_name and isinstance(predictions, str | Path):
        display_name = Path(predictions).name
    return pb.UploadHeader(
        dataset=dataset,
        evidence=evidence,
        display_name=display_name,
        labels=labels or {},
        request_id=request_id,
        row_order=row_order,
        fresh=fresh,
        gate_policy=gate_policy,
        gate_baseline=gate_baseline,
    )


def messages(header: pb.UploadHeader, content: BinaryIO) -> Iterator[pb.UploadPredictionsRequest]:
    """Yield an upload's messages: the header, then the file piece by piece."""
    yield pb.UploadPredictionsRequest(header=header)
    while chunk := content.read(CHUNK):
        yield pb.UploadPredictionsRequest(chunk=chunk)


def predicted_class(predicted: int | str | None) -> dict[str, Any]:
    """Return the fields of an ExplainVerdictRequest for a class: an index, or a text that the service resolves."""
    return {"predicted_class": predicted} if isinstance(predicted, str) else {"predicted": predicted}
