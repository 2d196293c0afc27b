"""errata work: run a worker."""

import asyncio

import click

from service.settings import read_settings
from service.telemetry import configure_logging


@click.command()
def work() -> None:
    """Run models for the service until SIGTERM or Ctrl-C: one worker a GPU. Its settings are environment variables."""
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    from service.bootstrap.work import run_worker

    def ready(address: str) -> None:
        """Nothing more to do: the log says where."""

    asyncio.run(run_worker(settings, ready))
