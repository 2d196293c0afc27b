"""A fork server, and the sandboxed processes that it forks. Each process parses one file.

`python -m service.predictions.sandbox.server DESCRIPTOR LIMITS` forks a process before each file arrives. Over the
socket DESCRIPTOR, the server sends the ID of the process with a socket to the process, and later its exit code. The
process receives one request with the descriptors of the file and of the output, writes the rows, answers `done`, and
ends.
"""

import gc
import io
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import BinaryIO, NoReturn

import numpy as np
import pyarrow as pa
from errata.errors import InvalidUpload, TooLarge
from pyarrow import parquet
from seccompy import Filter

from service.child_process import exit_with_parent
from service.isolation import restrict_files, system_call_filter
from service.predictions.sandbox.limits import ParserLimits, apply_limits
from service.predictions.sandbox.messages import (
    DONE,
    MAX_REQUEST,
    decode_limits,
    decode_request,
    encode_event,
    out_of_memory,
)
from service.predictions.sandbox.rows_file import write_error, write_rows
from service.predictions.uploads.binary import READERS, ParseRequest, read_binary
from service.predictions.uploads.rows import NamedRows

PREMAPPED_BYTES = 12 << 20
SETUP_FAILED = 70  # exit code of a process that failed before it received a file, as the next process would


def main() -> None:
    """Serve until the other end of the socket is closed."""
    control, limits = socket.socket(fileno=int(sys.argv[1])), decode_limits(sys.argv[2])
    samples = _samples()
    gc.freeze()  # a garbage collection would copy every shared page
    rules = system_call_filter()  # ctypes may write temporary files while it finds the C library
    restrict_files()
    server, child, exit_pipe = os.getpid(), 0, _signal_pipe()
    while not child or _wait(control, child, exit_pipe):
        service_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = os.fork()
        if child == 0:
            control.close()
            service_end.close()
            exit_with_parent(server)
            _serve_one(child_end, limits, rules, samples)
        child_end.close()
        socket.send_fds(control, [encode_event("pid", child)], [service_end.fileno()])
        service_end.close()


def _signal_pipe() -> int:
    """Return a pipe that becomes readable when a child ends; pidfd_open(2) is missing in some kernels."""
    exit_pipe, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return exit_pipe


def _wait(control: socket.socket, child: int, exit_pipe: int) -> bool:
    """Wait until the child has ended, and send its exit code; return whether the server forks another child."""
    poll = select.poll()  # poll(), because select() fails for descriptors from 1024 on
    poll.register(control, select.POLLIN)
    poll.register(exit_pipe, select.POLLIN)
    while True:
        if control.fileno() in [descriptor for descriptor, _ in poll.poll()]:
            return False
        os.read(exit_pipe, 1)
        reaped, status = os.waitpid(child, os.WNOHANG)
        if reaped:
            break
    code = os.waitstatus_to_exitcode(status)
    control.send(encode_event("exit", code))
    return code != SETUP_FAILED


def _samples() -> Mapping[str, bytes]:
    """Return a small file of each format.

    Writing the files makes the libraries import their modules. Reading would start a thread, and a process with threads
    must not fork.
    """
    files = {name: io.BytesIO() for name in READERS}
    names, classes = pa.array([b"a"]), np.array([1])
    parquet.write_table(pa.table({"file_name": names, "top1": classes}), files["parquet"])
    np.save(files["npy"], classes)
    np.savez_compressed(files["npz"], top1=classes)
    write_rows(io.BytesIO(), iter([NamedRows(names, pa.array(classes), None, classes)]))
    assert len(os.listdir("/proc/self/task")) == 1, "This is a bug: a library started a thread before the fork."
    return {name: file.getvalue() for name, file in files.items()}


def _warm_up(samples: Mapping[str, bytes]) -> None:
    """Parse a small file of each format, so that threads run and memory is mapped before the upload arrives."""
    b"x" * PREMAPPED_BYTES  # the memory is freed immediately, but stays mapped
    for name, content in samples.items():
        write_rows(
            io.BytesIO(),
            read_binary(ParseRequest(name, images=1, num_classes=2, max_unpacked=1 << 20), io.BytesIO(content)),
        )


def _serve_one(
    channel: socket.socket, limits: ParserLimits, rules: Filter | None, samples: Mapping[str, bytes]
) -> NoReturn:
    """Parse one file, write its rows or an error, and end the process."""
    code = SETUP_FAILED
    try:
        apply_limits(limits)
        if rules is not None:
            rules.load()
        _warm_up(samples)
        code = 1
        content, descriptors, *_ = socket.recv_fds(channel, MAX_REQUEST, 2)
        if content:
            source, output = descriptors
            with open(source, "rb") as file, open(output, "w+b") as rows:
                _parse(decode_request(content), file, rows, limits)
            channel.send(DONE)
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _parse(request: ParseRequest, file: BinaryIO, rows: BinaryIO, limits: ParserLimits) -> None:
    try:
        write_rows(rows, read_binary(request, file))
    except (InvalidUpload, TooLarge) as error:
        write_error(rows, error)
    except MemoryError:
        write_error(rows, out_of_memory(limits))
    except Exception as error:  # parsers may raise any error for a damaged file
        message = (
            f"The file is damaged: its {request.format} parser failed with {type(error).__name__}. Write it again, or "
            "upload CSV."
        )
        write_error(rows, InvalidUpload(message, field="chunk"), detail=traceback.format_exc())


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):  # the service has ended
        main()
