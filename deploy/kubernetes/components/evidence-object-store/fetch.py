"""Fetch an evidence bundle from an object store into a folder: python3 fetch.py URL FOLDER.

What comes isn't trusted: names and sizes are bounded here, and `errata evidence verify` holds the content to a digest
afterwards. A bundle is flat (service/evidence/bundle.py), so that a name is all that a place takes.
"""

import re
import shutil
import sys
from pathlib import Path

import fsspec

MOST_BYTES = 1 << 30
MOST_FILES = 64
BLOCK = 1 << 20
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\.(json|npy)")


def fetch(url: str, folder: Path, most_bytes: int = MOST_BYTES) -> int:
    """Return the bytes that came; raise ValueError, and leave no folder, for what can't be a bundle."""
    store, root = fsspec.core.url_to_fs(url)
    root = root.rstrip("/")
    result = (item.removeprefix(root).removeprefix("/") for item in store.find(root))
    names = sorted(name for name in result if name)  # a browser of stores leaves an empty object for a folder
    if "manifest.json" not in names:
        raise ValueError(f"expected a bundle at {url}, got no manifest.json there")
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise ValueError(f"expected a bundle's files alone at {url}, got {wrong[0]!r:.100}")
    if len(names) > MOST_FILES:
        raise ValueError(f"expected at most {MOST_FILES} files at {url}, got {len(names)}")
    part = folder.with_name(f"{folder.name}.part")
    for left in (part, folder):  # of a start before this one
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    came = 0
    try:
        for name in names:
            with store.open(f"{root}/{name}", "rb") as source, (part / name).open("wb") as target:
                while block := source.read(BLOCK):
                    came += len(block)
                    if came > most_bytes:
                        raise ValueError(f"expected at most {most_bytes} bytes at {url}, got more")
                    target.write(block)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return came


if __name__ == "__main__":
    url, folder = sys.argv[1:]
    try:
        print(f"{fetch(url, Path(folder))} bytes from {url}")  # noqa: T201
    except ValueError as error:
        sys.exit(str(error))
