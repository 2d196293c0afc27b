"""The predictor of workers. It runs the torch predictor in a child process, which can be killed at any time."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TypeVar

import structlog
from errata.errors import InvalidSetting, ModelRefused, WorkerLost

from service import tracing
from service.domain import LabelSpace, ModelInfo, Predictions, class_lines
from service.predictions.model_process.config import PredictorConfig
from service.predictions.model_process.environment import model_environment
from service.predictions.model_process.messages import (
    BYTES_PER_IMAGE,
    check_ready,
    raise_error,
    read_batch,
    read_gpu_memory,
    read_images_digest,
    read_model_info,
)
from service.predictions.model_process.process import Interrupted, KillReason, ModelProcess, ProcessEnded
from service.predictions.model_process.protocol import MAX_RESPONSE, Message, ProtocolError
from service.taxonomy.imagenet_1k import imagenet_1k

START_SECONDS = 120.0  # time limit to start the process and import torch
STOP_SECONDS = 10.0  # time limit to finish a batch after the caller has stopped
_log = structlog.get_logger()
Response = TypeVar("Response")


@dataclass(frozen=True)
class ModelLimits:
    """Limits of a model. Its process is killed when it exceeds one."""

    load_seconds: float = 900.0
    batch_seconds: float = 300.0
    max_memory: int | None = None  # bytes; None: no limit


class PredictorFailed(Exception):
    """Raised when the predictor raised an unexpected error. The log of the worker has its traceback."""


class ProcessPredictor:
    """Runs models in one child process, which starts when a request needs it.

    The model that was loaded last stays in the memory of the child. Only one thread may call `load`, `images_digest`,
    and `predict`; any thread may call `interrupt` and `close`.

    Args:
        config: The settings of the process.
        limits: Limits of each model.
        on_device_lost: Called when a process cannot start because the device no longer exists.
    """

    def __init__(
        self, config: PredictorConfig, limits: ModelLimits, on_device_lost: Callable[[], None] = lambda: None
    ) -> None:
        self._config = config
        self._limits = limits
        self._on_device_lost = on_device_lost
        self._lock = Lock()
        self._process: ModelProcess | None = None
        self._models: set[str] = set()  # models that the current process has loaded
        self._was_started = False  # whether a process was ready once, so that its settings were valid
        self._is_busy = False  # whether a request is in progress
        self._is_closed = False
        self._gpu_memory: Mapping[str, tuple[int, int]] = {}

    def start(self) -> None:
        """Start the process now, to check its settings.

        Raises:
            InvalidSetting: The device does not exist.
            WorkerLost: The process did not start.
        """
        self._ensure_process()

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        """Load a model and describe it.

        Args:
            model: Model ID.
            label_space: The classes to predict; None: ImageNet-1k.

        Raises:
            ErrataError: An error of the model's source.
            ModelRefused: Loading took too long or too much memory, or ended the process with a signal.
            WorkerLost: The process did not start, or exited.
        """
        previous = self._process
        try:
            return self._load(model, label_space)
        except ProcessEnded as ended:
            is_new = self._process is not previous
            if is_new or ended.kill_reason is KillReason.DEADLINE:
                raise self._load_error(model, ended) from ended
        # Retry in a new process: other models may have filled or damaged the memory of the old process.
        try:
            return self._load(model, label_space)
        except ProcessEnded as ended:
            raise self._load_error(model, ended) from ended

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        """Return a digest of images and their order, which changes if an image is replaced.

        Raises:
            WorkerLost: The process ended, or listing the images took too long.
            Interrupted: `interrupt` or `close` was called.
        """
        request: dict[str, object] = {"command": "images", "dataset": dataset, "names": list(names)}
        try:
            return self._request(self._ensure_process(), request, read_images_digest, self._limits.batch_seconds)
        except ProcessEnded as ended:
            raise WorkerLost(f"The process that lists the images of {dataset} ended: {ended!s}.") from ended

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        """Yield the predictions of the named images, in that order, batch by batch.

        Raises:
            ErrataError: An error of `load` or of the predictor.
            ModelRefused: A batch took more memory than a model may use.
            WorkerLost: The process ended, or a batch took too long.
        """
        self.load(model, label_space)
        num_classes = (label_space or imagenet_1k()).num_classes
        process = self._process
        assert process is not None, "This is a bug: load() starts the process."
        request: dict[str, object] = {"command": "predict", "model": model, "dataset": dataset, "names": list(names)}
        request["classes"] = _classes_of(label_space)
        seconds, remaining = self._limits.batch_seconds, len(names)
        try:
            self._request(process, request, check_ready, seconds)
            while batch := self._request(
                process,
                {"command": "next"},
                partial(read_batch, remaining, num_classes),
                seconds,
                BYTES_PER_IMAGE * remaining,
            ):
                remaining -= len(batch.top1)
                yield batch
        except GeneratorExit:
            with suppress(ProcessEnded, Interrupted, PredictorFailed):
                self._request(process, {"command": "stop"}, partial(read_batch, 0, num_classes), STOP_SECONDS)
            raise
        except ProcessEnded as ended:
            raise self._batch_error(model, ended) from ended

    def interrupt(self) -> None:
        """Abort the current `load` or batch; do nothing if there is none."""
        with self._lock:
            process = self._process if self._is_busy else None
        if process is not None:
            process.kill(KillReason.INTERRUPTED)

    def close(self) -> None:
        """End the process permanently. Current and later calls raise Interrupted."""
        self._is_closed = True
        self._end_process()

    @property
    def pid(self) -> int | None:
        """Return the ID of the child process; None if there is none."""
        process = self._process
        return process.pid if process is not None and process.is_alive else None

    def gpu_memory(self) -> Mapping[str, tuple[int, int]]:
        """Return the used and total bytes of each GPU that a model runs on, as of the last response."""
        return self._gpu_memory if self.pid is not None else {}

    def _end_process(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _load(self, model: str, label_space: LabelSpace | None) -> ModelInfo:
        process = self._ensure_process()
        self._models.add(model)
        request: dict[str, object] = {
            "command": "load",
            "model": model,
            "context": structlog.contextvars.get_contextvars() | tracing.log_fields(),
        }
        request["classes"] = _classes_of(label_space)
        return self._request(process, request, read_model_info, self._limits.load_seconds)

    def _ensure_process(self) -> ModelProcess:
        """Return the running process; start one if there is none."""
        if self._process is not None and self._process.is_alive:
            return self._process
        self._end_process()
        if self._is_closed:
            raise Interrupted
        config = self._config
        process = ModelProcess(model_environment(os.environ), self._limits.max_memory)
        try:
            process.start()
        except OSError as error:
            raise WorkerLost(f"The process that runs models cannot be started: {error!s:.200}.") from error
        with self._lock:
            self._process, self._models, self._gpu_memory = process, set(), {}
            is_closed = self._is_closed
        if is_closed:  # `close` was called while the process started
            self._end_process()
            raise Interrupted
        try:
            self._request(process, config.to_json(), check_ready, START_SECONDS)
        except ProcessEnded as ended:
            remedy = " Increase ERRATA_MODEL_MEMORY_BYTES." if ended.kill_reason is KillReason.MEMORY else ""
            raise WorkerLost(f"The process that runs models did not start: {ended!s}.{remedy}") from ended
        except InvalidSetting as error:
            if not self._was_started:
                raise
            self._on_device_lost()
            raise WorkerLost(f"The process that runs models did not start: {error.message}") from error
        self._was_started = True
        _log.info("model process started", pid=process.pid)
        return process

    def _request(
        self,
        process: ModelProcess,
        header: Mapping[str, object],
        read: Callable[[Message], Response],
        seconds: float,
        max_body: int = 0,
    ) -> Response:
        """Send a request and return its response.

        Args:
            process: The child process.
            header: Header of the request.
            read: Decodes the response; raises ProtocolError if it is invalid.
            seconds: Time limit, after which the process is killed.
            max_body: Maximum length of the body of the response in bytes.

        Raises:
            ErrataError: The error that the response reports.
            PredictorFailed: The predictor raised an unexpected error.
            ProcessEnded: The process ended or was killed.
            Interrupted: `interrupt` or `close` was called.
        """
        with self._interruptible(), process.time_limit(seconds):
            process.send(Message(header))
            response = process.receive(MAX_RESPONSE, max_body)
        try:
            self._gpu_memory = read_gpu_memory(response)
            raise_error(response)
            if response.header.get("kind") == "failed":
                self._end_process()
                raise PredictorFailed(f"The predictor raised {response.header.get('type')!s:.200}.")
            return read(response)
        except ProtocolError as error:
            _log.exception("invalid response of the model process")
            raise process.kill_for_protocol_error() from error

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let `interrupt` and `close` abort the block."""
        assert not self._is_busy, "This is a bug: a predictor has one caller at a time."
        self._is_busy = True
        try:
            yield
        finally:
            with self._lock:
                self._is_busy = False

    def _load_error(self, model: str, ended: ProcessEnded) -> Exception:
        """Return the error to raise for a process that ended while it loaded a model."""
        match ended.kill_reason:
            case KillReason.DEADLINE:
                return ModelRefused(
                    f"Loading {model} and running it once took longer than {self._limits.load_seconds:g} seconds. Its "
                    "graph may never end. If it only needs more time, raise ERRATA_LOAD_SECONDS."
                )
            case KillReason.MEMORY:
                return self._memory_error(model)
            case None if ended.signal_name:
                return ModelRefused(
                    f"Loading {model} ended its process with {ended.signal_name}. If the memory of the worker ran out, "
                    "raise its limit; otherwise export the model again."
                )
        return WorkerLost(f"The process that loaded {model} ended: {ended!s}. The log of the worker has the reason.")

    def _batch_error(self, model: str, ended: ProcessEnded) -> Exception:
        """Return the error to raise for a process that ended while it predicted."""
        match ended.kill_reason:
            case KillReason.MEMORY if self._models <= {model}:  # if others used memory, retry in a new process
                return self._memory_error(model)
            case KillReason.DEADLINE:
                return WorkerLost(f"A batch of {model} took longer than {self._limits.batch_seconds:g} seconds.")
        return WorkerLost(
            f"The process that runs {model} ended while it predicted: {ended!s}. If its memory ran out, lower "
            "ERRATA_BATCH_SIZE or raise the limit of the worker."
        )

    def _memory_error(self, model: str) -> ModelRefused:
        return ModelRefused(
            f"{model} took more memory than {self._limits.max_memory:,} bytes. Lower ERRATA_BATCH_SIZE, or raise "
            "ERRATA_MODEL_MEMORY_BYTES if the worker has more."
        )


def _classes_of(label_space: LabelSpace | None) -> list[str] | None:
    """Return the name and the classes of a label space for a request; None for ImageNet-1k."""
    return None if label_space is None else [label_space.name, *class_lines(label_space)]
