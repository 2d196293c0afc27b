#!/usr/bin/env python3
"""Build both images and use them: the API takes an upload from outside, a worker judges the 20 photographs over Redis.

BUILD_IMAGES names a command with `build DOCKERFILE TAG [NAME=VALUE…]`, `run TAG COMMAND…` (as the image's user, on the
host's network) and `size TAG`; WORKER_ARGS are build arguments of the worker's image, such as PIP_ARGS=… for CPUs.
Run it from the project's root, with the project's own Python: the client is the one installed there.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from errata import Client, pb  # noqa: E402
from redis_server import RedisServer, free_port  # noqa: E402

BUILDER = os.environ.get("BUILD_IMAGES", "")
IMAGES = {"errata-api": "deploy/api.Dockerfile", "errata-worker": "deploy/worker.Dockerfile"}
USER = "10001"
PROBE = """
import importlib.util, json, os
print(json.dumps({"user": os.getuid(), "torch": importlib.util.find_spec("torch") is not None}))
"""


def call(*arguments: str) -> str:
    return subprocess.run([BUILDER, *arguments], check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def start(stack: ExitStack, tag: str, command: str, **settings: str) -> None:
    """Start a command in an image, until the stack is unwound."""
    variables = [f"{name}={value}" for name, value in settings.items()]
    process = subprocess.Popen(
        [BUILDER, "run", tag, "env", *variables, "errata", command], cwd=ROOT, start_new_session=True
    )

    def stop() -> None:
        subprocess.run(["pkill", "-TERM", "-g", str(os.getpgid(process.pid))], check=False)
        process.wait(60)

    stack.callback(stop)


def main() -> None:
    """Build, probe, serve, judge; end with an AssertionError where something isn't as it should be."""
    if not BUILDER or shutil.which(BUILDER) is None:
        sys.exit("expected a command that builds images in BUILD_IMAGES, got none")
    for tag, dockerfile in IMAGES.items():
        began = time.monotonic()
        build_arguments = shlex.split(os.environ.get("WORKER_ARGS", "")) if tag == "errata-worker" else []
        subprocess.run(
            [BUILDER, "build", dockerfile, tag, *build_arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        probe = json.loads(call("run", tag, "python3", "-c", PROBE).splitlines()[-1])
        print(f"{call('size', tag)}, built in {time.monotonic() - began:.0f} s: {probe}", flush=True)
        assert probe == {"user": int(USER), "torch": tag == "errata-worker"}
    grpc, http, worker = (f"127.0.0.1:{free_port()}" for _ in range(3))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        redis = RedisServer(Path(folder))
        redis.start()
        stack.callback(redis.stop)
        start(
            stack, "errata-api", "serve", ERRATA_REDIS_URL=redis.url, ERRATA_GRPC_ADDRESS=grpc, ERRATA_HTTP_ADDRESS=http
        )
        client = stack.enter_context(Client(grpc))
        deadline = time.monotonic() + 60
        while not client.is_serving():
            assert time.monotonic() < deadline, "the API doesn't serve"
            time.sleep(0.5)
        file = Path(folder) / "predictions.csv"
        names = sorted(json.loads((ROOT / "service/evidence/data/demo.json").read_text()))
        file.write_text("file_name,predicted_class\n" + "".join(f"{name},0\n" for name in names))
        analysis = client.upload(file, dataset="demo")
        assert analysis.state == pb.Analysis.STATE_SUCCEEDED
        print(f"the API judged an upload: {dict(analysis.summary.groups['all'].counts)}", flush=True)
        start(stack, "errata-worker", "work", ERRATA_REDIS_URL=redis.url, ERRATA_WORKER_HTTP_ADDRESS=worker)
        while not client.models():
            assert time.monotonic() < deadline + 120, "no worker offers a model"
            time.sleep(0.5)
        *_, ended = client.watch(client.analyze("demo:efficientnet_lite0", "demo").name)
        assert ended.state == pb.Analysis.STATE_SUCCEEDED, ended
        accuracy = ended.summary.groups["all"].top1_accuracy
        print(f"the worker ran EfficientNet-Lite0 on the 20 photographs: top-1 {accuracy:.2f}", flush=True)
        assert accuracy == 0.9


if __name__ == "__main__":
    main()
