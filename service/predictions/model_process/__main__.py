"""The child process: `python -m service.predictions.model_process PARENT_PID`, requests on stdin, answers on stdout."""

import os
import signal
import sys
from contextlib import suppress
from typing import BinaryIO

from service.child_process import exit_with_parent
from service.predictions.process_tuning import tune_process

OOM_SCORE = 1000  # the kernel ends this process before any other


def main(parent: int) -> None:
    """Serve requests until the worker closes the pipe or ends."""
    _ignore_stop_signals()
    exit_with_parent(parent)
    _prefer_in_oom()
    requests, answers = _take_pipes()
    tune_process()  # before numpy, Arrow, and torch are imported: later it brings half as much
    from errata.errors import PermanentError

    from service.predictions.model_process.config import PredictorConfig
    from service.predictions.model_process.messages import error_message
    from service.predictions.model_process.protocol import MAX_REQUEST, Message, read_message, write_message
    from service.telemetry import configure_logging

    config = PredictorConfig.from_json(read_message(requests, MAX_REQUEST).header)
    configure_logging(config.log_level, config.log_format)
    try:
        from service.predictions.model_process.server import Server
        from service.predictions.models.device import gpu_memory
        from service.predictions.models.torch_predictor import TorchPredictor
    except ImportError as error:
        missing = PermanentError(f"Models need torch and timm. Install errata-service[worker] ({error}).")
        write_message(answers, error_message(missing))
        return
    predictor = TorchPredictor(config.images, config.policy, config.batch_size, config.threads, config.device)
    write_message(answers, Message({"kind": "ready"}))
    with suppress(EOFError, BrokenPipeError):  # the worker has ended, or wants no more
        Server(predictor, requests, answers, gpu_memory).run()


def _ignore_stop_signals() -> None:
    """Ignore the signals that drain a worker.

    A supervisor may send SIGTERM to a whole control group. The worker drains then, and ends this process itself.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prefer_in_oom() -> None:
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(OOM_SCORE))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes, and let whatever a library prints go to stderr."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


if __name__ == "__main__":
    main(int(sys.argv[1]))
