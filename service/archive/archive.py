"""An archive in files: two an analysis, in a folder or an object store.

ID.json             the analysis (document.py has its schema); its presence says that the analysis is kept
archive-id          a random id of the whole archive, written once
ID.predictions.npz  top1 (A,) int16; where they came probability (A,) float16, among (A,) int16; written first
"""

import io
import json
import re
import threading
import uuid
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any

import numpy as np
import structlog
from errata.errors import DamagedRecord, NewerRecord, Unavailable
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.archive.document import from_document, to_document
from service.archive.files import Files
from service.archive.single_flight import SingleFlight
from service.domain import Analysis, Predictions
from service.domain.schema_version import checked_predictions
from service.storage import read_arrays

MAX_DOCUMENT = 8 << 20  # bytes
ID_FILE = "archive-id"
_ARCHIVE_ID = re.compile(r"[0-9a-f]{32}")
_ID = re.compile(r"[0-9a-z]{1,64}")
_log = structlog.get_logger()


class FileArchive:
    """Keeps each analysis in two files; reads a document once and remembers it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._cache: dict[str, Analysis] = {}
        self._damaged: set[str] = set()  # documents that can't be read: told once
        self._listed: Set[str] | None = None  # the names at the last listing, and what it gave
        self._all: list[Analysis] = []
        self._changed = False  # by this process since
        self._listing = SingleFlight(self._list)

    def put(self, analysis: Analysis, predictions: Predictions) -> None:
        """Keep an analysis: predictions first, then the document that makes it visible."""
        content = io.BytesIO()
        optional = {"probability": predictions.probability, "among": predictions.top1_restricted}
        arrays: dict[str, NDArray[Any]] = {"top1": predictions.top1}
        arrays |= {name: array for name, array in optional.items() if array is not None}
        np.savez(content, allow_pickle=False, **arrays)
        self._files.write(_predictions(analysis.id), content.getvalue())
        try:
            self._files.write(_document(analysis.id), json.dumps(to_document(analysis)).encode())
        except Unavailable:
            if self.get(analysis.id) is None:  # nobody would find the predictions
                with suppress(Unavailable):
                    self._files.delete(_predictions(analysis.id))
            raise
        with self._lock:
            self._cache[analysis.id] = analysis
            self._damaged.discard(analysis.id)
            self._changed = True

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis; raise NewerRecord for one that a newer version wrote."""
        if not _ID.fullmatch(analysis_id):
            return None
        return self.get_cached(analysis_id) or self._read(analysis_id)

    def get_cached(self, analysis_id: str) -> Analysis | None:
        """Return an analysis that was read, listed or written by this process."""
        with self._lock:
            return self._cache.get(analysis_id)

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return an analysis' predictions; raise Unavailable if the file is damaged."""
        content = self._files.read(_predictions(analysis_id)) if _ID.fullmatch(analysis_id) else None
        if content is None:
            return None
        try:
            with read_arrays(content) as arrays:
                predictions = Predictions(arrays["top1"], arrays.get("probability"), arrays.get("among"))
                return checked_predictions(predictions)
        except Exception as error:  # of a damaged archive zipfile, zlib, ast and tokenize raise what they like
            _log.error("archived predictions can't be read", analysis=analysis_id, error=repr(error))
            raise Unavailable(f"the archived predictions of {analysis_id} are damaged") from error

    def list(self) -> Sequence[Analysis]:
        """Return all analyses; documents that can't be read are left out, and logged.

        Callers at once share one listing: the first one after a start reads every document.
        """
        return self._listing()

    def _list(self) -> Sequence[Analysis]:
        names = self._files.names()
        with self._lock:
            if (names is self._listed or names == self._listed) and not self._changed:
                return self._all
            self._changed = False
        present = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        with self._lock:
            for gone in self._cache.keys() - present:
                del self._cache[gone]
            unread = present - self._cache.keys() - self._damaged
        documents = {_document(analysis_id): analysis_id for analysis_id in unread if _ID.fullmatch(analysis_id)}
        for name, content in self._files.read_many(documents):
            with suppress(NewerRecord):
                self._decode(documents[name], content)
        with self._lock:
            self._listed, self._all = names, list(self._cache.values())
            return self._all

    def delete(self, analysis_id: str) -> bool:
        """Remove an analysis: the document first, so that no reader finds it without predictions."""
        if not _ID.fullmatch(analysis_id):
            return False
        with self._lock:
            self._cache.pop(analysis_id, None)
            self._damaged.discard(analysis_id)
            self._changed = True
        result = self._files.delete(_document(analysis_id))
        self._files.delete(_predictions(analysis_id))
        return result

    def id(self) -> str:
        """Return the id of the archive; the first process that asks makes it.

        Raises:
            Unavailable: the archive can't be reached or written.
            DamagedRecord: the file holds something else.
        """
        content = self._files.read(ID_FILE)
        if content is None:
            self._files.create(ID_FILE, uuid.uuid4().hex.encode())
            content = self._files.read(ID_FILE)  # perhaps another process's
        archive_id = (content or b"").decode("ascii", "replace").strip()
        if not _ARCHIVE_ID.fullmatch(archive_id):
            raise DamagedRecord(
                f"The file {ID_FILE} of the archive holds {archive_id[:40]!r} instead of 32 hexadecimal digits. "
                "Restore it from a backup, or delete it to get a new id."
            )
        return archive_id

    def size(self) -> int:
        """Return how many bytes all of it takes."""
        return sum(self._files.sizes().values())

    def _read(self, analysis_id: str) -> Analysis | None:
        return self._decode(analysis_id, self._files.read(_document(analysis_id)))

    def _decode(self, analysis_id: str, content: bytes | None) -> Analysis | None:
        """Return the analysis of a document, and remember it."""
        if content is None:
            return None
        try:
            if len(content) > MAX_DOCUMENT:
                raise ValueError(f"expected at most {MAX_DOCUMENT} bytes, got {len(content)}")
            analysis = from_document(parse_json(content))
            if analysis.id != analysis_id:
                raise ValueError(f"expected the document of {analysis_id}, got that of {analysis.id!r:.80}")
        except (NewerRecord, ValueError, KeyError, TypeError, AttributeError) as error:
            with self._lock:
                told = analysis_id in self._damaged
                self._damaged.add(analysis_id)
            if not told:
                _log.error("an archived analysis can't be read", analysis=analysis_id, error=repr(error)[:500])
            if isinstance(error, NewerRecord):
                raise
            return None
        with self._lock:
            self._cache[analysis_id] = analysis
        return analysis


def _document(analysis_id: str) -> str:
    return f"{analysis_id}.json"


def _predictions(analysis_id: str) -> str:
    return f"{analysis_id}.predictions.npz"
