"""A program that uses OpenTelemetry and the clients: PROGRAM SERVER MODEL FILE analyzes a model, and uploads a file.

WEBHOOK in the environment is a JSON object with url, headers, and body of a request that it posts instead.
"""

import asyncio
import json
import os
import sys
import urllib.request

from errata import AsyncClient, Client
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


async def upload(server: str, file: str) -> None:
    async with AsyncClient(server) as client:
        await client.upload(file, "demo", accept_implausible=True)


def post_webhook(url: str, headers: dict[str, str], body: str) -> None:
    inject(headers)
    urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers, method="POST"), timeout=20).close()


def main(server: str, model: str, file: str) -> None:
    with trace.get_tracer("test").start_as_current_span("program"):
        if "WEBHOOK" in os.environ:
            post_webhook(**json.loads(os.environ["WEBHOOK"]))
            return
        with Client(server) as client:
            client.wait(client.analyze(model, "demo"))
        asyncio.run(upload(server, file))


if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    main(*sys.argv[1:])
    provider.shutdown()
