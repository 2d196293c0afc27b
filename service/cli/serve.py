"""errata serve: run the service."""

import asyncio

import click
from errata.cli.commands import command
from errata.imports import without_garbage_collection

from service.settings import read_settings
from service.telemetry import configure_logging
from service.tracing import start_tracing, stop_tracing

EXAMPLES = """
errata serve --local
ERRATA_REDIS_URL=redis://127.0.0.1:6379/0 errata serve
ERRATA_GRPC_ADDRESS=0.0.0.0:50051 ERRATA_TOKENS=tokens errata serve --local
"""


@command(examples=EXAMPLES)
@click.option("--local", is_flag=True, help="Run everything in one process, without Redis and workers.")
def serve(local: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C. Environment variables set its options."""
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    with without_garbage_collection():
        from service.bootstrap.local import run_local_until_signal
        from service.bootstrap.serve import run_service
        from service.cli.bundle_paths import BundlePaths

    if local:  # also the bundles of analyses that commands with --local made
        settings = read_settings(evidence=BundlePaths(settings.data_dir).add_used_bundles(settings.evidence))

    run = run_local_until_signal if local else run_service
    start_tracing("errata-api")
    try:
        asyncio.run(run(settings))
    finally:
        stop_tracing()
