"""What an archive does, whatever is behind it."""

from collections.abc import Sequence
from typing import Protocol

from service.domain import Analysis, Predictions


class Archive(Protocol):
    """Keeps finished analyses with their predictions. Safe to use from several threads."""

    def put(self, analysis: Analysis, predictions: Predictions) -> None:
        """Keep an analysis; one with the same id is replaced. Raise Unavailable if it can't be written."""
        ...

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis, None if there is none of this id."""
        ...

    def get_cached(self, analysis_id: str) -> Analysis | None:
        """Return an analysis that is in this process's memory; never waits for files. `get` finds all others too."""
        ...

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return an analysis' predictions in the data set's order."""
        ...

    def list(self) -> Sequence[Analysis]:
        """Return all analyses, in no particular order; in time the very same list, while nothing changes."""
        ...

    def delete(self, analysis_id: str) -> bool:
        """Remove an analysis and its predictions; say whether there was one."""
        ...

    def id(self) -> str:
        """Return the random id of the archive, which never changes and distinguishes it from other archives."""
        ...

    def size(self) -> int:
        """Return how many bytes all of it takes."""
        ...
