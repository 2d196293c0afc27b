"""Hostile models in real child processes: the caller gets an error, and the next model runs."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx
import pytest
from errata.errors import ImagesMissing, InvalidSetting, ModelNotFound, ModelRefused, WorkerLost

from service.evidence.labels import demo, demo_folder
from service.predictions.model_policy import ModelPolicy
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor
from service.predictions.model_process.process import Interrupted, ModelProcess

from . import graphs

BOUND = 1 << 30  # bytes of memory
SECONDS = 10.0  # to load a model
LONG = 600.0
NAMES = [name.decode() for name in demo().names.tolist()]
Make = Callable[..., ProcessPredictor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that creates predictors with models in `tmp_path`."""
    started: list[ProcessPredictor] = []

    def start(
        load_seconds: float = LONG, batch_seconds: float = LONG, memory: int = BOUND, device: str = "cpu"
    ) -> ProcessPredictor:
        config = PredictorConfig({"demo": demo_folder()}, ModelPolicy(folder=tmp_path), 8, 1, device)
        started.append(ProcessPredictor(config, ModelLimits(load_seconds, batch_seconds, memory)))
        return started[-1]

    yield start
    for predictor in started:
        predictor.close()


def predicted(predictor: ProcessPredictor, model: str, names: Sequence[str] = NAMES) -> int:
    """Return the number of predictions of a model."""
    return sum(len(batch.top1) for batch in predictor.predict(model, "demo", names))


