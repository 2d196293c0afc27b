"""Delete files of installed packages that no process of Errata reads: tests, type stubs, and headers.

Usage: python3 deploy/trim.py FOLDER
"""

import shutil
import sys
from pathlib import Path

FOLDERS = frozenset({"tests", "include"})
SUFFIXES = frozenset({".pyi", ".pxd", ".pyx", ".h", ".hpp", ".a", ".lib", ".cmake"})
IMPORTED = ("numpy/_core/tests", "sympy/testing/tests")  # numpy.testing imports the first


def trim(site_packages: Path) -> int:
    """Delete the files, and return how many bytes they had."""
    size = 0
    for path in sorted(site_packages.rglob("*")):
        if not path.exists() or path.relative_to(site_packages).as_posix() in IMPORTED:
            continue
        is_folder = path.is_dir() and path.name in FOLDERS
        if is_folder or (path.is_file() and path.suffix in SUFFIXES):
            files = [file for file in path.rglob("*") if file.is_file()] if is_folder else [path]
            size += sum(file.stat().st_size for file in files)
            shutil.rmtree(path) if is_folder else path.unlink()
    return size


if __name__ == "__main__":
    for folder in Path(sys.argv[1]).glob("lib/python3*/site-packages"):
        sys.stdout.write(f"Deleted {trim(folder) / 1e6:.0f} MB from {folder}\n")
