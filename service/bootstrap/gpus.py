"""The memory of a worker's GPUs, for its metrics: told of those that a model was run on, without importing torch."""

import sys
from collections.abc import Mapping


def gpu_memory() -> Mapping[str, tuple[int, int]]:
    """Return what is used of each GPU's memory, and all of it, in bytes; nothing before a model is run."""
    if "torch" not in sys.modules or "service.predictions.models.device" not in sys.modules:
        return {}
    from service.predictions.models.device import gpu_memory as measured

    return measured()
