"""The child process, `python -m service.predictions.model_process PARENT_PID`. It serves requests on stdin."""

import os
import signal
import sys
from contextlib import suppress
from typing import BinaryIO

from service.child_process import exit_with_parent
from service.predictions.process_tuning import tune_process

OOM_SCORE = 1000  # when memory runs out, the kernel kills this process before any other


def main(parent: int) -> None:
    """Serve requests until the worker closes the pipe or ends."""
    _ignore_stop_signals()
    exit_with_parent(parent)
    _raise_oom_score()
    requests, responses = _take_pipes()
    tune_process()  # before the imports of numpy, Arrow, and torch; later, it has half the effect
    from errata.errors import InvalidSetting, PermanentError
    from errata.imports import without_garbage_collection

    from service.predictions.model_process.config import PredictorConfig
    from service.predictions.model_process.messages import error_message
    from service.predictions.model_process.protocol import MAX_REQUEST, Message, read_message, write_message
    from service.telemetry import configure_logging

    config = PredictorConfig.from_json(read_message(requests, MAX_REQUEST).header)
    configure_logging(config.log_level, config.log_format)
    sys.modules["wandb"] = None  # type: ignore[assignment]  # timm imports it for training, which takes 0.4 s
    try:
        with without_garbage_collection():
            from service.predictions.model_process.server import Server
            from service.predictions.models.device import gpu_memory
            from service.predictions.models.torch_predictor import TorchPredictor
        predictor = TorchPredictor(config.images, config.policy, config.batch_size, config.threads, config.device)
    except ImportError as error:
        missing = PermanentError(f"Models need torch and timm. Install errata-service[worker]. ({error})")
        write_message(responses, error_message(missing))
        return
    except InvalidSetting as error:
        write_message(responses, error_message(error))
        return
    write_message(responses, Message({"kind": "ready"}))
    with suppress(EOFError, BrokenPipeError):  # the worker has ended, or has closed the pipe
        Server(predictor, requests, responses, gpu_memory).run()


def _ignore_stop_signals() -> None:
    """Ignore the signals that drain a worker.

    A supervisor may send SIGTERM to all processes of the control group. The worker then drains, and ends this process.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _raise_oom_score() -> None:
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(OOM_SCORE))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes of requests and responses, and redirect stdout to stderr for libraries that print."""
    requests = os.fdopen(os.dup(0), "rb")
    responses = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, responses


if __name__ == "__main__":
    main(int(sys.argv[1]))
