"""The records in Redis: analyses and specs as JSON with a schema version (domain/schema_version.py), results as npz.

Hashes of the rest are flat text, as the scripts of moves.lua write them.
"""

import io
import json
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from errata.errors import DamagedRecord
from numpy.typing import NDArray
from pydantic import TypeAdapter

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions, RowOrder, State
from service.domain.schema_version import check_schema, checked_predictions, known_fields
from service.jobs.store import Outcome, Snapshot, Submission, WorkerOffer
from service.jobs.transitions import AnalysisRecord, Job, JobSpec, Shard, ShardResult
from service.storage import read_arrays

SCHEMA = 1  # of entries and specs
MAX_TIME = 253_000_000_000.0  # seconds: the year 9987
MAX_NAMES = 256 << 20  # bytes of the names of a data set's images
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, MemoryError)
_NEWER = re.compile(r"NEWER (?P<schema>\d+) (?P<what>.+)", re.DOTALL)
_ENTRIES, _SPECS, _OFFERS = TypeAdapter(AnalysisRecord), TypeAdapter(JobSpec), TypeAdapter(WorkerOffer)


def entry_document(record: AnalysisRecord) -> str:
    """Return what is kept of an entry but its state, as JSON."""
    return dumped(
        {
            "schema": SCHEMA,
            "request": asdict(record.request) | {"row_order": record.request.row_order.name},
            "request_digest": record.request_digest,
            "evidence": record.evidence,
            "created": record.created,
            "owner": record.owner,
        }
    )


def job_arguments(spec: JobSpec) -> tuple[str, str, int, str]:
    """Return the id of a new job, what it computes, its shards, and what equal ones are known by."""
    return uuid.uuid4().hex, dumped({"schema": SCHEMA} | asdict(spec)), spec.num_shards, spec.dedupe


def submission_of(said: Sequence[Any]) -> Submission:
    """Return what a script said of a submission."""
    outcome, analysis, job, is_open = said
    return Submission(Outcome(outcome.decode()), analysis.decode(), job.decode(), int(is_open))


@contextmanager
def whole(what: str) -> Iterator[None]:
    """Raise DamagedRecord where a record isn't as some version wrote it, whoever did."""
    try:
        yield
    except DAMAGE as error:
        raise DamagedRecord(f"{what}: expected a record of Errata's, got another; the log has it") from error


def snapshot_of(analysis_id: str, found: Sequence[Any]) -> Snapshot:
    """Return an entry with its job; raise NewerRecord for a newer version's, DamagedRecord for no version's."""
    with whole(f"the open analysis {analysis_id}"):
        return _snapshot(analysis_id, found)


def _snapshot(analysis_id: str, found: Sequence[Any]) -> Snapshot:
    record, job, ahead, alive, now = found
    fields = _fields(record)
    document = _read(f"the open analysis {analysis_id}", fields["entry"])
    request = known_fields(AnalysisRequest, document["request"])
    record = _ENTRIES.validate_python(
        {
            "id": analysis_id,
            "request": request | {"row_order": RowOrder[request["row_order"]]},
            "request_digest": document["request_digest"],
            "evidence": document["evidence"],
            "created": document["created"],
            "owner": document["owner"],
            "job": fields["job"],
            "state": State[fields["state"]],
            "failure": _failure(fields["failure"]),
            "ended": float(fields["ended"]) if fields["ended"] else None,
        }
    )
    if not 0 <= record.created < MAX_TIME or not 0 <= (record.ended or 0) < MAX_TIME:
        raise ValueError(f"expected times of this age, got {record.created} and {record.ended}")
    return Snapshot(record, job_of(record.job, job) if job else None, int(ahead), int(alive), float(now))


def job_of(job_id: str, found: Sequence[Any]) -> Job:
    """Return a job with its shards; raise NewerRecord for one that a newer version wrote, DamagedRecord for no job."""
    with whole(f"the job {job_id}"):
        return _job(job_id, found)


