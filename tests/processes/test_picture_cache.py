"""Processes that share a cache of pictures: concurrent writes, and kills during a write."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.predictions.pictures.cache import BLOCK, PictureCache

BOUND = 200 * BLOCK
WRITER = """
import hashlib, random, sys
from pathlib import Path
from service.predictions.pictures.cache import PictureCache

cache = PictureCache(Path(sys.argv[1]), int(sys.argv[2]))
draw = random.Random(int(sys.argv[3]))
for _ in range(int(sys.argv[4])):
    number = draw.randrange(400)
    key = hashlib.sha256(str(number).encode()).hexdigest()
    content = str(number).encode() * 2000
    if draw.random() < 0.5:
        cache.write(key, content)
    elif (cached := cache.read(key)) is not None:
        assert cached == content, "another picture, or a part of one"
print("done", flush=True)
"""


def start(folder: Path, seed: int, count: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WRITER, str(folder), str(BOUND), str(seed), str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def assert_consistent(folder: Path) -> int:
    """Check every file, and return their size in whole blocks."""
    total = 0
    for path in folder.glob("*/*"):
        total += -(-path.stat().st_size // BLOCK) * BLOCK
        if not path.name.startswith("."):
            entry = path.read_bytes()
            assert hashlib.sha256(entry[32:]).digest() == entry[:32]
    return total


def test_processes_that_write_at_once_stay_within_the_bound(tmp_path: Path) -> None:
    writers = [start(tmp_path, seed, 800) for seed in range(3)]
    while any(writer.poll() is None for writer in writers):
        try:
            assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= BOUND
        except FileNotFoundError:
            continue  # removed while it was measured
        time.sleep(0.05)

    assert [(writer.returncode, writer.communicate()[1]) for writer in writers] == [(0, b"")] * 3
    assert BOUND * 0.5 < assert_consistent(tmp_path) <= BOUND
    assert assert_consistent(tmp_path) <= int((tmp_path / "total").read_bytes()) <= BOUND


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_leaves_a_usable_cache(tmp_path: Path, seed: int) -> None:
    """The process is killed after some files, at an arbitrary instruction of a write."""
    writer = start(tmp_path, seed, 1_000_000)
    while len(list(tmp_path.glob("*/*"))) < 20 + seed:
        assert writer.poll() is None
        time.sleep(0.003 * seed)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()

    assert writer.returncode == -signal.SIGKILL
    assert assert_consistent(tmp_path) <= BOUND
    after = start(tmp_path, seed + 100, 1500)  # the lock is free
    assert after.communicate(timeout=120) == (b"done\n", b"")
    assert assert_consistent(tmp_path) <= BOUND
    cache = PictureCache(tmp_path, BOUND)
    cache.write("f" * 64, b"picture")
    assert cache.read("f" * 64) == b"picture"


def test_a_process_that_is_killed_between_the_temporary_file_and_its_name_leaves_no_picture(tmp_path: Path) -> None:
    script = WRITER.replace("draw = ", "import os, signal\nos.replace = lambda *_: os.kill(os.getpid(), 9)\ndraw = ")
    child = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(BOUND), "1", "50"], capture_output=True)

    assert child.returncode == -signal.SIGKILL
    temporary = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("lock", "total")]
    assert temporary and all(name.startswith(".") for name in temporary)
    assert start(tmp_path, 2, 500).communicate(timeout=120) == (b"done\n", b"")
    assert assert_consistent(tmp_path) <= BOUND
