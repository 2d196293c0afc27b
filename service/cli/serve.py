"""errata serve: run the service."""

import asyncio

import click

from service.errors import InvalidSetting
from service.settings import read_settings
from service.telemetry import configure_logging


@click.command()
@click.option("--local", is_flag=True, help="All of it in one process: no Redis, no GPU, no network.")
def serve(local: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C. Its settings are environment variables, see the README."""
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    if not local:
        raise InvalidSetting(
            "the service over Redis comes with a later release: start it with --local", field="ERRATA_REDIS_URL"
        )
    from service.bootstrap.local import run_local_until_signal

    def ready(addresses: object) -> None:
        """Nothing more to do: the log says where."""

    asyncio.run(run_local_until_signal(settings, ready))
