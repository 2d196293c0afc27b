"""Conversion of stored values: records, specs, and offers as JSON with a schema version, shard results as npz.

All other stored values are text. See domain/schema_version.py for the rules of schema versions.
"""

import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from errata.errors import DamagedRecord, NewerRecord
from numpy.typing import NDArray
from pydantic import TypeAdapter

from service.domain import Failure, LabelSpace, ModelInfo, Predictions, RowOrder, State, parse_class_lines
from service.domain.schema_version import check_schema, checked_predictions, known_fields
from service.jobs.transitions import (
    AnalysisRecord,
    Job,
    JobSpec,
    JobStatus,
    RecordStatus,
    Shard,
    ShardResult,
    WorkerOffer,
)
from service.key_value.commands import PREFIX, Command, Reply, format_time, values
from service.storage import read_arrays

FIRST_SCHEMA = 1  # schema number of records, and of specs of jobs on ImageNet-1k
SCHEMA = 2  # schema number of the specs of all other jobs: versions that know only ImageNet-1k refuse it
MAX_TIME = 253_000_000_000.0  # seconds since 1970: the year 9987
MAX_COUNT = (1 << 31) - 1
MAX_NAMES_BYTES = 256 << 20  # size limit of the image names of a data set
DAMAGE_ERRORS = ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError
ShardKey = tuple[str, int]  # the id of a job, and the index of a shard
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Document = TypeVar("Document", bound=RecordStatus | JobStatus | Shard)
_ENTRIES, _SPECS, _OFFERS = TypeAdapter(AnalysisRecord), TypeAdapter(JobSpec), TypeAdapter(WorkerOffer)
_FAILURES = TypeAdapter(Failure)


def _parse_count(text: str) -> int:
    if not 0 <= (count := int(text)) <= MAX_COUNT:
        raise ValueError(f"expected a number up to {MAX_COUNT}, got {count}")
    return count


def _parse_time(text: str) -> float:
    if not 0 <= (time := float(text or 0)) < MAX_TIME:  # the first versions did not write all times
        raise ValueError(f"expected a time between 1970 and 9987, got {time}")
    return time


STORED_NAMES = {  # stored names of the attributes that the hash stores under another name
    "num_shards": "shards",
    "num_shards_left": "left",
    "dedupe_key": "dedupe",
    "judging_token": "judge_fence",
    "judging_sent": "sent",
    "fencing_token": "fence",
    "claimed_at": "began",
}
# For each type: how its text is read, and how it is written.
CODECS: dict[object, tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    str: (str, str),
    int: (_parse_count, str),
    bool: (lambda text: text == "1", lambda value: "1" if value else ""),
    float: (_parse_time, format_time),
    float | None: (
        lambda text: _parse_time(text) if text else None,
        lambda time: "" if time is None else format_time(time),
    ),
    State: (State.__getitem__, lambda state: state.name),
    Failure | None: (
        lambda text: _FAILURES.validate_json(text) if text else None,
        lambda failure: to_json(asdict(failure)) if failure else "",
    ),
}


class Table(Generic[Document]):
    """Documents of one kind, each stored as a hash: the attributes of a dataclass except its id, and constant fields.

    Args:
        kind: The dataclass.
        key: The key of a document without its id.
        name: The name of a document without its id, for error messages.
        constant: The name of the field with the constant fields as JSON; empty if there is none.
    """

    def __init__(self, kind: type[Document], key: str, name: str, constant: str = "") -> None:
        self.name = name
        self._kind = kind
        self._key = f"{PREFIX}{key}:"
        attributes = {field.name: field.type for field in fields(kind)}
        self._has_id = attributes.pop("id", None) is not None
        self._codecs = {STORED_NAMES.get(name, name): (name, *CODECS[of]) for name, of in attributes.items()}
        self._fields = [*self._codecs, constant] if constant else [*self._codecs]

    def command(self, id: str) -> Command:
        """Return the command that reads a document. The constant fields, if the document has any, are last."""
        return "HMGET", self._key + id, *self._fields

    def read(self, id: str, reply: Reply) -> Document | None:
        """Return a document from its fields; None if it does not exist. Raise DamagedRecord if it is invalid."""
        with translate_damage(f"{self.name} {id}"):
            content = [(value or b"").decode() for value in values(reply)[: len(self._codecs)]]
            if not any(content):
                return None
            attributes: dict[str, Any] = {"id": id} if self._has_id else {}
            for (name, parse, _), text in zip(self._codecs.values(), content, strict=True):
                attributes[name] = parse(text)
            return self._kind(**attributes)

    def read_constant(self, id: str, reply: Reply) -> dict[str, Any]:
        """Return the constant fields of a document.

        Raises:
            NewerRecord: A newer version wrote the document.
            DamagedRecord: The fields are invalid.
        """
        with translate_damage(f"{self.name} {id}"):
            text = (values(reply)[-1] or b"").decode()
            document: dict[str, Any] = json.loads(text)
            if "\\ud" in text.lower():  # raises for a lone surrogate, which JSON can escape but UTF-8 cannot encode
                json.dumps(document, ensure_ascii=False).encode()
            schema = document.get("schema", FIRST_SCHEMA)  # the first versions did not write it
            check_schema(f"{self.name} {id}", schema, SCHEMA)
            return document

    def format(self, document: Document) -> list[str]:
        """Return the stored names and the texts of the attributes of a document, as HSET expects them."""
        codecs = self._codecs.items()
        return [text for stored, (name, _, write) in codecs for text in (stored, write(getattr(document, name)))]


