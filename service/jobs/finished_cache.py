"""A cache of failed and canceled records, which never change. Reading 1,000 of them dominates the time of a list."""

from collections.abc import Iterator, Mapping, Sequence

from service.jobs.store import Snapshot


class FinishedCache:
    """Caches the failed and canceled records of the last list, by id and end time.

    Thread-safe, because each list replaces the whole cache.
    """

    def __init__(self) -> None:
        self._cached: Mapping[str, tuple[bytes, Snapshot]] = {}

    def get_cached(self, finished: Sequence[bytes]) -> dict[str, Snapshot]:
        """Return the cached records among those that are finished now.

        Args:
            finished: An id, its end time, the next id, and so on, as Redis returns them.
        """
        cached = self._cached
        return {
            analysis_id: cached[analysis_id][1]
            for analysis_id, end_time in _pairs(finished)
            if analysis_id in cached and cached[analysis_id][0] == end_time
        }

    def replace(self, finished: Sequence[bytes], snapshots: Mapping[str, Snapshot]) -> None:
        """Replace the cache by the finished records of a list, except those whose job is open for other analyses."""
        self._cached = {
            analysis_id: (end_time, snapshots[analysis_id])
            for analysis_id, end_time in _pairs(finished)
            if analysis_id in snapshots and _is_final(snapshots[analysis_id])
        }


def _pairs(finished: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    ids, end_times = finished[::2], finished[1::2]
    return (
        (analysis_id.decode(errors="replace"), end_time) for analysis_id, end_time in zip(ids, end_times, strict=True)
    )


def _is_final(snapshot: Snapshot) -> bool:
    return snapshot.record.state.is_final and (snapshot.job is None or snapshot.job.state.is_final)
