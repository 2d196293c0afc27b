"""An archive in a folder or an object store, with two files per analysis.

ID.predictions.npz  written first: top1 (A,) int16; optional: probability (A,) float16, among (A,) int16,
                    subset (A,) bool, and the arrays of answers (answer_arrays.py)
ID.json             written second, which makes the analysis visible; document.py has its schema
archive-id          a random id of the archive, written once
audit-analyses/     events about analyses (record_log.py); the event of the creation is written with the analysis
"""

import io
import re
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import structlog
from errata.errors import DamagedRecord, NewerRecord, Unavailable
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.archive.answer_arrays import from_arrays, to_arrays
from service.archive.document import encode_document, from_document
from service.archive.files import ID_FILE, RETRY_AFTER, Files, PartlyWritten, open_files
from service.archive.port import OutcomeUnknown, Record
from service.archive.record_log import RecordLog
from service.domain import Analysis, AuditEvent, Predictions
from service.domain.schema_version import checked_predictions
from service.storage import read_arrays

MAX_DOCUMENT = 8 << 20  # bytes
EVENTS = "audit-analyses"  # folder
_ARCHIVE_ID = re.compile(r"[0-9a-f]{32}")
_ID = re.compile(r"[0-9a-z]{1,64}")
_log = structlog.get_logger()


