"""Files that a process which was killed left in an archive: scratch files, and predictions without a document."""

import re
import time
from collections.abc import Callable, Iterable

import structlog

from service.archive.files import Files
from service.errors import Unavailable
from service.storage import LEFTOVER_SECONDS, scratch_target

_PREDICTIONS = re.compile(r"([0-9a-z]{1,64})\.predictions\.npz")
_OWN = re.compile(rf"{_PREDICTIONS.pattern}|[0-9a-z]{{1,64}}\.json")
_log = structlog.get_logger()


def remove_leftovers(files: Files, clock: Callable[[], float] = time.time, age: float = LEFTOVER_SECONDS) -> int:
    """Remove what a killed process left; return how many files that were.

    A file younger than `age` seconds may be one that another process writes now. One whose age nobody tells stays.

    Raises:
        Unavailable: If the files cannot be listed.
    """
    removed = 0
    for name in leftovers(files.names()):
        try:
            modified = files.modified(name)
            if modified is not None and clock() - modified > age and files.delete(name):
                removed += 1
        except Unavailable as error:
            _log.warning("a leftover cannot be removed", file=name, error=str(error))
    return removed


def leftovers(names: Iterable[str]) -> list[str]:
    """Return the names of scratch files of an archive's own files, and of predictions without a document."""
    present = set(names)
    result = []
    for name in sorted(present):
        target = scratch_target(name)
        orphan = _PREDICTIONS.fullmatch(name)
        is_scratch = target is not None and _OWN.fullmatch(target)
        if is_scratch or (orphan and f"{orphan[1]}.json" not in present):
            result.append(name)
    return result
