"""Limits of a process that parses one file."""

import resource
from dataclasses import dataclass

from service.child_process import lower_limits

ADDRESS_SPACE = 3 << 30  # bytes that a process may map beyond the memory limit; a huge allocation then fails at once
OPEN_FILES = 64


@dataclass(frozen=True)
class ParserLimits:
    """The resources that parsing one file may use."""

    memory: int = 224 << 20  # bytes beyond the memory of the fork server; the pool enforces it
    cpu_seconds: int = 10
    wall_seconds: float = 30.0
    output: int = 128 << 20  # bytes of the returned rows
    wait_seconds: float = 120.0  # maximum wait for a free process


def apply_limits(limits: ParserLimits) -> None:
    """Apply the limits that the kernel enforces to the calling process."""
    lower_limits(
        {
            resource.RLIMIT_CPU: limits.cpu_seconds,
            resource.RLIMIT_FSIZE: limits.output,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_AS: limits.memory + ADDRESS_SPACE,
        }
    )
