"""Bounds of a process that parses one file."""

import resource
from dataclasses import dataclass

ADDRESS_SPACE = 3 << 30  # bytes that are mapped, far more than are used: stops a single huge allocation at once
OPEN_FILES = 64


@dataclass(frozen=True)
class ParserLimits:
    """What one file may cost."""

    memory: int = 224 << 20  # bytes of memory beyond the fork server's, watched by the pool
    cpu_seconds: int = 10
    wall_seconds: float = 30.0
    output: int = 128 << 20  # bytes of the rows that come back
    wait_seconds: float = 120.0  # for a free process


def apply_limits(limits: ParserLimits) -> None:
    """Apply limits to the calling process, as far as the kernel enforces them."""
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1),  # SIGXCPU first, which says why
        (resource.RLIMIT_FSIZE, limits.output, limits.output),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_AS, limits.memory + ADDRESS_SPACE, limits.memory + ADDRESS_SPACE),
    ):
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))
