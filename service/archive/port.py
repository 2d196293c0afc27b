"""The port of the archive of finished analyses."""

from collections.abc import Sequence
from typing import Protocol

from service.domain import Analysis, Predictions


class Archive(Protocol):
    """Stores finished analyses with their predictions. Thread-safe."""

    def put(self, analysis: Analysis, predictions: Predictions) -> None:
        """Store an analysis, or replace the one with the same id; raise Unavailable if it cannot be written."""
        ...

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis; None if it does not exist."""
        ...

    def get_cached(self, analysis_id: str) -> Analysis | None:
        """Return an analysis from the memory of this process, without reading files; None if it is not cached."""
        ...

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis in the order of the data set; None if they do not exist."""
        ...

    def list(self) -> Sequence[Analysis]:
        """Return all analyses, in no particular order; the same object while nothing changes."""
        ...

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis and its predictions; return whether it existed."""
        ...

    def id(self) -> str:
        """Return the random id of the archive, which never changes and distinguishes it from other archives."""
        ...

    def size(self) -> int:
        """Return the size of the archive in bytes."""
        ...