class FileArchive:
    """An archive in files.

    Args:
        files: A folder or an object store.
        events: The events about analyses, in the folder EVENTS; None: they are not stored.
    """

    def __init__(self, files: Files, events: RecordLog[AuditEvent] | None = None) -> None:
        self._files = files
        self._events = events
        self._lock = threading.Lock()
        self._damaged: set[str] = set()  # ids of unreadable documents, so that each is logged once
        self._last_listing: tuple[Set[str], Set[str]] = frozenset(), frozenset()  # file names, and the ids in them

    def put(
        self, analysis: Analysis, predictions: Predictions, creation: AuditEvent | None = None, *, replaces: bool = True
    ) -> Record:
        """Store the predictions, then the document, which makes the analysis visible, then the event.

        Unless `replaces`, an existing document stays if it is not damaged. Its predictions, which are the same, are
        written again.

        Returns:
            The stored record.

        Raises:
            OutcomeUnknown: The archive became unavailable, and the analysis may have been stored.
            Unavailable: The archive cannot be written, or another one is in its place.
        """
        self._files.check_id()  # a write below would also raise the error, but as OutcomeUnknown
        document = encode_document(analysis)
        document_name = _document(analysis.id)
        predictions_only = {_predictions(analysis.id): _encode_predictions(predictions)}
        events = {}
        if creation is not None and self._events is not None:
            events = {f"{EVENTS}/{name}": event for name, event in self._events.encode(creation).items()}
        try:
            written = predictions_only | {document_name: document} | events
            if not replaces:
                self._files.write(predictions_only)
                self._files.create(document_name, document)
                stored = self._files.read(document_name)
                if stored == document:
                    written = events  # the rest is stored
                elif existing := self._decode(analysis.id, stored):
                    return existing
            self._files.write(written)
        except Unavailable as error:
            may_be_stored = isinstance(error, PartlyWritten) or not replaces
            with _outcome_unknown(analysis) if may_be_stored else nullcontext():
                stored = self._files.read(document_name)
            if stored != document:
                if self._decode(analysis.id, stored) is None:  # predictions without a document are never read
                    with suppress(Unavailable):
                        self._files.delete(_predictions(analysis.id))
                raise
            if events:  # an object store has written the document, but perhaps not the event
                self._write_events(events, analysis)
        with self._lock:
            self._damaged.discard(analysis.id)
        return Record(analysis, document)

    def _write_events(self, events: Mapping[str, bytes], analysis: Analysis) -> None:
        """Write the event about a stored analysis; if this fails, delete the analysis and raise Unavailable."""
        try:
            self._files.write(events)
        except Unavailable:
            with _outcome_unknown(analysis):
                self.delete(analysis.id)
            raise

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis; raise NewerRecord if a newer version wrote it."""
        if not _ID.fullmatch(analysis_id):
            return None
        record = self._decode(analysis_id, self._files.read(_document(analysis_id)))
        return record.analysis if record else None

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis; raise Unavailable if the file is damaged."""
        content = self._files.read(_predictions(analysis_id)) if _ID.fullmatch(analysis_id) else None
        if content is None:
            return None
        try:
            with read_arrays(content) as arrays:
                probability, among, subset = (arrays.get(name) for name in ("probability", "among", "subset"))
                predictions = Predictions(arrays["top1"], probability, among, subset, from_arrays(arrays))
                return checked_predictions(predictions).without_unknown_probabilities()
        except Exception as error:  # for damaged files, zipfile, zlib, ast, and tokenize raise undocumented errors
            _log.error("archived predictions damaged", analysis=analysis_id, error=repr(error))
            raise Unavailable(
                f"The archived predictions of analysis {analysis_id} are damaged. Restore {_predictions(analysis_id)} "
                "from a backup, or delete the analysis."
            ) from error

    def ids(self) -> Set[str]:
        """Return the ids of all documents; the same object as before if the file names have not changed."""
        names = self._files.names()
        with self._lock:
            last_names, ids = self._last_listing
            if names is not last_names:
                ids = frozenset(
                    stem for name in names if name.endswith(".json") and _ID.fullmatch(stem := name[: -len(".json")])
                )
                self._last_listing = names, ids
            return ids

    def records(self, analysis_ids: Collection[str]) -> Iterator[Record]:
        """Yield the records of the given analyses. Unreadable documents are logged once and skipped."""
        documents = {_document(analysis_id): analysis_id for analysis_id in analysis_ids if _ID.fullmatch(analysis_id)}
        for name, content in self._files.read_many(documents):
            with suppress(NewerRecord):
                if record := self._decode(documents[name], content):
                    yield record

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis: the document first, so that no reader finds a document without predictions."""
        if not _ID.fullmatch(analysis_id):
            return False
        with self._lock:
            self._damaged.discard(analysis_id)
        is_deleted = self._files.delete(_document(analysis_id))
        self._files.delete(_predictions(analysis_id))
        return is_deleted

    def id(self) -> str:
        """Return the id of the archive; create it on first use.

        Raises:
            Unavailable: The archive cannot be reached or written.
            DamagedRecord: The file of the id is damaged.
        """
        content = self._files.read(ID_FILE)
        if content is None:
            self._files.create(ID_FILE, uuid.uuid4().hex.encode())
            content = self._files.read(ID_FILE)  # another process may have created it first
        return self._checked_id(content or b"")

    def find_id(self) -> str:
        """Return the id of the archive; empty if it has none yet. Raise the errors of `id`."""
        content = self._files.read(ID_FILE)
        return "" if content is None else self._checked_id(content)

    def expect_id(self, archive_id: str) -> None:
        """Set the id that the archive must have in later calls; empty: it is not known yet, so they fail."""
        self._files.expect_id(archive_id)

    def _checked_id(self, content: bytes) -> str:
        archive_id = content.decode("ascii", "replace").strip()
        if not _ARCHIVE_ID.fullmatch(archive_id):
            raise DamagedRecord(
                f"The file {ID_FILE} of the archive holds {archive_id[:40]!r} instead of 32 hexadecimal digits. "
                "Restore it from a backup. To get a new id, stop all API processes, and delete the file and the key "
                "errata:archive in Redis."
            )
        return archive_id

    def size(self) -> int:
        """Return the size of the archive in bytes."""
        return sum(self._files.sizes().values())

    def _decode(self, analysis_id: str, content: bytes | None) -> Record | None:
        """Return the record of a document; None for a missing or damaged document."""
        if content is None:
            return None
        try:
            if len(content) > MAX_DOCUMENT:
                raise ValueError(f"the document has {len(content)} bytes, more than {MAX_DOCUMENT}")
            analysis = from_document(parse_json(content))
            if analysis.id != analysis_id:
                raise ValueError(f"the document of {analysis_id} contains the analysis {analysis.id!r:.80}")
        except (NewerRecord, ValueError, KeyError, TypeError, AttributeError) as error:
            with self._lock:
                is_logged = analysis_id in self._damaged
                self._damaged.add(analysis_id)
            if not is_logged:
                _log.error("archived analysis unreadable", analysis=analysis_id, error=repr(error)[:500])
            if isinstance(error, NewerRecord):
                raise
            return None
        return Record(analysis, content)


def _encode_predictions(predictions: Predictions) -> bytes:
    """Return predictions as npz."""
    content = io.BytesIO()
    optional = {
        "probability": predictions.probability,
        "among": predictions.top1_restricted,
        "subset": predictions.subset,
    }
    arrays: dict[str, NDArray[Any]] = {"top1": predictions.top1}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    if predictions.answers is not None:
        arrays |= to_arrays(predictions.answers)
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


@contextmanager
def _outcome_unknown(analysis: Analysis) -> Iterator[None]:
    """Raise OutcomeUnknown if the archive is unavailable."""
    try:
        yield
    except Unavailable as error:
        raise OutcomeUnknown(
            f"The archive became unavailable, and analysis {analysis.id} may have been stored.",
            retry_after=RETRY_AFTER,
        ) from error


def open_archive(location: str) -> FileArchive:
    """Return the archive at a folder or URL; raise InvalidSetting if the URL's scheme is not supported."""
    return FileArchive(open_files(location), open_events(location))


def open_events(location: str) -> RecordLog[AuditEvent]:
    """Return the events about the analyses of an archive; raise the error of `open_archive`."""
    return RecordLog(open_files(location, EVENTS), AuditEvent)


def _document(analysis_id: str) -> str:
    return f"{analysis_id}.json"


def _predictions(analysis_id: str) -> str:
    return f"{analysis_id}.predictions.npz"
