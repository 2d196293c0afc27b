"""Settings of the process that runs models, made before torch is imported.

Measured on 2 cores with EfficientNet-Lite0:

* By default, glibc returns every large block to the kernel, and maps it again, page by page, for each layer of each
  batch. If glibc retains the blocks, inference on a CPU is 1.5 times as fast.
* By default, OpenMP threads spin while they wait. If another thread or process uses the core, inference is ten times
  slower. On an idle machine, spinning is no faster than waiting passively.
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # constants of glibc's malloc.h
TRIM_THRESHOLD = 2**31 - 1  # bytes of free memory that the process does not return to the kernel


def tune_process() -> None:
    """Configure the allocator, if it is glibc's, and OpenMP, unless the user has set OMP_WAIT_POLICY."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        mallopt(M_ARENA_MAX, 1)  # one arena: other arenas ignore the threshold and return their memory
