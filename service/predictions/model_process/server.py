"""The request loop of the child process: it calls the predictor for one request at a time, until the pipe closes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

import structlog
from errata.errors import ErrataError

from service.domain import LabelSpace, Predictions, parse_class_lines
from service.predictions.model_process.messages import (
    batch_message,
    error_message,
    images_message,
    model_info_message,
)
from service.predictions.model_process.protocol import MAX_REQUEST, Message, read_message, write_message
from service.predictions.models.torch_predictor import TorchPredictor

GpuMemory = Callable[[], Mapping[str, tuple[int, int]]]  # used and total bytes by device
_log = structlog.get_logger()


class Server:
    """Serves the commands `load`, `images`, `predict`, `next`, and `stop` over a pair of pipes."""

    def __init__(
        self, predictor: TorchPredictor, requests: BinaryIO, responses: BinaryIO, gpu_memory: GpuMemory
    ) -> None:
        self._predictor = predictor
        self._requests = requests
        self._responses = responses
        self._gpu_memory = gpu_memory
        self._batches: Iterator[Predictions] = iter(())
        self._classes: object = None  # name and classes of the label space in the last request
        self._label_space: LabelSpace | None = None

    def run(self) -> None:
        """Serve requests.

        Raises:
            EOFError: The worker closed the pipe.
            SystemExit: The predictor raised an unexpected error. The process ends, because every later
                call can fail too, for example after an illegal memory access on a GPU.
        """
        while True:
            request = read_message(self._requests, MAX_REQUEST)
            try:
                response = self._handle(request.header)
            except ErrataError as error:
                response = error_message(error)
            except Exception as error:
                _log.exception("predictor failed")
                self._send(Message({"kind": "failed", "type": type(error).__name__[:200]}))
                raise SystemExit(1) from error
            self._send(response)

    def _send(self, message: Message) -> None:
        header = {**message.header, "gpu_memory": dict(self._gpu_memory())}
        write_message(self._responses, replace(message, header=header))

    def _handle(self, header: Mapping[str, object]) -> Message:
        match header:
            case {"command": "load", "model": str(model), "context": dict(context), "classes": classes}:
                structlog.contextvars.clear_contextvars()
                structlog.contextvars.bind_contextvars(**context)
                return model_info_message(self._predictor.load(model, self._label_space_of(classes)))
            case {"command": "images", "dataset": str(dataset), "names": list(names)}:
                return images_message(self._predictor.images_digest(dataset, names))
            case {"command": "predict", "model": str(model), "dataset": str(dataset), "names": list(names)}:
                label_space = self._label_space_of(header.get("classes"))
                self._batches = self._predictor.predict(model, dataset, names, label_space)
                return Message({"kind": "ready"})
            case {"command": "next"}:
                batch = next(self._batches, None)
                return Message({"kind": "end"}) if batch is None else batch_message(batch)
            case {"command": "stop"}:
                self._batches.close()  # type: ignore[attr-defined]
                return Message({"kind": "end"})
        raise AssertionError(f"This is a bug: unknown command {header.get('command')!r}.")

    def _label_space_of(self, classes: object) -> LabelSpace | None:
        """Return the label space of a request. Equal classes give the same object, so that the model stays loaded."""
        if classes != self._classes:
            self._classes = classes
            match classes:
                case [str(name), *lines]:
                    self._label_space = parse_class_lines(name, [str(line) for line in lines])
                case _:
                    self._label_space = None
        return self._label_space
