"""Uploads are parsed in a separate process, so that crashes, hangs, and excessive memory are detected.

Binary formats are parsed in the sandbox of a service, with a smaller bound on memory.
"""

import io
import json
import os
import select
import struct
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from errata.errors import ErrataError, InvalidUpload, TooLarge

from service.domain import RowOrder
from service.predictions.sandbox import ParserPool
from service.predictions.sandbox.limits import ParserLimits
from service.predictions.uploads import Layout, parse_upload
from service.taxonomy.imagenet_1k import imagenet_1k

MAX_BYTES = 1 << 20
SECONDS = 60.0  # limit for parsing one file
HEAD = struct.Struct("<II")  # the bound on the file, and its length
NAMES = tuple(f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 13))
PATHS = (11, 3, 2, 0, 7, 8, 5, 1, 9, 10, 6, 4)  # image of each row, in path order
JUDGED = (0, 1, 3, 4, 5, 6, 8, 9, 10, 11)


def layout_of(names: "tuple[str, ...] | list[str]" = NAMES) -> Layout:
    """Return a data set of images with these names."""
    images = len(names)
    by_path = np.array([row for row in PATHS if row < images] + list(range(len(PATHS), images)), dtype=np.intp)
    return Layout(
        dataset="small",
        names=pa.array([name.encode() for name in names], type=pa.binary()),
        positions=lambda order: np.arange(images) if order is RowOrder.FILE_NAME else by_path,
        label_space=imagenet_1k(),
    )


@dataclass(frozen=True)
class Outcome:
    """The result of parsing one file."""

    end: str  # read, refused, or broken
    detail: str  # the format, the error's reason, or a traceback
    bytes_read: int  # of the file
    memory_growth: int  # MiB of peak growth of the process
    classes: tuple[int, ...] = ()  # of the judged images, where it was read


class Parser:
    """Sends files to the process, and starts a new process when the last one has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def parse(self, content: bytes, limit: int = MAX_BYTES) -> Outcome:
        """Parse a file in the process; fail if the process ends or hangs."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(HEAD.pack(limit, len(content)) + content)
            process.stdin.flush()
            assert select.select([process.stdout], [], [], SECONDS)[0], f"not done after {SECONDS:g} seconds"
            line = process.stdout.readline()
        except (AssertionError, OSError):
            self.stop()
            raise
        if not line:
            code = process.wait()
            self.stop()
            raise AssertionError(f"the parser ended with {code}")
        result = json.loads(line)
        return Outcome(**result | {"classes": tuple(result["classes"])})

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Counting:
    """A stream that counts the bytes read."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        piece = self._content.read(size)
        self.bytes_read += len(piece)
        return piece


def main() -> None:
    """Parse the files on stdin, and write their outcomes to stdout."""
    layout = layout_of()
    pool = ParserPool(size=1, limits=ParserLimits(memory=96 << 20))
    while head := sys.stdin.buffer.read(HEAD.size):
        limit, size = HEAD.unpack(head)
        source = Counting(sys.stdin.buffer.read(size))
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak memory
        before = _peak_memory()
        end, detail, classes = _outcome(layout, source, limit, pool)
        memory_growth = (_peak_memory() - before) // 1024
        line = {
            "end": end,
            "detail": detail,
            "classes": classes,
            "bytes_read": source.bytes_read,
            "memory_growth": memory_growth,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    pool.stop()
    os._exit(0)  # pyarrow may still read ahead in another thread, which aborts when the interpreter ends


def _peak_memory() -> int:
    """Return the peak memory of this process in KiB; getrusage would start at that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def _outcome(layout: Layout, source: Counting, limit: int, pool: ParserPool) -> tuple[str, str, list[int]]:
    try:
        upload = parse_upload(source, layout, RowOrder.UNSPECIFIED, limit, pool)
    except ErrataError as error:
        if not isinstance(error, InvalidUpload | TooLarge):
            return "broken", f"an unexpected error class: {error!r}", []
        detail = [error.message, *(violation.description for violation in error.violations)]
        if not all(detail) or len(error.violations) > 10:
            return "broken", f"an error without a message, or with too many violations: {error!r}", []
        if "parser failed with" in error.message or "returned no rows" in error.message:
            return "broken", error.message, []
        return "refused", error.reason, []
    except BaseException:
        return "broken", traceback.format_exc()[-2000:], []
    judged = [image for image in JUDGED if image < len(layout.names)]
    return "read", upload.format, upload.predictions.top1[judged].tolist()


if __name__ == "__main__":
    main()
