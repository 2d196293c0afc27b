"""Files of installed packages that the images leave out."""

import runpy
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy" / "trim.py"
TRIM = runpy.run_path(str(SCRIPT))["trim"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


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


def test_links_are_deleted_but_not_what_they_point_to(tmp_path: Path) -> None:
    packages, outside = tmp_path / "packages", tmp_path / "outside"
    write(outside, "a.py")
    write(packages, "scipy/version.py", "net/tests/a.py")
    for link, target in (
        ("net/core/tests", outside),
        ("scipy/stats", outside),
        ("net/core/include", packages / "net" / "tests"),
    ):
        (packages / link).parent.mkdir(parents=True, exist_ok=True)
        (packages / link).symlink_to(target)

    TRIM(packages)

    assert [path.name for path in outside.iterdir()] == ["a.py"]
    assert sorted(path.name for path in packages.rglob("*")) == ["core", "net", "scipy", "version.py"]


def test_the_packages_of_a_virtual_environment_and_further_files_are_deleted(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    write(packages, "net/tests/a.py", "hf_xet/a.so", "net/core.py")

    done = run(str(tmp_path), "hf_xet")

    assert (done.returncode, done.stdout) == (0, f"Deleted 0 MB from {packages}\n")
    assert [path.name for path in packages.rglob("*")] == ["net", "core.py"]


def test_a_folder_without_packages_is_refused(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none"))

    assert (done.returncode, done.stdout) == (1, "")
    expected = f"No lib/python3*/site-packages in {tmp_path / 'none'}. Name the folder of a virtual environment.\n"
    assert done.stderr == expected
    assert run().returncode == 2
