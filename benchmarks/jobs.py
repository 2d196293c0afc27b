"""Model analyses: the overhead of the service, the duration of a cached request, and the speed-up by a second worker.

The benchmark uses Redis and separate processes.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from errata import Client

from benchmarks.caller import MODEL, analyze, seconds_to_start
from benchmarks.harness import Case, Result, at_least, at_most, medians, rate, timed
from benchmarks.processes import redis_server, running
from service.bootstrap.build import Inputs, build_evidence
from service.evidence.labels import demo_folder
from service.predictions.process_tuning import tune_process

TIMES = 5
COPIES, SHARD = 12, 20  # copies of the 20 photographs; images per shard
PATH_IMAGES, BATCH = 256, 64
INFERENCE = "the model alone on these photographs"
OVERHEAD = Case("jobs.overhead", "an analysis of 20 photographs, whole call", INFERENCE, "ms", at_most(1.5))
START = Case("jobs.start", "this analysis, from submit to the start of work", INFERENCE, "ms", at_most(0.2))
CACHED = Case("jobs.cached", "the same request again", "GetAnalysis", "ms", at_most(4))
WORKERS = Case("jobs.workers", "two workers of one thread on one analysis", "one of them", "s", at_most(0.67))
PATH = Case(
    "jobs.path",
    "EfficientNet-Lite0 on all cores, from the request to the archived result",
    "timm's create_loader and a plain loop",
    "images/s",
    at_least(0.95),
)


def measure() -> Iterator[Result]:
    """Yield the results of one worker, and then of two workers compared with one."""
    with redis_server() as (url, folder):
        with running(url, folder, 1) as address, Client(address) as client:
            yield from _one_worker(client)
        yield _two_workers(url, folder)
        yield _whole_path(url, folder)


def _one_worker(client: Client) -> Iterator[Result]:
    waits: list[float] = []

    def run() -> None:
        waits.append(seconds_to_start(analyze(client)))

    whole, bare = medians(timed(run), timed(_make_plain_run()), times=TIMES)
    yield OVERHEAD.measured(whole, bare)
    yield START.measured(median(waits[-TIMES:]), bare)
    analysis = client.analyze(MODEL, "demo")
    assert analysis.cached
    yield CACHED.measured(
        *medians(
            timed(lambda: client.analyze(MODEL, "demo")), timed(lambda: client.get(analysis.name)), times=20 * TIMES
        )
    )


def _two_workers(redis: str, folder: Path) -> Result:
    images, labels = folder / "images", folder / "labels.csv"
    images.mkdir()
    rows = ["file_name,labels"]
    for photograph in sorted(demo_folder().glob("imagenet_*.jpg")):
        for copy in range(COPIES):
            name = f"{copy:02d}_{photograph.name}"
            shutil.copy(photograph, images / name)
            rows.append(f"{name},{photograph.stem.rsplit('_', 1)[1]}")
    labels.write_text("\n".join(rows) + "\n")
    bundle = build_evidence("copies", Inputs(labels=labels), folder / "bundle")
    settings = {
        "ERRATA_EVIDENCE": f'{{"copies": "{bundle.path}"}}',
        "ERRATA_IMAGES": f'{{"copies": "{images}"}}',
        "ERRATA_SHARD_SIZE": str(SHARD),
        "ERRATA_THREADS": "1",
    }

    def measure_workers(workers: int) -> float:
        with running(redis, folder, workers, **settings) as address, Client(address) as client:
            return medians(timed(lambda: analyze(client, "copies")), times=3)[0]  # warm: all workers load the model

    return WORKERS.measured(*medians(lambda: measure_workers(2), lambda: measure_workers(1), times=1, warm=0))


def _whole_path(redis: str, folder: Path) -> Result:
    """Measure one worker on all cores from the request to the archived result."""
    tune_process()  # before torch is imported, as in a worker
    from benchmarks.loader_comparison import on_cpu, photographs

    images, others, labels = folder / "made", folder / "made_for_timm", folder / "made.csv"
    images.mkdir()
    others.mkdir()
    names = photographs(images, PATH_IMAGES)
    labels.write_text("file_name,labels\n" + "".join(f"{name},0\n" for name in names))
    bundle = build_evidence("made", Inputs(labels=labels), folder / "made_bundle")
    loops = on_cpu(others, PATH_IMAGES, BATCH, os.cpu_count() or 1)
    settings = {
        "ERRATA_EVIDENCE": f'{{"made": "{bundle.path}"}}',
        "ERRATA_IMAGES": f'{{"made": "{images}"}}',
        "ERRATA_BATCH_SIZE": str(BATCH),
    }
    with running(redis, folder, 1, **settings) as address, Client(address) as client:

        def run_path() -> int:
            analyze(client, "made")
            return PATH_IMAGES

        return PATH.measured(*medians(rate(run_path), rate(loops.reference), times=TIMES, warm=1))


def _make_plain_run() -> Callable[[], object]:
    """Return a function that only runs the model on the photographs."""
    tune_process()  # before torch is imported, as in a worker
    from service.predictions.model_policy import ModelPolicy
    from service.predictions.models.torch_predictor import TorchPredictor

    names = [file.name for file in sorted(demo_folder().glob("imagenet_*.jpg"))]
    predictor = TorchPredictor({"demo": demo_folder()}, ModelPolicy(), batch_size=64, threads=0, device="cpu")
    return lambda: list(predictor.predict(MODEL, "demo", names))
