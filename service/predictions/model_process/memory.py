"""How much memory the process that runs models may hold."""

from pathlib import Path

SHARE = 0.8  # of the memory of the machine or container, unless the operator sets a bound
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # cgroups v2, v1


def default_memory_limit(
    meminfo: Path = Path("/proc/meminfo"), limits: tuple[Path, ...] = LIMITS, share: float = SHARE
) -> int | None:
    """Return a share of the memory of the machine, or of its container if that has less; None if neither is known."""
    sizes = [_total(meminfo), *(_limit(path) for path in limits)]
    known = [size for size in sizes if size is not None]
    return int(min(known) * share) if known else None


def _total(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal:")), None)


def _limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no container, or "max"
        return None
