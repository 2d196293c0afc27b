"""Kills the parent process if it still runs some seconds after SIGTERM, SIGINT, or SIGHUP.

Signal handlers and threads of the parent can't run while another thread holds the GIL, for example during a long match
of a regular expression. This process depends only on a pipe, into which the parent's interpreter writes the number of
each signal (`signal.set_wakeup_fd`). Process 1 of a container can't be killed from inside the container; the container
runtime kills it.

Usage: `python kill_parent.py SECONDS`, with the pipe as standard input. The script imports only the standard library
(8 MB of memory).
"""

import contextlib
import json
import os
import select
import signal
import sys
import time


def main() -> None:
    """Wait for a signal, and kill the parent if it has not ended in time."""
    parent, seconds = os.getppid(), float(sys.argv[1])
    signal_numbers = b"\0"
    while not set(signal_numbers) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
        signal_numbers = os.read(0, 64)
        if not signal_numbers:
            return  # the parent has ended
    deadline = time.monotonic() + seconds
    while select.select([0], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not os.read(0, 64):
            return
    if os.getppid() == parent:
        line = {"event": "process killed after the grace period: a thread holds the GIL", "level": "error"}
        with contextlib.suppress(OSError):  # raised if stderr is a terminal that was closed
            sys.stderr.write(json.dumps(line) + "\n")
        os.kill(parent, signal.SIGKILL)


if __name__ == "__main__":
    main()
