"""Download an evidence bundle from an object store into a folder: python3 fetch.py URL FOLDER.

The content is not trusted: this script limits names and sizes, and `errata evidence verify` then checks the digest. A
bundle has no subfolders (service/evidence/bundle.py), so a file name is a complete path.
"""

import re
import shutil
import sys
from pathlib import Path

import fsspec

MAX_BYTES = 1 << 30
MAX_FILES = 64
BLOCK = 1 << 20
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\.(json|npy)")


class InvalidBundle(ValueError):
    """The files are not a bundle."""


def fetch(url: str, folder: Path, max_bytes: int = MAX_BYTES) -> int:
    """Download a bundle.

    Args:
        url: The folder of the bundle in the store.
        folder: The destination, which is replaced.
        max_bytes: The maximum size of the bundle.

    Returns:
        The number of downloaded bytes.

    Raises:
        InvalidBundle: The files are not a bundle. The destination does not exist afterward.
    """
    store, root = fsspec.core.url_to_fs(url)
    root = root.rstrip("/")
    relative_paths = (path.removeprefix(root).removeprefix("/") for path in store.find(root))
    names = sorted(name for name in relative_paths if name)  # some tools create an empty object for a folder
    if "manifest.json" not in names:
        raise InvalidBundle(f"No manifest.json at {url}. Set EVIDENCE_URL to the folder of a bundle.")
    if invalid := [name for name in names if not NAME.fullmatch(name)]:
        raise InvalidBundle(f"Unexpected file {invalid[0]!r:.100} at {url}. The folder must contain only the bundle.")
    if len(names) > MAX_FILES:
        raise InvalidBundle(f"Too many files at {url}: {len(names)}. A bundle has at most {MAX_FILES} files.")
    part = folder.with_name(f"{folder.name}.part")
    for previous in (part, folder):  # an earlier start of the pod may have left these folders
        shutil.rmtree(previous, ignore_errors=True)
    part.mkdir(parents=True)
    num_bytes = 0
    try:
        for name in names:
            with store.open(f"{root}/{name}", "rb") as source, (part / name).open("wb") as target:
                while block := source.read(BLOCK):
                    num_bytes += len(block)
                    if num_bytes > max_bytes:
                        raise InvalidBundle(f"The bundle at {url} is too large. It may have at most {max_bytes} bytes.")
                    target.write(block)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return num_bytes


def download_errors() -> tuple[type[Exception], ...]:
    """Return the errors of stores and destinations. botocore is only installed with s3fs."""
    errors = (ImportError, OSError, ValueError)
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return errors
    return (*errors, BotoCoreError)


def main(url: str, folder: str) -> str:
    """Return what was downloaded; raise SystemExit with one line if it fails."""
    try:
        return f"{fetch(url, Path(folder))} bytes downloaded from {url}\n"
    except InvalidBundle as error:
        raise SystemExit(str(error)) from error
    except download_errors() as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise SystemExit(
            f"Cannot download {url} to {folder}: {reason}. Set EVIDENCE_URL to s3://BUCKET/FOLDER, and check the "
            "Secret errata-object-store, the connection to the store, and that the folder can be written."
        ) from error


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]))
