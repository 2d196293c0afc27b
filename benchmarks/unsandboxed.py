"""The local service with parsers in its own process; the reference of benchmarks/sandbox.py."""

import asyncio

from service.bootstrap.local import run_local_until_signal
from service.predictions.sandbox import pool
from service.settings import read_settings
from service.telemetry import configure_logging

if __name__ == "__main__":
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    pool.IS_SUPPORTED = False
    asyncio.run(run_local_until_signal(settings))
