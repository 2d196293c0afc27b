"""The throughput of the predictor, compared with timm's loader and a plain loop with the same model and machine.

The predictor is also measured in a child process, as workers run it.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Case, Result, at_least, medians, rate
from service.predictions.process_tuning import tune_process

TIMES = 5
BATCH, IMAGES = 64, 256  # on the CPU
GPU_BATCH, GPU_IMAGES = 256, 8192
TIMM = "timm's create_loader and a plain loop"
CPU = Case("inference.cpu", "EfficientNet-Lite0 on all cores", TIMM, "images/s", at_least(0.95))
CHILD = Case("inference.child", "the same in a child process", "in this process", "images/s", at_least(0.95))
GPU = Case("inference.gpu", f"ResNet-50, batch {GPU_BATCH}, on a GPU", TIMM, "images/s", at_least(1.5))


def measure() -> Iterator[Result]:
    """Yield the throughput on the CPU and, if available, on a GPU."""
    tune_process()  # before torch is imported, as in a worker
    from benchmarks.loader_comparison import Loops, in_process_and_child, on_cpu, on_gpu

    def compare(case: Case, loops: Loops) -> Result:
        return case.measured(*medians(rate(loops.ours), rate(loops.reference), times=TIMES, warm=1))

    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        yield compare(CPU, on_cpu(Path(folder), IMAGES, BATCH, threads))
    with tempfile.TemporaryDirectory() as folder, in_process_and_child(Path(folder), IMAGES, BATCH, threads) as loops:
        yield compare(CHILD, loops)
    with tempfile.TemporaryDirectory() as folder:
        if (gpu_loops := on_gpu(Path(folder), GPU_IMAGES, GPU_BATCH, threads)) is not None:
            yield compare(GPU, gpu_loops)