def runs(pid: int) -> bool:
    """Return whether a process runs and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def busy(predictor: ProcessPredictor, other_than: int | None = None) -> int:
    """Wait until a new child computes, beyond the import of torch; return its id."""

    def ticks() -> int:
        pid = predictor.pid
        if pid is None or pid == other_than:
            return 0
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))

    wait_for(lambda: predictor._is_busy and predictor._models and ticks() > 0)
    assert predictor.pid is not None
    return predictor.pid


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Start a call that is expected to raise; return its thread and a list for the error."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


# time


@pytest.mark.parametrize("graph", [graphs.endless_loop, graphs.endless_folding])
def test_a_graph_that_never_loads_is_rejected_and_the_next_model_runs(
    make: Make, tmp_path: Path, graph: Callable[[], onnx.ModelProto]
) -> None:
    predictor = make(load_seconds=SECONDS, memory=4 * BOUND)  # the time limit is reached before the memory limit
    hostile, good = graphs.write(tmp_path, "hostile", graph()), graphs.write(tmp_path, "good", graphs.plain())
    assert predicted(predictor, good) == 20
    before = predictor.pid
    assert before is not None

    with pytest.raises(ModelRefused, match=r"longer than 10 seconds.*ERRATA_LOAD_SECONDS"):
        predictor.load(hostile)

    assert not runs(before)
    assert predicted(predictor, good) == 20


def test_a_batch_that_never_ends_loses_the_process_and_the_next_model_runs(make: Make, tmp_path: Path) -> None:
    predictor = make(batch_seconds=3)
    hostile = graphs.write(tmp_path, "hostile", graphs.endless_loop(black_ends=True))
    good = graphs.write(tmp_path, "good", graphs.plain())

    with pytest.raises(WorkerLost, match="longer than 3 seconds"):
        predicted(predictor, hostile)

    assert predicted(make(), good) == 20


@pytest.mark.parametrize("moment", ["load", "predict"])
def test_an_interrupted_call_ends_while_the_model_is_stuck(make: Make, tmp_path: Path, moment: str) -> None:
    predictor = make()
    hostile = graphs.write(tmp_path, "hostile", graphs.endless_loop(black_ends=moment == "predict"))
    good = graphs.write(tmp_path, "good", graphs.plain())
    thread, raised = in_thread(lambda: predicted(predictor, hostile))
    child = busy(predictor)

    wait_for(lambda: predictor.interrupt() or not thread.is_alive())

    assert [type(error) for error in raised] == [Interrupted]
    assert not runs(child)
    assert predicted(predictor, good) == 20


def test_an_interruption_without_a_call_keeps_the_process(make: Make, tmp_path: Path) -> None:
    predictor = make()
    predictor.load(graphs.write(tmp_path, "good", graphs.plain()))
    child = predictor.pid

    predictor.interrupt()

    assert predicted(predictor, "onnx:good.onnx") == 20
    assert predictor.pid == child


# memory


def test_a_graph_over_the_memory_limit_is_rejected_and_the_next_model_runs(make: Make, tmp_path: Path) -> None:
    predictor = make()
    good = graphs.write(tmp_path, "good", graphs.plain())
    for name, graph in (("large", graphs.huge_intermediate(3)), ("wide", graphs.huge_output(750_000_000))):
        with pytest.raises(ModelRefused, match=r"more memory than 1,073,741,824 bytes.*ERRATA_MODEL_MEMORY_BYTES"):
            predictor.load(graphs.write(tmp_path, name, graph))

        assert predicted(predictor, good) == 20


def test_a_limit_too_low_for_the_process_is_reported_with_the_setting(make: Make) -> None:
    with pytest.raises(WorkerLost, match=r"did not start: memory.* Increase ERRATA_MODEL_MEMORY_BYTES"):
        make(memory=1 << 20).load("onnx:good.onnx")


def test_a_tensor_of_100_gigabytes_is_rejected(make: Make, tmp_path: Path) -> None:
    predictor = make()

    with pytest.raises(ModelRefused):
        predictor.load(graphs.write(tmp_path, "hostile", graphs.huge_intermediate(100)))

    assert predicted(predictor, graphs.write(tmp_path, "good", graphs.plain())) == 20


def test_a_million_outputs_are_rejected(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="has 1,000,000 outputs for an image"):
        make().load(graphs.write(tmp_path, "hostile", graphs.huge_output(1_000_000)))


def test_a_batch_over_the_memory_limit_is_rejected_in_a_process_without_other_models(
    make: Make, tmp_path: Path
) -> None:
    hostile = graphs.write(tmp_path, "hostile", graphs.huge_intermediate(0.2))  # an image; eight are a batch
    predictor = make()
    predictor.load(graphs.write(tmp_path, "good", graphs.plain()))

    with pytest.raises(WorkerLost):  # a new process may have enough memory
        predicted(predictor, hostile)
    with pytest.raises(ModelRefused, match="ERRATA_BATCH_SIZE"):
        predicted(predictor, hostile)


# signals


def test_a_process_killed_between_calls_is_replaced(make: Make, tmp_path: Path) -> None:
    predictor = make()
    good = graphs.write(tmp_path, "good", graphs.plain())
    predictor.load(good)
    before = predictor.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not runs(before))

    assert predicted(predictor, good) == 20
    assert predictor.pid != before


def test_a_device_that_never_existed_is_an_invalid_setting_and_one_that_vanished_can_be_retried(make: Make) -> None:
    predictor, other = make(), make(device="cuda:99")
    lost: list[str] = []
    predictor._on_device_lost = other._on_device_lost = lambda: lost.append("cuda:99")
    predictor.start()
    assert predictor.pid is not None
    os.kill(predictor.pid, signal.SIGKILL)
    predictor._config = other._config

    with pytest.raises(WorkerLost, match="did not start: ERRATA_DEVICE: device 'cuda:99' is not available"):
        predictor.load("demo:efficientnet_lite0")
    assert lost == ["cuda:99"]
    for _ in range(2):  # also in a second process
        with pytest.raises(InvalidSetting, match="cuda:99"):
            other.load("demo:efficientnet_lite0")
    assert lost == ["cuda:99"]


def test_a_process_that_is_killed_between_batches_is_lost_and_the_shard_may_be_tried_again(
    make: Make, tmp_path: Path
) -> None:
    predictor = make()
    good = graphs.write(tmp_path, "good", graphs.plain())
    batches = predictor.predict(good, "demo", NAMES)
    next(batches)
    assert predictor.pid is not None
    os.kill(predictor.pid, signal.SIGSEGV)

    with pytest.raises(WorkerLost, match="ended while it predicted"):
        list(batches)

    assert predicted(predictor, good) == 20


def test_a_load_that_ends_an_old_process_is_repeated_and_one_that_ends_a_new_process_is_rejected(
    make: Make, tmp_path: Path
) -> None:
    predictor = make()
    predictor.load(graphs.write(tmp_path, "good", graphs.plain()))
    hostile = graphs.write(tmp_path, "hostile", graphs.endless_loop())
    thread, raised = in_thread(lambda: predictor.load(hostile))
    first = busy(predictor)
    wait_for(lambda: hostile in predictor._models)
    os.kill(first, signal.SIGSEGV)
    second = busy(predictor, other_than=first)
    os.kill(second, signal.SIGSEGV)
    thread.join()

    (error,) = raised
    assert isinstance(error, ModelRefused)
    assert "ended its process with SIGSEGV" in error.message


def test_signals_that_drain_a_worker_do_not_end_a_load(make: Make, tmp_path: Path) -> None:
    predictor = make()
    good = graphs.write(tmp_path, "good", graphs.plain())
    predictor.load(good)
    before = predictor.pid
    assert before is not None
    os.killpg(before, signal.SIGTERM)
    os.killpg(before, signal.SIGINT)

    assert predicted(predictor, good) == 20
    assert predictor.pid == before


PARENT = """
import sys
from pathlib import Path
from threading import Thread
from time import sleep
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.predictor import ModelLimits, ProcessPredictor
from service.predictions.model_process.process import ModelProcess
from service.predictions.model_policy import ModelPolicy
from service.telemetry import configure_logging

