"""An archive in a folder.

ID.json             the analysis (document.py has its schema); its presence says that the analysis is kept
ID.predictions.npz  top1 (A,) int16; where they came probability (A,) float16, among (A,) int16; written first
"""

import io
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from service.archive.document import from_document, to_document
from service.domain import NUM_CLASSES, Analysis, Predictions
from service.errors import Unavailable
from service.storage import write_file

_ID = re.compile(r"[0-9a-z]{1,64}")
_log = structlog.get_logger()


class FolderArchive:
    """Keeps each analysis in two files; reads a document once and remembers it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Analysis] = {}
        self._damaged: dict[str, int] = {}  # documents that can't be read, by the time at which they were written

    def put(self, analysis: Analysis, predictions: Predictions) -> None:
        """Keep an analysis: predictions first, then the document that makes it visible."""
        content = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {"top1": predictions.top1}
        for name in ("probability", "among"):
            if (array := getattr(predictions, name)) is not None:
                arrays[name] = array
        np.savez(content, allow_pickle=False, **arrays)
        try:
            write_file(self._predictions(analysis.id), content.getvalue())
            write_file(self._document(analysis.id), json.dumps(to_document(analysis)).encode())
        except OSError as error:
            raise Unavailable(f"the archive could not be written: {error.strerror}", retry_after=10) from error
        with self._lock:
            self._known[analysis.id] = analysis

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis."""
        if not _ID.fullmatch(analysis_id):
            return None
        with self._lock:
            known = self._known.get(analysis_id)
        return known or self._read(analysis_id)

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return an analysis' predictions; raise Unavailable if the file is damaged."""
        if not _ID.fullmatch(analysis_id):
            return None
        try:
            content = io.BytesIO(self._predictions(analysis_id).read_bytes())  # np.load leaves a damaged file open
            with np.load(content, allow_pickle=False) as arrays:
                return _checked(Predictions(arrays["top1"], arrays.get("probability"), arrays.get("among")))
        except FileNotFoundError:
            return None
        except Exception as error:  # of a damaged archive zipfile, zlib, ast and tokenize raise what they like
            _log.error("archived predictions can't be read", analysis=analysis_id, error=repr(error))
            raise Unavailable(f"the archived predictions of {analysis_id} are damaged") from error

    def list(self) -> Sequence[Analysis]:
        """Return all analyses; documents that can't be read are left out, and logged."""
        try:
            present = {file.stem for file in self._folder.glob("*.json") if _ID.fullmatch(file.stem)}
        except OSError as error:
            raise Unavailable(f"the archive could not be read: {error.strerror}", retry_after=10) from error
        with self._lock:
            for gone in self._known.keys() - present:
                del self._known[gone]
            unread = present - self._known.keys()
        for analysis_id in unread:
            self._read(analysis_id)
        with self._lock:
            return list(self._known.values())

    def delete(self, analysis_id: str) -> bool:
        """Remove an analysis: the document first, so that no reader finds it without predictions."""
        if not _ID.fullmatch(analysis_id):
            return False
        with self._lock:
            self._known.pop(analysis_id, None)
        try:
            self._document(analysis_id).unlink()
            self._predictions(analysis_id).unlink(missing_ok=True)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(f"the archive could not be written: {error.strerror}", retry_after=10) from error
        return True

    def _read(self, analysis_id: str) -> Analysis | None:
        try:
            analysis = from_document(json.loads(self._document(analysis_id).read_bytes()))
            if analysis.id != analysis_id:
                raise ValueError(f"expected the document of {analysis_id}, got that of {analysis.id!r:.80}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            written = self._document(analysis_id).stat().st_mtime_ns if self._document(analysis_id).exists() else 0
            if self._damaged.get(analysis_id) != written:  # told once
                self._damaged[analysis_id] = written
                _log.error("an archived analysis can't be read", analysis=analysis_id, error=repr(error)[:500])
            return None
        with self._lock:
            self._known[analysis_id] = analysis
        return analysis

    def _document(self, analysis_id: str) -> Path:
        return self._folder / f"{analysis_id}.json"

    def _predictions(self, analysis_id: str) -> Path:
        return self._folder / f"{analysis_id}.predictions.npz"


def _checked(predictions: Predictions) -> Predictions:
    """Return predictions as they were put; raise ValueError for arrays of another form."""
    top1 = predictions.top1
    if top1.ndim != 1 or top1.dtype != np.int16 or (top1.size and not -1 <= top1.min() <= top1.max() < NUM_CLASSES):
        raise ValueError(f"expected top1 (A,) int16 from -1 to {NUM_CLASSES - 1}, got {top1.dtype} {top1.shape}")
    for array, kind in ((predictions.probability, np.float16), (predictions.among, np.int16)):
        if array is not None and (array.shape != top1.shape or array.dtype != kind):
            raise ValueError(f"expected (A,) {np.dtype(kind)} beside top1, got {array.dtype} {array.shape}")
    return predictions
