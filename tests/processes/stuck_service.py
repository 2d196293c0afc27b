"""A service or worker process with a thread that never ends, selected by the argument and the variable STUCK.

serve, local: the thread of an upload or of the list of analyses gets stuck. work: a model gets stuck.
"""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request

from service.analyses import upload
from service.bootstrap import local
from service.bootstrap.local import run_local_until_signal
from service.bootstrap.serve import run_service
from service.bootstrap.work import run_worker
from service.domain import LabelSpace, ModelInfo, Predictions
from service.jobs.engine import Engine
from service.predictions.fake import FakePredictor
from service.report.listing_view import ListView
from service.settings import read_settings
from service.telemetry import configure_logging
from service.web import pages
from service.web.analysis_list import AnalysisList

HOURS = 100_000


def _python() -> None:
    for _ in range(HOURS * 10**6):
        pass


def _numpy() -> None:
    matrix = np.ones((3000, 3000))
    for _ in range(HOURS):
        matrix = np.tanh(matrix @ matrix)


def _regex() -> None:
    re.fullmatch("(a*)*b", "a" * 60)  # backtracks for years while it holds the GIL


def _until_file_exists() -> None:
    while not Path(os.environ["STUCK_UNTIL"]).exists():
        time.sleep(0.01)


STUCK: dict[str, Callable[[], None]] = {
    "sleep": lambda: time.sleep(HOURS),
    "python": _python,
    "numpy": _numpy,
    "regex": _regex,
    "until file exists": _until_file_exists,
}


class StuckPredictor:
    """Never predicts."""

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        return FakePredictor([model], 1).load(model, label_space)

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        return FakePredictor([], 1).images_digest(dataset, names)

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        stuck()
        yield from ()


def log(event: str) -> None:
    """Log an event."""
    sys.stderr.write(f'{{"event": "{event}"}}\n')
    sys.stderr.flush()


def stuck(*_: Any) -> None:
    """Run code that never ends."""
    log("stuck")
    STUCK[os.environ["STUCK"]]()


class StuckList(AnalysisList):
    """The list of analyses, read after the stuck code."""

    def view(self, request: Request) -> ListView:
        stuck()
        return super().view(request)


class LoggingEngine(Engine):
    """An engine that logs when it has stopped."""

    def stop(self, grace_period: float) -> None:
        super().stop(grace_period)
        log("engine stopped")


if __name__ == "__main__":
    local.Engine = LoggingEngine  # type: ignore[misc,attr-defined]
    upload.upload = stuck  # type: ignore[assignment]
    pages.AnalysisList = StuckList  # type: ignore[misc,attr-defined]
    settings = read_settings()
    configure_logging(settings.log_level, "json")
    match sys.argv[1]:
        case "serve":
            asyncio.run(run_service(settings))
        case "local":
            asyncio.run(run_local_until_signal(settings))
        case "work":
            asyncio.run(run_worker(settings, StuckPredictor()))
