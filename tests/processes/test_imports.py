"""Imported modules: the API does not import torch, timm, or NLTK, and help imports few modules."""

import subprocess
import sys
from pathlib import Path

from .conftest import environment

JUDGE = """
import io, sys
from service.bootstrap.local import local_service
from errata import Client
from service.settings import read_settings

settings = read_settings(grpc_address="127.0.0.1:0", http_address="127.0.0.1:0", grace_seconds=1.0)
with local_service(settings) as addresses, Client(addresses.grpc) as client:
    client.datasets()
    client.models()
    try:
        client.upload(io.BytesIO(b"file_name,top1\\nnone.jpg,1\\n"), "demo")
    except Exception as error:
        print(type(error).__name__)
print(sorted({"torch", "timm", "nltk", "torchvision"} & sys.modules.keys()))
"""

HELP = """
import sys
from service.cli.main import errata
errata(["--help"], standalone_mode=False)
print(sorted({"grpc", "numpy", "pyarrow", "rich", "starlette", "pydantic"} & sys.modules.keys()))
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


def test_an_api_process_does_not_import_torch(data_dir: Path, tmp_path: Path) -> None:
    lines = list_imported_modules(JUDGE, data_dir, tmp_path)

    assert "InvalidRow" in lines  # the process has parsed and judged an upload
    assert lines[-1] == "[]"


def test_help_imports_no_large_packages(data_dir: Path, tmp_path: Path) -> None:
    assert list_imported_modules(HELP, data_dir, tmp_path)[-1] == "[]"
