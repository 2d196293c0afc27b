"""Orphaned files, which killed processes leave in an archive: scratch files, and predictions without a document."""

import re
import time
from collections.abc import Callable, Iterable

import structlog
from errata.errors import Unavailable

from service.archive.files import Files
from service.storage import ORPHAN_SECONDS, scratch_target

_PREDICTIONS = re.compile(r"([0-9a-z]{1,64})\.predictions\.npz")
_ARCHIVE_FILE = re.compile(rf"{_PREDICTIONS.pattern}|[0-9a-z]{{1,64}}\.json|[0-9a-f]{{64}}\.\d{{4}}")
_log = structlog.get_logger()


def remove_orphaned_files(files: Files, clock: Callable[[], float] = time.time) -> int:
    """Remove the orphaned files of an archive, except files of unknown age.

    Args:
        files: The files of the archive.
        clock: Returns the time in seconds since 1970.

    Returns:
        The number of removed files.

    Raises:
        Unavailable: The files cannot be listed.
    """
    removed = 0
    for name in find_orphaned_files(files.names()):
        try:
            modification_time = files.modification_time(name)
            if modification_time is not None and clock() - modification_time > ORPHAN_SECONDS and files.delete(name):
                removed += 1
        except Unavailable as error:
            _log.warning("orphaned file not removed", file=name, error=str(error))
    return removed


def find_orphaned_files(names: Iterable[str]) -> list[str]:
    """Return the names of an archive's scratch files, and of predictions without a document."""
    present = set(names)
    orphans = []
    for name in sorted(present):
        target = scratch_target(name)
        predictions = _PREDICTIONS.fullmatch(name)
        is_scratch = target is not None and _ARCHIVE_FILE.fullmatch(target)
        if is_scratch or (predictions and f"{predictions[1]}.json" not in present):
            orphans.append(name)
    return orphans
