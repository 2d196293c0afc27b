"""Delete files of installed packages that no process of Errata reads.

Usage: python3 deploy/trim.py FOLDER [PATTERN...], where the patterns are further files below site-packages.

The container tests run the trimmed images.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

FOLDERS = frozenset({"tests", "include"})  # of any package
SUFFIXES = frozenset({".pyi", ".pxd", ".pxi", ".pyx", ".h", ".hpp", ".a", ".lib", ".cmake"})  # stubs and headers
EXCEPTIONS = frozenset({"numpy/_core/tests"})  # numpy.testing imports it
NEEDED = {  # the subfolders that are used; all others are deleted
    "botocore/data": {"s3", "signin", "sso", "sso-oidc", "sts"},  # descriptions of services: 25 MB
    "scipy": {"__pycache__", "_lib", "special"},  # 70 MB
}
UNUSED = (
    *(f"pyarrow/*{part}*" for part in ("flight", "s3", "gcsfs", "hdfs", "orc")),  # 55 MB: servers and file systems
    "pyarrow/libarrow_python*.so",  # 5 MB: copies of the library under other names
    "pyarrow/libarrow_python*.so.*.*",
    "numpy/distutils",
    "numpy/_core/_simd*",  # for numpy's own tests
    "PIL/_avif*",
    "pygments",  # 10 MB: rich highlights source code with it
    "pillow.libs/libavif*",
)


def trim(site_packages: Path, patterns: Iterable[str] = UNUSED) -> int:
    """Delete the files, and return how many bytes they had."""
    doomed = [path for pattern in patterns for path in site_packages.glob(pattern)]
    doomed += [
        path
        for folder, names in NEEDED.items()
        for path in (site_packages / folder).glob("*/")
        if path.is_dir() and path.name not in names
    ]
    doomed += [
        path
        for path in site_packages.rglob("*")
        if (path.name in FOLDERS and path.is_dir()) or (path.suffix in SUFFIXES and path.is_file())
    ]
    size = 0
    for path in doomed:
        if not os.path.lexists(path) or path.relative_to(site_packages).as_posix() in EXCEPTIONS:
            continue
        if path.is_dir() and not path.is_symlink():
            size += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            shutil.rmtree(path)
        else:
            size += path.lstat().st_size
            path.unlink()
    return size


def main(arguments: list[str]) -> str:
    """Trim the packages of a virtual environment, and return what was deleted."""
    parser = argparse.ArgumentParser(usage="python3 deploy/trim.py FOLDER [PATTERN...]")
    parser.add_argument("folder", type=Path)
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args(arguments)
    folders = list(options.folder.glob("lib/python3*/site-packages"))
    if not folders:
        raise SystemExit(
            f"No lib/python3*/site-packages in {options.folder}. Name the folder of a virtual environment."
        )
    sizes = {folder: trim(folder, (*UNUSED, *options.patterns)) for folder in folders}
    return "".join(f"Deleted {size / 1e6:.0f} MB from {folder}\n" for folder, size in sizes.items())


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
