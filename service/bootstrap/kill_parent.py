"""Kills the parent process if it still runs some seconds after SIGTERM or SIGINT.

Python's own handlers and threads wait for Python's lock, which a regular expression, for one, holds until it is done.
This process needs nothing of its parent but a pipe, into which the interpreter writes each signal's number at once
(`signal.set_wakeup_fd`). The first process of a container cannot be killed from inside it; there, the runtime does so.

Run as a script, given the seconds; the pipe is its standard input. It imports the standard library alone: 8 MB.
"""

import json
import os
import select
import signal
import sys
import time


def main() -> None:
    """Wait for a signal, and then for the end of the parent, until the time is over."""
    parent, seconds = os.getppid(), float(sys.argv[1])
    numbers = b"\0"  # of signals
    while not set(numbers) & {signal.SIGTERM, signal.SIGINT}:
        numbers = os.read(0, 64)
        if not numbers:
            return  # the parent has ended
    deadline = time.monotonic() + seconds
    while select.select([0], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not os.read(0, 64):
            return
    if os.getppid() == parent:
        line = {"event": "killed: the grace period is over and a thread holds Python's lock", "level": "error"}
        sys.stderr.write(json.dumps(line) + "\n")
        os.kill(parent, signal.SIGKILL)


if __name__ == "__main__":
    main()
