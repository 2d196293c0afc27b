"""The device that models run on, and its memory."""

import re

import torch
from errata.errors import InvalidSetting


def choose_device(name: str) -> torch.device:
    """Return the device of this name. An empty name means the first GPU, or the CPU if there is no GPU.

    Raises:
        InvalidSetting: The name is invalid, or this machine has no such device.
    """
    if not name:
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise InvalidSetting(f"Unknown device {name!r:.40}. Expected cpu, cuda:N, or mps.", field="ERRATA_DEVICE")
    device = torch.device(name)
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= counts[device.type]:
        available = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise InvalidSetting(
            f"ERRATA_DEVICE: device {name!r:.40} is not available to torch {torch.__version__}. Expected one of "
            f"{', '.join(available)}.",
            field="ERRATA_DEVICE",
        )
    return device


def gpu_memory() -> dict[str, tuple[int, int]]:
    """Return the used and the total memory of each GPU that this process uses, in bytes.

    Used memory includes that of other processes. Other GPUs are not queried: a query allocates hundreds of megabytes.
    """
    memory = {}
    indices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    for index in filter(torch.cuda.memory_reserved, indices):
        free, total = torch.cuda.mem_get_info(index)
        memory[f"cuda:{index}"] = (total - free, total)
    return memory
