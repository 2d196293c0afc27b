"""Conversion of the values in Redis: records, specs, and offers as JSON with a schema version, shard results as npz.

transitions.lua writes the other fields as text. See domain/schema_version.py for the rules of schema versions.
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

SCHEMA = 1  # schema number of records and specs
MAX_TIME = 253_000_000_000.0  # seconds: the year 9987
MAX_NAMES_BYTES = 256 << 20  # size limit of the image names of a data set
DAMAGE_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
)
_NEWER = re.compile(r"NEWER (?P<schema>\d+) (?P<what>.+)", re.DOTALL)
_ENTRIES, _SPECS, _OFFERS = TypeAdapter(AnalysisRecord), TypeAdapter(JobSpec), TypeAdapter(WorkerOffer)


def record_json(record: AnalysisRecord) -> str:
    """Return the constant fields of a record as JSON."""
    return to_json(
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
    """Return the id of a new job, its spec as JSON, the number of shards, and the dedupe key."""
    document = {"schema": SCHEMA} | asdict(spec)
    document["asked"] = document.pop("call_id")  # the stored name
    return uuid.uuid4().hex, to_json(document), spec.num_shards, spec.dedupe_key


def submission_from_reply(reply: Sequence[Any]) -> Submission:
    """Return the submission in a script's reply."""
    outcome, analysis, job, num_open = reply
    return Submission(Outcome(outcome.decode()), analysis.decode(), job.decode(), int(num_open))


@contextmanager
def translate_damage(what: str) -> Iterator[None]:
    """Convert the errors of reading an invalid record to DamagedRecord."""
    try:
        yield
    except DAMAGE_ERRORS as error:
        raise DamagedRecord(f"The job store's record of {what} is damaged. See the service's log.") from error


def snapshot_from_reply(analysis_id: str, reply: Sequence[Any]) -> Snapshot:
    """Return the record and the job in a script's reply.

    Raises:
        NewerRecord: A newer version wrote the record.
        DamagedRecord: The record is invalid.
    """
    with translate_damage(f"the open analysis {analysis_id}"):
        return _snapshot(analysis_id, reply)


def _snapshot(analysis_id: str, reply: Sequence[Any]) -> Snapshot:
    record, job, position, live_workers, now = reply
    fields = _fields(record)
    document = _parse_document(f"the open analysis {analysis_id}", fields["entry"])
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
            "failure": _failure_from_json(fields["failure"]),
            "ended": float(fields["ended"]) if fields["ended"] else None,
        }
    )
    if not 0 <= record.created < MAX_TIME or not 0 <= (record.ended or 0) < MAX_TIME:
        raise ValueError(f"expected times between 1970 and 9987, got {record.created} and {record.ended}")
    job = job_from_reply(record.job, job) if job else None
    return Snapshot(record, job, int(position), int(live_workers), float(now))


def job_from_reply(job_id: str, reply: Sequence[Any]) -> Job:
    """Return the job in a script's reply, with its shards.

    Raises:
        NewerRecord: A newer version wrote the record.
        DamagedRecord: The record is invalid.
    """
    with translate_damage(f"the job {job_id}"):
        return _job(job_id, reply)


def _job(job_id: str, reply: Sequence[Any]) -> Job:
    record, analyses, shards = reply
    fields = _fields(record)
    document = _parse_document(f"the job {job_id}", fields["spec"])
    if "asked" in document:
        document["call_id"] = document.pop("asked")  # the stored name
    spec = _SPECS.validate_python(known_fields(JobSpec, document))
    if len(shards) != spec.num_shards:
        raise ValueError(f"expected {spec.num_shards} shards, got {len(shards)}")
    return Job(
        id=job_id,
        spec=spec,
        shards=tuple(_shard(_fields(shard)) for shard in shards),
        created=float(fields["created"]),
        state=State[fields["state"]],
        started=float(fields["started"]) if fields["started"] else None,
        judging_token=int(fields["judge_fence"]),
        failure=_failure_from_json(fields["failure"]),
        analyses=frozenset(analysis.decode() for analysis in analyses),
    )


def _shard(fields: Mapping[str, str]) -> Shard:
    return Shard(
        state=State[fields["state"]],
        fencing_token=int(fields["fence"]),
        lease=float(fields["lease"]),
        worker=fields["worker"],
        claimed_at=float(fields.get("began", "0")),  # the first versions did not write it
        crashes=int(fields["crashes"]),
        retries=int(fields["retries"]),
        retry_at=float(fields["retry_at"]),
        done=int(fields["done"]),
    )


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _parse_document(what: str, text: str) -> dict[str, Any]:
    """Return a JSON document; raise NewerRecord if a newer version wrote it."""
    document: dict[str, Any] = json.loads(text)
    if "\\ud" in text.lower():  # a lone surrogate, which JSON can escape but UTF-8 cannot encode
        json.dumps(document, ensure_ascii=False).encode()
    check_schema(what, document.get("schema", 1), SCHEMA)  # the first versions did not write a schema
    return document


def check_newer(reply: str) -> None:
    """Raise NewerRecord if transitions.lua refused to change a record of a newer version."""
    if refusal := _NEWER.fullmatch(reply):
        check_schema(refusal["what"], int(refusal["schema"]), SCHEMA)


def _failure_from_json(text: str) -> Failure | None:
    return Failure(**known_fields(Failure, json.loads(text))) if text else None


def to_json(document: object) -> str:
    """Return a document as JSON."""
    return json.dumps(document, separators=(",", ":"))


def offer_from_json(content: bytes) -> WorkerOffer:
    """Return the offer of a worker; raise DamagedRecord if it is invalid."""
    with translate_damage("a worker's offer"):
        return _OFFERS.validate_json(content)


def pack_names(names: Sequence[str]) -> bytes:
    """Return image names as compressed text."""
    return zlib.compress("\n".join(names).encode())


def unpack_names(digest: str, content: bytes) -> Sequence[str]:
    """Return the image names of compressed text; raise DamagedRecord if it is truncated, too large, or not text."""
    with translate_damage(f"the image names {digest[:12]}"):
        decompressor = zlib.decompressobj()
        try:
            text = decompressor.decompress(content, MAX_NAMES_BYTES)
        except zlib.error as error:
            raise ValueError("expected zlib data") from error
        if not decompressor.eof:
            raise ValueError(f"expected at most {MAX_NAMES_BYTES} bytes of names, complete")
        return tuple(text.decode().split("\n")) if text else ()


def pack_shard_result(result: ShardResult) -> bytes:
    """Return a shard's predictions and their model as npz."""
    content = io.BytesIO()
    info = np.frombuffer(to_json(asdict(result.model_info)).encode(), dtype=np.uint8)
    arrays: dict[str, NDArray[Any]] = {"info": info, "top1": result.predictions.top1}
    if result.predictions.probability is not None:
        arrays["probability"] = result.predictions.probability
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def unpack_shard_result(content: bytes) -> ShardResult:
    """Return a shard's predictions and their model from npz; raise DamagedRecord if they are invalid."""
    with translate_damage("predictions"), read_arrays(content) as arrays:
        info = json.loads(arrays["info"].tobytes())
        predictions = checked_predictions(Predictions(arrays["top1"], arrays.get("probability")))
        return ShardResult(predictions, ModelInfo(**known_fields(ModelInfo, info)))
