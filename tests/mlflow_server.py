"""An MLflow server for tests, with SQLite and webhooks over plain HTTP, which tests can kill and start."""

import base64
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from redis_server import free_port

START_SECONDS = 90.0


class MlflowServer:
    """A process `mlflow server`; `folder` has its data, which persist across restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "MlflowServer":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment |= {
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "https,http",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": self.key,
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",
            "MLFLOW_WEBHOOK_REQUEST_TIMEOUT": "5",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # four more processes, which no test uses
        }
        store = f"sqlite:///{self.folder / 'mlflow.db'}"
        arguments = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--backend-store-uri", store]
        arguments += ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *arguments],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "mlflow.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "mlflow server does not answer"
            time.sleep(0.2)
        return self

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # includes its worker processes
            self.process.wait(10)
