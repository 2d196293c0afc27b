"""errata work: run a worker."""

import asyncio

from errata.cli.commands import command
from errata.imports import without_garbage_collection

from service.settings import read_settings
from service.telemetry import configure_logging

EXAMPLES = """
ERRATA_REDIS_URL=redis://127.0.0.1:6379/0 errata work
ERRATA_DEVICE=cuda:0 errata work
"""


@command(examples=EXAMPLES)
def work() -> None:
    """Run models for the service until SIGTERM or Ctrl-C. Start one worker for each GPU.

    Environment variables set its options.
    """
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    with without_garbage_collection():
        from service.bootstrap.work import run_worker

    asyncio.run(run_worker(settings))