def _job(job_id: str, found: Sequence[Any]) -> Job:
    record, analyses, shards = found
    fields = _fields(record)
    spec = _SPECS.validate_python(known_fields(JobSpec, _read(f"the job {job_id}", fields["spec"])))
    if len(shards) != spec.num_shards:
        raise ValueError(f"expected {spec.num_shards} shards, got {len(shards)}")
    return Job(
        id=job_id,
        spec=spec,
        shards=tuple(_shard(_fields(shard)) for shard in shards),
        created=float(fields["created"]),
        state=State[fields["state"]],
        started=float(fields["started"]) if fields["started"] else None,
        judge_fence=int(fields["judge_fence"]),
        failure=_failure(fields["failure"]),
        analyses=frozenset(analysis.decode() for analysis in analyses),
    )


def _shard(fields: Mapping[str, str]) -> Shard:
    return Shard(
        state=State[fields["state"]],
        fencing_token=int(fields["fence"]),
        lease=float(fields["lease"]),
        worker=fields["worker"],
        began=float(fields.get("began", "0")),  # the first versions wrote none
        crashes=int(fields["crashes"]),
        retries=int(fields["retries"]),
        retry_at=float(fields["retry_at"]),
        done=int(fields["done"]),
    )


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _read(what: str, text: str) -> dict[str, Any]:
    """Return a document; raise NewerRecord for one that a newer version wrote."""
    document: dict[str, Any] = json.loads(text)
    if "\\ud" in text.lower():  # JSON holds halves of characters, which no message does
        json.dumps(document, ensure_ascii=False).encode()
    check_schema(what, document.get("schema", 1), SCHEMA)  # the first versions wrote no number
    return document


def check_newer(reply: str) -> None:
    """Raise NewerRecord for the error by which moves.lua refuses to touch a newer version's record."""
    if refusal := _NEWER.fullmatch(reply):
        check_schema(refusal["what"], int(refusal["schema"]), SCHEMA)


def _failure(text: str) -> Failure | None:
    return Failure(**known_fields(Failure, json.loads(text))) if text else None


def dumped(document: object) -> str:
    """Return a document as JSON."""
    return json.dumps(document, separators=(",", ":"))


def offer_of(content: bytes) -> WorkerOffer:
    """Return what a worker can do; raise DamagedRecord for what no worker wrote."""
    with whole("a worker's offer"):
        return _OFFERS.validate_json(content)


def packed_names(names: Sequence[str]) -> bytes:
    """Return the names of a data set's images, packed."""
    return zlib.compress("\n".join(names).encode())


def unpacked_names(digest: str, content: bytes) -> Sequence[str]:
    """Return names as they were packed; raise DamagedRecord for what is too large, or no text."""
    with whole(f"the image names {digest[:12]}"):
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(content, MAX_NAMES)
        except zlib.error as error:
            raise ValueError("expected what zlib packed") from error
        if not unpacking.eof:
            raise ValueError(f"expected at most {MAX_NAMES} bytes of names, and all of them")
        return tuple(text.decode().split("\n")) if text else ()


def packed(part: ShardResult) -> bytes:
    """Return a shard's predictions, and what made them, as npz."""
    content = io.BytesIO()
    info = np.frombuffer(dumped(asdict(part.model_info)).encode(), dtype=np.uint8)
    arrays: dict[str, NDArray[Any]] = {"info": info, "top1": part.predictions.top1}
    if part.predictions.probability is not None:
        arrays["probability"] = part.predictions.probability
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def unpacked(content: bytes) -> ShardResult:
    """Return a shard's predictions; raise DamagedRecord for what isn't as it was packed."""
    with whole("predictions"), read_arrays(content) as arrays:
        info = json.loads(arrays["info"].tobytes())
        predictions = checked_predictions(Predictions(arrays["top1"], arrays.get("probability")))
        return ShardResult(predictions, ModelInfo(**known_fields(ModelInfo, info)))
