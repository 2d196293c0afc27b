"""Isolation: what a sandboxed process cannot do, tried in a real process."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.isolation import missing_isolation

pytestmark = pytest.mark.processes

SETUP = """
import errno, os, socket, sys, signal
from service.isolation import restrict_files, system_call_filter
rules = system_call_filter()
os.chdir(os.path.dirname(sys.argv[1]))
sys.path.insert(0, os.getcwd())  # as `python -m` does
restrict_files()
if sys.argv[2] == "all":
    rules.load()
"""
FORBIDDEN = {
    "read a secret": "open(sys.argv[1]).read()",
    "write a file": "open(sys.argv[1] + '.new', 'w')",
    "change a file": "open(sys.argv[1], 'r+')",
    "remove a file": "os.unlink(sys.argv[1])",
    "list a folder": "os.listdir(os.path.dirname(sys.argv[1]))",
    "write beside the code": "open(os.path.join(sys.prefix, 'planted.py'), 'w')",
}
FORBIDDEN_CALLS = {
    "open a socket": "socket.socket()",
    "open a Unix socket": "socket.socket(socket.AF_UNIX)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "end its parent": "os.kill(os.getppid(), signal.SIGTERM)",
    "signal a thread": "import threading; signal.pthread_kill(threading.get_ident(), signal.SIGURG)",
    "have its parent signaled": "import fcntl; fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())",
    "raise its limits": "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
}


def attempt(code: str, secret: Path, level: str) -> subprocess.CompletedProcess[str]:
    script = f"{SETUP}\ntry:\n    {code}\nexcept PermissionError:\n    print('refused')\nelse:\n    print('done')\n"
    return subprocess.run([sys.executable, "-c", script, str(secret), level], capture_output=True, text=True)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text("secret")
    return file


def test_this_kernel_has_both_mechanisms() -> None:
    assert missing_isolation() == ()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_files_outside_of_python_are_out_of_reach(secret: Path, name: str) -> None:
    result = attempt(FORBIDDEN[name], secret, "files")

    assert (result.stdout, result.stderr) == ("refused\n", "")
    assert secret.read_text() == "secret"
    assert [file.name for file in secret.parent.iterdir()] == ["tokens"]


@pytest.mark.parametrize("name", {**FORBIDDEN, **FORBIDDEN_CALLS})
def test_no_system_call_reaches_outside(secret: Path, name: str) -> None:
    result = attempt({**FORBIDDEN, **FORBIDDEN_CALLS}[name], secret, "all")

    assert (result.stdout, result.stderr) == ("refused\n", "")
    assert secret.read_text() == "secret"


def test_python_still_imports_its_own_modules(secret: Path) -> None:
    assert attempt("import lzma, bz2, decimal", secret, "all").stdout == "done\n"
