"""The loop of the child process: it answers requests with the predictor, one at a time, until its pipe closes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

import structlog
from errata.errors import ErrataError

from service.domain import Predictions
from service.predictions.model_process.messages import batch_message, error_message, model_info_message
from service.predictions.model_process.protocol import MAX_REQUEST, Message, read_message, write_message
from service.predictions.models.torch_predictor import TorchPredictor

Memory = Callable[[], Mapping[str, tuple[int, int]]]
_log = structlog.get_logger()


class Server:
    """Answers `load`, `predict`, `next`, and `stop` over a pair of pipes."""

    def __init__(self, predictor: TorchPredictor, requests: BinaryIO, answers: BinaryIO, gpu_memory: Memory) -> None:
        self._predictor = predictor
        self._requests = requests
        self._answers = answers
        self._gpu_memory = gpu_memory
        self._batches: Iterator[Predictions] = iter(())

    def run(self) -> None:
        """Answer requests until there are no more.

        Raises:
            EOFError: The worker closed the pipe.
            SystemExit: The predictor met an error that is none of Errata's. After an illegal memory access on a GPU,
                for example, no later call of this process succeeds.
        """
        while True:
            request = read_message(self._requests, MAX_REQUEST)
            try:
                answer = self._answer(request.header)
            except ErrataError as error:
                answer = error_message(error)
            except Exception as error:
                _log.exception("The predictor met an error")
                self._send(Message({"kind": "failed", "type": type(error).__name__[:200]}))
                raise SystemExit(1) from error
            self._send(answer)

    def _send(self, message: Message) -> None:
        write_message(
            self._answers, replace(message, header={**message.header, "gpu_memory": dict(self._gpu_memory())})
        )

    def _answer(self, header: Mapping[str, object]) -> Message:
        match header:
            case {"do": "load", "model": str(model), "context": dict(context)}:
                structlog.contextvars.clear_contextvars()
                structlog.contextvars.bind_contextvars(**context)
                return model_info_message(self._predictor.load(model))
            case {"do": "predict", "model": str(model), "dataset": str(dataset), "names": list(names)}:
                self._batches = self._predictor.predict(model, dataset, names)
                return Message({"kind": "ready"})
            case {"do": "next"}:
                batch = next(self._batches, None)
                return Message({"kind": "end"}) if batch is None else batch_message(batch)
            case {"do": "stop"}:
                self._batches.close()  # type: ignore[attr-defined]
                return Message({"kind": "end"})
        raise AssertionError(f"This is a bug: unknown request {header.get('do')!r}.")
