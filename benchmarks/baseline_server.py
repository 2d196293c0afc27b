"""A minimal grpc.aio server that reads a stream and returns its length; the lower bound for any upload."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc


async def main() -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    async def echo(messages: AsyncIterator[bytes], _: object) -> bytes:
        size = 0
        async for message in messages:
            size += len(message)
        return str(size).encode()

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Echo": grpc.stream_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stderr.write(json.dumps({"event": "ready", "grpc": f"127.0.0.1:{port}"}) + "\n")
    sys.stderr.flush()
    await stopped.wait()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
