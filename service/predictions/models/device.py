"""Where models run, and with how many cores."""

import os
import re
from pathlib import Path

import torch
from errata.errors import InvalidSetting


def choose_device(name: str) -> torch.device:
    """Return the device of this name, or the first GPU, or the CPU; raise InvalidSetting for one that isn't here."""
    if not name:
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise InvalidSetting(f"expected cpu, cuda:N or mps, got {name!r:.40}", field="ERRATA_DEVICE")
    device = torch.device(name)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= there:
        result = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise InvalidSetting(
            f"expected a device that torch {torch.__version__} has here ({', '.join(result)}), got {name!r:.40}",
            field="ERRATA_DEVICE",
        )
    return device


def gpu_memory() -> dict[str, tuple[int, int]]:
    """Return what is used of the memory of this process' GPUs, by whom ever, and all of it, in bytes.

    Another GPU isn't asked, since asking takes hundreds of megabytes of it.
    """
    result = {}
    own = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    for index in filter(torch.cuda.memory_reserved, own):
        free, total = torch.cuda.mem_get_info(index)
        result[f"cuda:{index}"] = (total - free, total)
    return result


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: by its affinity and its container's quota ("TIME PERIOD")."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(own, round(int(allowed) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return own  # no container, or one without a quota
