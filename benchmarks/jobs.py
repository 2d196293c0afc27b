"""Model analyses: the overhead of the service, the duration of a cached request, and the speed-up by a second worker.

The benchmark uses Redis and separate processes. It needs redis-server, and the folder `tests` on the Python path.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from errata import Client, pb

from benchmarks.redis import redis_server
from benchmarks.result import Figure
from benchmarks.serving import running
from service.bootstrap.build import Inputs, build_evidence
from service.evidence.labels import demo_folder
from service.predictions.process_tuning import tune_process

MODEL = "demo:efficientnet_lite0"
TIMES = 5
COPIES, SHARD = 12, 20  # copies of the 20 photographs; images per shard
PATH_IMAGES, BATCH, PATH_AIM = 256, 64, 0.95
OVERHEAD_MS, CACHED_MS, START_MS, WORKERS = 150.0, 5.0, 60.0, 1.5


def measure() -> Iterator[Figure]:
    """Yield the figures of one worker, and then of two workers compared with one."""
    if shutil.which("redis-server") is None:
        return
    with redis_server() as (url, folder):
        with running(url, folder, workers=1) as service, Client(service.grpc) as client:
            yield from _one_worker(client)
        yield _two_workers(url, Path(folder))
        yield _measure_whole_path(url, Path(folder))


def _one_worker(client: Client) -> Iterator[Figure]:
    _run(client)  # loads the model
    whole, bare = _times(lambda: _run(client)), _times(_make_plain_run())
    over = 1000 * (median(whole) - median(bare))
    yield Figure(
        "jobs, an analysis of 20 photographs beside bare inference on them: what is added",
        value=over,
        unit="ms",
        reference=1000 * median(bare),
        ratio=median(whole) / median(bare),
        aim=f"at most {OVERHEAD_MS:g} ms more",
        holds=over <= OVERHEAD_MS,
    )
    starts = [_run(client) for _ in range(TIMES)]
    delay = 1000 * median(_seconds(start.start_time) - _seconds(start.create_time) for start in starts)
    yield _make_figure("jobs, from submit to the start of work", delay, START_MS)
    answers = [_measure_seconds(lambda: client.analyze(MODEL, "demo")) for _ in range(10 * TIMES)]
    assert client.analyze(MODEL, "demo").cached
    yield _make_figure("jobs, the same request again, p50 over loopback", 1000 * median(answers), CACHED_MS)


def _two_workers(redis: str, folder: Path) -> Figure:
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
    seconds = []
    for workers in (1, 2):
        with running(redis, str(folder), workers, **settings) as service, Client(service.grpc) as client:
            for _ in range(2):
                _run(client, "copies")  # loads the model in every worker
            seconds.append(median(_times(lambda: _run(client, "copies"), 3)))
    ratio = seconds[0] / seconds[1]
    return Figure(
        "jobs, two workers of one thread on one analysis (reference: one of them)",
        value=seconds[1],
        unit="s",
        reference=seconds[0],
        ratio=ratio,
        aim=f"at least {WORKERS:g} times as fast",
        holds=ratio >= WORKERS,
    )


def _measure_whole_path(redis: str, folder: Path) -> Figure:
    """Measure one worker on all cores from the request to the archived result, alternately with timm's loop."""
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
    ours, timms = [], []
    with running(redis, str(folder), 1, **settings) as service, Client(service.grpc) as client:
        _run(client, "made")  # loads the model
        for _ in range(TIMES):
            ours.append(PATH_IMAGES / _measure_seconds(lambda: _run(client, "made")))
            timms.append(PATH_IMAGES / _measure_seconds(loops.timms))
    value, reference = median(ours), median(timms)
    return Figure(
        "jobs, EfficientNet-Lite0 through the whole path (reference: timm's create_loader and loop)",
        value=value,
        unit="images/s",
        reference=reference,
        ratio=value / reference,
        aim=f"at least {PATH_AIM:g} times timm's loop",
        holds=value >= PATH_AIM * reference,
    )


def _run(client: Client, dataset: str = "demo") -> pb.Analysis:
    """Create an analysis without cached results, and wait for its end."""
    *_, last = client.watch(client.analyze(MODEL, dataset, fresh=True).name)
    assert last.state == pb.Analysis.STATE_SUCCEEDED, last.failure
    return last


def _make_plain_run() -> Callable[[], object]:
    """Return a function that only runs the model on the photographs."""
    tune_process()  # before torch is imported, as in a worker
    from service.predictions.model_policy import ModelPolicy
    from service.predictions.models.torch_predictor import TorchPredictor

    names = [file.name for file in sorted(demo_folder().glob("imagenet_*.jpg"))]
    predictor = TorchPredictor({"demo": demo_folder()}, ModelPolicy(), batch_size=64, threads=0, device="cpu")
    return lambda: list(predictor.predict(MODEL, "demo", names))


def _times(run: Callable[[], object], times: int = TIMES) -> list[float]:
    run()
    return [_measure_seconds(run) for _ in range(times)]


def _measure_seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _seconds(stamp: object) -> float:
    return stamp.seconds + stamp.nanos / 1e9  # type: ignore[attr-defined]


def _make_figure(name: str, value: float, most: float) -> Figure:
    return Figure(
        name, value=value, unit="ms", reference=None, ratio=None, aim=f"under {most:g} ms", holds=value < most
    )
