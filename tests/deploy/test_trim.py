"""Files of installed packages that the images leave out."""

import runpy
from pathlib import Path

TRIM = runpy.run_path(str(Path(__file__).parents[2] / "deploy" / "trim.py"))["trim"]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0123456789")


def test_tests_stubs_and_headers_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    remaining = (
        "scipy/special/a.py",
        "scipy/version.py",
        "botocore/data/s3/a.json",
        "net/core.py",
        "net/lib.so",
        "numpy/_core/tests/_natype.py",
        "net/tests.py",
        "net/testing/util.py",
    )
    deleted = (
        "scipy/stats/a.py",
        "botocore/data/ec2/a.json",
        "pyarrow/libarrow_flight.so.1",
        "net/tests/test_core.py",
        "net/tests/data/a.bin",
        "net/core.pyi",
        "net/include/net/core.hpp",
    )
    write(tmp_path, *remaining, *deleted)

    assert TRIM(tmp_path) == 10 * len(deleted)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == set(remaining)
