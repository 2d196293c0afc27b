"""Finished entries of the last list: they don't change, and reading a thousand of them takes most of a list's time."""

from collections.abc import Iterator, Mapping, Sequence

from service.jobs.store import Snapshot


class FinishedCache:
    """Remembers the failed and cancelled entries of the last list by id and end; what ends again is another.

    Safe to use from several threads: each list replaces all of it.
    """

    def __init__(self) -> None:
        self._kept: Mapping[str, tuple[bytes, Snapshot]] = {}

    def known(self, finished: Sequence[bytes]) -> dict[str, Snapshot]:
        """Return the remembered entries among those that are finished now.

        Args:
            finished: ids and ends in turns, as Redis has them.
        """
        kept = self._kept
        return {each: kept[each][1] for each, end in _pairs(finished) if each in kept and kept[each][0] == end}

    def remember(self, finished: Sequence[bytes], snapshots: Mapping[str, Snapshot]) -> None:
        """Remember the finished entries of a list, but for those whose job still runs for others."""
        self._kept = {
            each: (end, snapshots[each])
            for each, end in _pairs(finished)
            if each in snapshots and _is_settled(snapshots[each])
        }


def _pairs(finished: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((each.decode(errors="replace"), end) for each, end in zip(finished[::2], finished[1::2], strict=True))


def _is_settled(snapshot: Snapshot) -> bool:
    return snapshot.entry.state.final and (snapshot.job is None or snapshot.job.state.final)