def record_json(record: AnalysisRecord) -> str:
    """Return the constant fields of a record as JSON."""
    request = asdict(record.request) | {"row_order": record.request.row_order.name}
    names = "request_digest", "evidence", "created", "owner", "trace"
    return to_json({"schema": FIRST_SCHEMA, "request": request} | {name: getattr(record, name) for name in names})


def spec_json(spec: JobSpec) -> str:
    """Return the specification of a job as JSON."""
    document = {"schema": SCHEMA if spec.classes else FIRST_SCHEMA} | asdict(spec)
    document["asked"] = document.pop("call_id")  # the stored name
    return to_json(document)


@contextmanager
def translate_damage(what: str) -> Iterator[None]:
    """Convert the errors of reading an invalid record to DamagedRecord."""
    try:
        yield
    except (*DAMAGE_ERRORS, zlib.error) as error:
        raise DamagedRecord(f"The job store's record of {what} is damaged. See the service's log.") from error


def read_or_none(read: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | None:
    """Return the result of a function; None if a record that it reads is damaged, or if a newer version wrote it."""
    with suppress(DamagedRecord, NewerRecord):
        return read(*args, **kwargs)
    return None


ANALYSES = Table(RecordStatus, "analysis", "the open analysis", constant="entry")
JOBS = Table(JobStatus, "job", "the job", constant="spec")
SHARDS = Table(Shard, "shard", "the shard")


def read_record(analysis_id: str, reply: Reply) -> AnalysisRecord | None:
    """Return a record from its fields; None if it does not exist.

    Raises:
        NewerRecord: A newer version wrote the record.
        DamagedRecord: The record is invalid.
    """
    status = ANALYSES.read(analysis_id, reply)
    if status is None:
        return None
    document = ANALYSES.read_constant(analysis_id, reply)
    with translate_damage(f"the open analysis {analysis_id}"):
        request = document["request"]
        record: AnalysisRecord = _ENTRIES.validate_python(
            document | vars(status) | {"request": request | {"row_order": RowOrder[request["row_order"]]}}
        )
        if not 0 <= record.created < MAX_TIME:
            raise ValueError(f"expected a time between 1970 and 9987, got {record.created}")
        return record


def read_head(job_id: str, reply: Reply) -> Job | None:
    """Return a job without its shards and analyses from its fields; None if it does not exist.

    Raises:
        NewerRecord: A newer version wrote the job.
        DamagedRecord: The job is invalid.
    """
    status = JOBS.read(job_id, reply)
    if status is None:
        return None
    document = JOBS.read_constant(job_id, reply)
    with translate_damage(f"the job {job_id}"):
        document["call_id"] = document.pop("asked", "")  # the stored name
        spec: JobSpec = _SPECS.validate_python(document)
        if spec.num_shards != status.num_shards:
            raise ValueError(f"expected {spec.num_shards} shards, got {status.num_shards}")
        return Job(**vars(status), spec=spec, shards=())


def shards_of(members: Iterable[str]) -> Iterator[ShardKey]:
    """Yield the job and the index of each member JOB:INDEX of a sorted set. Skip any other member."""
    for member in members:
        job_id, _, index = member.partition(":")
        if index.isdecimal():
            yield job_id, int(index)


def to_json(document: object) -> str:
    """Return a document as JSON."""
    return json.dumps(document, separators=(",", ":"))


def offer_from_json(content: str) -> WorkerOffer:
    """Return the offer of a worker; raise DamagedRecord if it is invalid."""
    with translate_damage("a worker's offer"):
        return _OFFERS.validate_json(content)


def owner_of(reply: Reply) -> str:
    """Return the owner of an analysis from its fields; empty if they are damaged."""
    with suppress(*DAMAGE_ERRORS):
        return str(json.loads(values(reply)[-1] or b"")["owner"])
    return ""


def pack_names(names: Sequence[str]) -> bytes:
    """Return image names as compressed text."""
    return zlib.compress("\n".join(names).encode())


def unpack_names(digest: str, content: bytes) -> Sequence[str]:
    """Return the image names of compressed text; raise DamagedRecord if it is truncated, too large, or not text."""
    with translate_damage(f"the image names {digest[:12]}"):
        decompressor = zlib.decompressobj()
        text = decompressor.decompress(content, MAX_NAMES_BYTES)
        if not decompressor.eof:
            raise ValueError(f"expected at most {MAX_NAMES_BYTES} bytes of names, complete")
        return tuple(text.decode().split("\n")) if text else ()


def unpack_classes(digest: str, content: bytes) -> LabelSpace:
    """Return the label space of packed classes; raise DamagedRecord if they are invalid."""
    with translate_damage(f"the classes {digest[:12]}"):
        return parse_class_lines(f"classes {digest[:12]}", unpack_names(digest, content))


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
