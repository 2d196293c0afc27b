"""The throughput of the predictor, compared with timm's loader and a plain loop with the same model and machine.

The predictor is also measured in a child process, as workers run it.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.result import Figure
from service.predictions.process_tuning import tune_process

if TYPE_CHECKING:
    from benchmarks.loader_comparison import Loops

TIMES = 5
PROCESS_AIM = 0.95  # times the predictor in this process
BATCH, IMAGES, AIM = 64, 256, 0.95  # EfficientNet-Lite0 on the CPU
GPU_BATCH, GPU_IMAGES, GPU_AIM = 256, 8192, 1.5  # ResNet-50


def measure() -> Iterator[Figure]:
    """Yield the throughput on the CPU and, if available, on a GPU."""
    tune_process()  # before torch is imported, as in a worker
    from benchmarks.loader_comparison import in_process_and_child, on_cpu, on_gpu

    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        yield _figure(f"EfficientNet-Lite0 on {threads} cores", on_cpu(Path(folder), IMAGES, BATCH, threads), AIM)
    with tempfile.TemporaryDirectory() as folder, in_process_and_child(Path(folder), IMAGES, BATCH, threads) as runs:
        yield _process_figure(f"EfficientNet-Lite0 on {threads} cores", *runs)
    with tempfile.TemporaryDirectory() as folder:
        loops = on_gpu(Path(folder), GPU_IMAGES, GPU_BATCH, threads)
        if loops is not None:
            yield _figure(f"ResNet-50, batch {GPU_BATCH}, on a GPU", loops, GPU_AIM)


def _figure(name: str, loops: "Loops", aim: float) -> Figure:
    value, reference = _medians(loops.ours, loops.timms)
    return Figure(
        f"inference, {name} (reference: timm's create_loader and loop)",
        value=value,
        unit="images/s",
        reference=reference,
        ratio=value / reference,
        aim=f"at least {aim:g} times timm's loop",
        holds=value >= aim * reference,
    )


def _process_figure(name: str, child: Callable[[], int], here: Callable[[], int]) -> Figure:
    value, reference = _medians(child, here)
    return Figure(
        f"inference in a child process, {name} (reference: the same predictor in this process)",
        value=value,
        unit="images/s",
        reference=reference,
        ratio=value / reference,
        aim=f"at least {PROCESS_AIM:g} times the predictor in this process",
        holds=value >= PROCESS_AIM * reference,
    )


def _medians(one: Callable[[], int], other: Callable[[], int]) -> tuple[float, float]:
    """Return the median throughputs of two functions, measured alternately so that other load affects both."""
    ones, others = [], []
    for turn in range(TIMES + 1):
        rates = (_rate(one), _rate(other)) if turn % 2 else (_rate(other), _rate(one))[::-1]
        if turn:  # the first run is a warm-up
            ones.append(rates[0])
            others.append(rates[1])
    return median(ones), median(others)


def _rate(run: Callable[[], int]) -> float:
    started = time.perf_counter()
    images = run()
    return images / (time.perf_counter() - started)
