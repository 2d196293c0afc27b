"""A service, or anything that prints where it listens, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(arguments: list[str], folder: str) -> Iterator[str]:
    """Run `python -m …` until the block ends; give the gRPC address of its JSON line `ready` on stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
    environment |= {"ERRATA_DATA_DIR": folder, "ERRATA_LOG_FORMAT": "json"}
    environment |= {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"}
    process = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        try:
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == "ready":
                    break
            else:
                raise RuntimeError(f"{arguments} ended before it was ready")
            yield event["grpc"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            process.wait()
