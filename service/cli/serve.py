"""errata serve: run the service."""

import asyncio

import click

from service.settings import read_settings
from service.telemetry import configure_logging


@click.command()
@click.option("--local", is_flag=True, help="All of it in one process: no Redis, no workers.")
def serve(local: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C. Its settings are environment variables, see the README."""
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    from service.bootstrap.local import run_local_until_signal
    from service.bootstrap.serve import run_service

    def ready(addresses: object) -> None:
        """Nothing more to do: the log says where."""

    run = run_local_until_signal if local else run_service
    asyncio.run(run(settings, ready))