configure_logging("info", "json")  # to stderr
config = PredictorConfig({}, ModelPolicy(folder=Path(sys.argv[1])), 8, 1, "cpu")
predictor = ProcessPredictor(config, ModelLimits())
Thread(target=predictor.load, args=("onnx:good.onnx",)).run()
Thread(target=predictor.load, args=("onnx:hostile.onnx",), daemon=True).start()
print(predictor.pid, flush=True)
sleep(600)
"""


def test_a_worker_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    graphs.write(tmp_path, "good", graphs.plain())
    graphs.write(tmp_path, "hostile", graphs.endless_loop())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert runs(child)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()

    wait_for(lambda: not runs(child))


# properties of the process


def test_the_process_has_no_secrets_and_the_highest_oom_score(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_REDIS_URL", "redis://:secret@redis")
    predictor = make()
    predictor.load(graphs.write(tmp_path, "good", graphs.plain()))

    variables = Path(f"/proc/{predictor.pid}/environ").read_bytes()
    assert b"PATH=" in variables
    assert b"secret" not in variables
    assert Path(f"/proc/{predictor.pid}/oom_score_adj").read_text() == "1000\n"
    assert os.getsid(predictor.pid or 0) == predictor.pid


def test_errors_of_a_model_are_raised_and_keep_the_process(make: Make, tmp_path: Path) -> None:
    predictor = make()
    good = graphs.write(tmp_path, "good", graphs.plain())
    predictor.load(good)
    before = predictor.pid

    with pytest.raises(ModelNotFound, match=r"nowhere\.onnx"):
        predictor.load("onnx:nowhere.onnx")
    with pytest.raises(ImagesMissing, match="ERRATA_IMAGES"):
        list(predictor.predict(good, "unknown", NAMES))

    assert predictor.pid == before


def test_responses_of_the_process_are_checked(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a child with an invalid response, the worker kills it."""
    invalid_child = tmp_path / "invalid_child.sh"
    invalid_child.write_text("#!/bin/sh\nhead -c 100 /dev/zero | tr '\\0' '\\377'\nexec sleep 600\n")
    invalid_child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(invalid_child))

    with pytest.raises(WorkerLost, match="did not start: protocol"):
        make().load("onnx:good.onnx")


def test_a_closed_predictor_starts_no_process(make: Make) -> None:
    predictor = make()
    predictor.close()

    with pytest.raises(Interrupted):
        predictor.load("demo:efficientnet_lite0")
    assert predictor.pid is None


def test_a_process_that_starts_while_the_predictor_is_closed_is_ended(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, start = make(), ModelProcess.start
    processes: list[ModelProcess] = []

    def close_after_start(process: ModelProcess) -> None:
        start(process)
        processes.append(process)
        predictor.close()

    monkeypatch.setattr(ModelProcess, "start", close_after_start)

    with pytest.raises(Interrupted):
        predictor.load("file:any")

    (process,) = processes
    assert not runs(process.pid)
