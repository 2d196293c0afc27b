"""The loop of the child process: it answers requests with the predictor, one at a time, until its pipe closes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

import structlog
from errata.errors import ErrataError

from service.domain import Predictions
from service.predictions.model_process.messages import batch_frame, error_frame, info_frame
from service.predictions.model_process.protocol import MAX_REQUEST, Frame, read_frame, write_frame
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
            request = read_frame(self._requests, MAX_REQUEST)
            try:
                answer = self._answer(request.head)
            except ErrataError as error:
                answer = error_frame(error)
            except Exception as error:
                _log.exception("The predictor met an error")
                self._send(Frame({"kind": "failed", "type": type(error).__name__[:200]}))
                raise SystemExit(1) from error
            self._send(answer)

    def _send(self, frame: Frame) -> None:
        write_frame(self._answers, replace(frame, head={**frame.head, "gpu_memory": dict(self._gpu_memory())}))

    def _answer(self, head: Mapping[str, object]) -> Frame:
        match head:
            case {"do": "load", "model": str(model), "context": dict(context)}:
                structlog.contextvars.clear_contextvars()
                structlog.contextvars.bind_contextvars(**context)
                return info_frame(self._predictor.load(model))
            case {"do": "predict", "model": str(model), "dataset": str(dataset), "names": list(names)}:
                self._batches = self._predictor.predict(model, dataset, names)
                return Frame({"kind": "ready"})
            case {"do": "next"}:
                batch = next(self._batches, None)
                return Frame({"kind": "end"}) if batch is None else batch_frame(batch)
            case {"do": "stop"}:
                self._batches.close()  # type: ignore[attr-defined]
                return Frame({"kind": "end"})
        raise AssertionError(f"This is a bug: unknown request {head.get('do')!r}.")
