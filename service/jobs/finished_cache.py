"""A cache of finished entries: they do not change, and reading a thousand of them takes most of a list's time."""

from collections.abc import Iterator, Mapping, Sequence

from service.jobs.store import Snapshot


class FinishedCache:
    """Caches the failed and cancelled entries of the last list, by id and by the time of their end.

    Safe to use from several threads: each list replaces all of it.
    """

    def __init__(self) -> None:
        self._cached: Mapping[str, tuple[bytes, Snapshot]] = {}

    def known(self, finished: Sequence[bytes]) -> dict[str, Snapshot]:
        """Return the cached entries among those that are finished now.

        Args:
            finished: An id, the time of its end, the next id, and so on, as Redis returns them.
        """
        cached = self._cached
        return {
            analysis_id: cached[analysis_id][1]
            for analysis_id, end in _pairs(finished)
            if analysis_id in cached and cached[analysis_id][0] == end
        }

    def remember(self, finished: Sequence[bytes], snapshots: Mapping[str, Snapshot]) -> None:
        """Replace the cache by the finished entries of a list, except those whose job still runs for other analyses."""
        self._cached = {
            analysis_id: (end, snapshots[analysis_id])
            for analysis_id, end in _pairs(finished)
            if analysis_id in snapshots and _is_settled(snapshots[analysis_id])
        }


def _pairs(finished: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((member.decode(errors="replace"), end) for member, end in zip(finished[::2], finished[1::2], strict=True))


def _is_settled(snapshot: Snapshot) -> bool:
    return snapshot.record.state.is_final and (snapshot.job is None or snapshot.job.state.is_final)
