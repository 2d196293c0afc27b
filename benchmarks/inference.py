"""Inference: images a second of the predictor, beside timm's own loader and loop on the same model and machine."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.figure import Figure
from service.predictions.tuning import tune_process

if TYPE_CHECKING:
    from benchmarks.loops import Loops

TIMES = 5
BATCH, IMAGES, AIM = 64, 256, 0.95  # EfficientNet-Lite0 on the CPU
GPU_BATCH, GPU_IMAGES, GPU_AIM = 256, 8192, 1.5  # ResNet-50


def measure() -> Iterator[Figure]:
    """Yield images a second on the CPU and, where there is one, on a GPU."""
    tune_process()  # before torch is imported, as a worker does
    from benchmarks.loops import on_cpu, on_gpu

    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        yield _figure(f"EfficientNet-Lite0 on {threads} cores", on_cpu(Path(folder), IMAGES, BATCH, threads), AIM)
    with tempfile.TemporaryDirectory() as folder:
        loops = on_gpu(Path(folder), GPU_IMAGES, GPU_BATCH, threads)
        if loops is not None:
            yield _figure(f"ResNet-50, batch {GPU_BATCH}, on a GPU", loops, GPU_AIM)


def _figure(name: str, loops: "Loops", aim: float) -> Figure:
    """Measure both ways in turns, so that whatever else the machine does meets both."""
    ours, timms = [], []
    for turn in range(TIMES + 1):
        rates = _rate(loops.ours), _rate(loops.timms)
        if turn:  # the first warms up
            ours.append(rates[0])
            timms.append(rates[1])
    value, reference = median(ours), median(timms)
    return Figure(
        f"inference, {name} (reference: timm's create_loader and loop)",
        value=value,
        unit="images/s",
        reference=reference,
        ratio=value / reference,
        aim=f"at least {aim:g} times timm's loop",
        holds=value >= aim * reference,
    )


def _rate(run: Callable[[], int]) -> float:
    started = time.perf_counter()
    images = run()
    return images / (time.perf_counter() - started)
