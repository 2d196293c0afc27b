"""Generate the blocking client, errata/_sync, from the asyncio client, errata/_async (`make sync-client`)."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import unasync

ERRATA = Path(__file__).resolve().parent / "errata"
MODULES = ("calls.py", "client.py", "evidence.py", "reviews.py", "verdicts.py")
NAMES = {
    "AsyncCalls": "Calls",
    "AsyncClient": "Client",
    "AsyncEvidenceMethods": "EvidenceMethods",
    "AsyncReviewMethods": "ReviewMethods",
    "AsyncVerdicts": "Verdicts",
    "_async": "_sync",
}
HEADER = "# Generated from errata/_async/{name} by client/generate_sync.py. Do not edit.\n"
RUFF = Path(sysconfig.get_path("scripts")) / "ruff"


def generate_sync(target: Path) -> None:
    """Write the generated modules into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "_async"
        source.mkdir()
        rule = unasync.Rule(fromdir="/_async/", todir="/_sync/", additional_replacements=NAMES)
        for name in MODULES:
            shutil.copy(ERRATA / "_async" / name, source)
            unasync.unasync_files([str(source / name)], [rule])
            text = _remove_async_words((Path(folder) / "_sync" / name).read_text())
            (target / name).write_text(_format(HEADER.format(name=name) + text, name))


def _remove_async_words(text: str) -> str:
    """Convert docstrings, strings, and `Awaitable`, which unasync leaves unchanged."""
    text = re.sub(r"Awaitable\[(\w+)\]", r"\1", text).replace(" Awaitable,", "")
    for name, replacement in NAMES.items():
        text = re.sub(rf"\b{name}\b", replacement, text)
    return re.sub(r"\b(async|await) ", "", text.replace("an `async with`", "a `with`"))


def _format(text: str, name: str) -> str:
    """Return the text in the repository's format, because the conversion changed names, line lengths, and loops."""
    file_name = f"--stdin-filename={ERRATA / '_sync' / name}"
    fix = ["check", "--fix", "--unsafe-fixes", "--quiet", "--select=C416,F401,I,UP028"]
    for command in (fix, ["format", "--quiet"]):
        run = [str(RUFF), *command, file_name, "-"]
        text = subprocess.run(run, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    generate_sync(Path(sys.argv[1]) if sys.argv[1:] else ERRATA / "_sync")
