"""The default memory limit of the process that runs models."""

from pathlib import Path

SHARE = 0.8  # share of the memory of the machine or container
CGROUP_LIMITS = (  # memory limit files of cgroups v2 and v1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_memory_limit(meminfo: Path = Path("/proc/meminfo"), limits: tuple[Path, ...] = CGROUP_LIMITS) -> int | None:
    """Return SHARE, in bytes, of the smaller of machine and container memory; None if both are unknown."""
    sizes = [_read_total(meminfo), *(_read_limit(path) for path in limits)]
    known = [size for size in sizes if size is not None]
    return int(min(known) * SHARE) if known else None


def _read_total(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal:")), None)


def _read_limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # there is no container, or its limit is "max"
        return None
