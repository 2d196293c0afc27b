"""Imports of processes: the API has no torch, timm, or NLTK; the client has no service; help has almost nothing."""

import subprocess
import sys
from pathlib import Path

from .conftest import environment

JUDGE = """
import io, sys
from service.bootstrap.local import local_service
from errata import Client
from service.settings import read_settings
from service.tracing import start_tracing

start_tracing("errata-api")

settings = read_settings(grpc_address="127.0.0.1:0", http_address="127.0.0.1:0", grace_seconds=1.0)
with local_service(settings) as addresses, Client(addresses.grpc) as client:
    client.datasets()
    client.models()
    try:
        client.upload(io.BytesIO(b"file_name,top1\\nnone.jpg,1\\n"), "demo")
    except Exception as error:
        print(type(error).__name__)
heavy = {"opentelemetry.sdk.trace", "opentelemetry.exporter", "scipy.special", "torch", "timm", "nltk", "torchvision"}
print(sorted(heavy & sys.modules.keys()))
"""

HELP = """
import sys
from errata.cli.main import errata
errata(["--help"], standalone_mode=False)
print(sorted({"grpc", "numpy", "pyarrow", "rich", "starlette", "pydantic"} & sys.modules.keys()))
"""

CLIENT = """
import sys
from errata.cli.main import run
code = run(["list", "--server", "127.0.0.1:1"])
heavy = {"service", "numpy", "pandas", "pyarrow", "pydantic", "jinja2", "altair", "yaml", "structlog", "opentelemetry"}
print(code, sorted(heavy & sys.modules.keys()))
"""


def list_imported_modules(program: str, data_dir: Path, archive: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(data_dir, ERRATA_ARCHIVE=str(archive)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_an_api_process_that_has_analyzed_an_upload_has_no_torch(data_dir: Path, tmp_path: Path) -> None:
    lines = list_imported_modules(JUDGE, data_dir, tmp_path)

    assert "InvalidRow" in lines  # it has parsed the upload
    assert lines[-1] == "[]"


def test_help_imports_no_heavy_packages(data_dir: Path, tmp_path: Path) -> None:
    assert list_imported_modules(HELP, data_dir, tmp_path)[-1] == "[]"


def test_a_command_of_the_client_imports_no_service(data_dir: Path, tmp_path: Path) -> None:
    assert list_imported_modules(CLIENT, data_dir, tmp_path)[-1] == "3 []"
