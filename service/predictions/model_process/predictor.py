"""The predictor that workers use: it runs the real one in a child process, which may be killed at any time."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TypeVar

import structlog
from errata.errors import ModelRefused, WorkerLost

from service.domain import ModelInfo, Predictions
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.environment import model_environment
from service.predictions.model_process.messages import (
    BYTES_PER_IMAGE,
    raise_error,
    read_gpu_memory,
    read_info,
    read_next,
    read_ready,
)
from service.predictions.model_process.process import KillReason, ModelProcess, ProcessEnded
from service.predictions.model_process.protocol import MAX_ANSWER, Message, ProtocolError

START_SECONDS = 120.0  # to import torch
STOP_SECONDS = 10.0  # to finish the images in hand after a caller leaves
_log = structlog.get_logger()
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ModelLimits:
    """What a model may take before its process is killed."""

    load_seconds: float = 900.0
    batch_seconds: float = 300.0
    max_memory: int | None = None  # bytes; None: no bound


class PredictorFailed(Exception):
    """Raised when the predictor met an error that is none of Errata's; the log of the worker has its traceback."""


class Interrupted(Exception):
    """Raised in the caller of `load` or `predict` after `interrupt` or `close`."""


class ProcessPredictor:
    """Runs models in one child process, started when a model is first used, and again after it was killed.

    The child keeps the model that it loaded last. One caller at a time; `interrupt` and `close` from any thread.
    """

    def __init__(self, config: PredictorConfig, limits: ModelLimits) -> None:
        self._config = config
        self._limits = limits
        self._lock = Lock()
        self._process: ModelProcess | None = None
        self._models: set[str] = set()  # that the process has loaded
        self._busy = False  # a request is under way
        self._closed = False
        self._gpu_memory: Mapping[str, tuple[int, int]] = {}

    def load(self, model: str) -> ModelInfo:
        """Load a model and describe it.

        Raises:
            ErrataError: What the source of the model raises.
            ModelRefused: Loading took too long, took too much memory, or ended the process with a signal.
            WorkerLost: The process did not start, or exited.
        """
        before = self._process
        try:
            return self._load(model)
        except ProcessEnded as ended:
            is_new = self._process is not before
            if is_new or ended.kill_reason in (KillReason.DEADLINE, KillReason.INTERRUPTED):
                raise self._load_error(model, ended) from ended
        try:  # other models may hold the memory of that process or have damaged it, or it was just being killed
            return self._load(model)
        except ProcessEnded as ended:
            raise self._load_error(model, ended) from ended

    def predict(self, model: str, dataset: str, names: Sequence[str]) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order, batch by batch.

        Raises:
            ErrataError: What `load` or the predictor raises.
            ModelRefused: A batch took more memory than a model may.
            WorkerLost: The process ended, or a batch took too long.
        """
        self.load(model)
        process = self._process
        assert process is not None, "This is a bug: load() starts the process."
        request = {"do": "predict", "model": model, "dataset": dataset, "names": list(names)}
        seconds, left = self._limits.batch_seconds, len(names)
        try:
            self._ask(process, request, read_ready, seconds)
            while batch := self._ask(
                process, {"do": "next"}, partial(read_next, left), seconds, BYTES_PER_IMAGE * left
            ):
                left -= len(batch.top1)
                yield batch
        except GeneratorExit:
            with suppress(ProcessEnded, PredictorFailed):
                self._ask(process, {"do": "stop"}, partial(read_next, 0), STOP_SECONDS)
            raise
        except ProcessEnded as ended:
            raise self._batch_error(model, ended) from ended

    def interrupt(self) -> None:
        """End the `load` or batch that is under way, at once; do nothing if there is none."""
        with self._lock:
            process = self._process if self._busy else None
        if process is not None:
            process.kill(KillReason.INTERRUPTED)

    def close(self) -> None:
        """End the process for good; a call that is under way, or comes later, raises Interrupted."""
        self._closed = True
        self._end_process()

    @property
    def pid(self) -> int | None:
        """Return the id of the child process; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def gpu_memory(self) -> Mapping[str, tuple[int, int]]:
        """Return what is used of each GPU that a model runs on, and all of it, in bytes, as of the last answer."""
        return self._gpu_memory if self.pid is not None else {}

    def _end_process(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _load(self, model: str) -> ModelInfo:
        process = self._ready()
        self._models.add(model)
        request = {"do": "load", "model": model, "context": structlog.contextvars.get_contextvars()}
        return self._ask(process, request, read_info, self._limits.load_seconds)

    def _ready(self) -> ModelProcess:
        """Return the running process, started if there is none."""
        if self._process is not None and self._process.alive:
            return self._process
        self._end_process()
        if self._closed:
            raise Interrupted
        config = self._config
        process = ModelProcess(model_environment(os.environ, bool(config.policy.registries)), self._limits.max_memory)
        try:
            process.start()
        except OSError as error:
            raise WorkerLost(f"The process that runs models cannot be started: {error!s:.200}.") from error
        with self._lock:
            self._process, self._models, self._gpu_memory = process, set(), {}
            is_closed = self._closed
        if is_closed:  # while the process started
            self._end_process()
            raise Interrupted
        try:
            self._ask(process, config.to_json(), read_ready, START_SECONDS)
        except ProcessEnded as ended:
            if ended.kill_reason is KillReason.INTERRUPTED:
                raise Interrupted from ended
            raise WorkerLost(f"The process that runs models did not start: {ended!s}.") from ended
        _log.info("The process that runs models has started", pid=process.pid)
        return process

    def _ask(
        self,
        process: ModelProcess,
        header: Mapping[str, object],
        read: Callable[[Message], Answer],
        seconds: float,
        max_body: int = 0,
    ) -> Answer:
        """Return the answer to a request, or raise the error that it reports."""
        with self._under_way(), process.time_limit(seconds):
            process.send(Message(header))
            answer = process.receive(MAX_ANSWER, max_body)
        try:
            self._gpu_memory = read_gpu_memory(answer)
            raise_error(answer)
            if answer.header.get("kind") == "failed":
                self._end_process()
                raise PredictorFailed(f"The predictor met an error: {answer.header.get('type')!s:.200}.")
            return read(answer)
        except ProtocolError as error:
            _log.exception("The process that runs models broke the protocol")
            raise process.broke_protocol() from error

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """Let `interrupt` end what a block waits for."""
        assert not self._busy, "This is a bug: a predictor has one caller at a time."
        self._busy = True
        try:
            yield
        finally:
            with self._lock:
                self._busy = False

    def _load_error(self, model: str, ended: ProcessEnded) -> Exception:
        """Return what to raise for a process that ended while it loaded a model."""
        match ended.kill_reason:
            case KillReason.INTERRUPTED:
                return Interrupted()
            case KillReason.DEADLINE:
                return ModelRefused(
                    f"Loading {model} and running it once took longer than {self._limits.load_seconds:g} seconds: "
                    "its graph may never end. If it only needs more time, raise ERRATA_LOAD_SECONDS."
                )
            case KillReason.MEMORY:
                return self._too_large(model)
            case None if ended.signal_name:
                return ModelRefused(
                    f"Loading {model} ended its process with {ended.signal_name}. If the memory of the worker ran out, "
                    "raise its limit; otherwise export the model again."
                )
        return WorkerLost(f"The process that loaded {model} ended: {ended!s}. The log of the worker has the reason.")

    def _batch_error(self, model: str, ended: ProcessEnded) -> Exception:
        """Return what to raise for a process that ended while it predicted."""
        match ended.kill_reason:
            case KillReason.INTERRUPTED:
                return Interrupted()
            case KillReason.MEMORY if self._models <= {model}:  # otherwise it may pass in a new process
                return self._too_large(model)
            case KillReason.DEADLINE:
                return WorkerLost(f"A batch of {model} took longer than {self._limits.batch_seconds:g} seconds.")
        return WorkerLost(
            f"The process that runs {model} ended while it predicted: {ended!s}. If its memory ran out, lower "
            "ERRATA_BATCH_SIZE or raise the limit of the worker."
        )

    def _too_large(self, model: str) -> ModelRefused:
        return ModelRefused(
            f"{model} took more memory than {self._limits.max_memory:,} bytes. Lower ERRATA_BATCH_SIZE, or raise "
            "ERRATA_MODEL_MEMORY_BYTES if the worker has more."
        )
