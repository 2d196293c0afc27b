"""What the process that runs models needs, set before torch is imported. Measured on 2 cores with EfficientNet-Lite0.

* glibc gives every large block back to the kernel and gets it anew, page by page, for each layer of each batch. Keeping
  them makes inference on a CPU half as fast again.
* OpenMP's threads spin while they wait. Where decoding, or another process, has the core, the others spin in vain: a
  busy machine was ten times slower for it, an idle one is no faster.
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
KEPT = 2**31 - 1  # bytes of free memory that stay with the process


def tune_process() -> None:
    """Set the allocator, where it is glibc's, and how OpenMP waits, where the user hasn't said it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_ARENA_MAX, 1)  # other arenas give their memory back whatever the threshold
