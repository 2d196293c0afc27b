"""The CPU cores that are available."""

import os
from pathlib import Path


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of cores that the process may use according to its CPU affinity and the quota of its container.

    Args:
        quota: File of the container's quota, with the content "TIME PERIOD".
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(cores, round(int(allowed) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return cores  # no container, or one without a quota
