"""The pen: turns Vega-Lite specifications into SVG, here or, in a service, in a process of its own.

The library that draws holds Python's lock until a picture is done (30 ms, the first one 400 ms), so that every call of
the service would wait for it. `python -m service.report.pen` is the other process: a specification a line in, its SVG
as a JSON string a line out, until there is no more.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from service.child_process import child_environment

VERSION = "5.20"  # of Vega-Lite
NICE = 5  # of the drawing process: a picture may wait for a read, and not the other way round
PATIENCE = 30.0  # seconds that a picture may take
FIRST = {"data": {"values": [{"x": 1}]}, "mark": "bar", "encoding": {"x": {"field": "x", "type": "quantitative"}}}
_log = structlog.get_logger()


def draw_here(spec: Mapping[str, Any]) -> str:
    """Return a specification as SVG, drawn in this process."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(dict(spec), vl_version=VERSION)
    return svg


class OwnProcess:
    """Draws in a process of its own; what it can't draw is drawn here. `start` first; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process; it warms up while others do their work."""
        with self._lock:
            self._process = self._started()

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def draw(self, spec: Mapping[str, Any]) -> str:
        """Return a specification as SVG."""
        with self._lock:
            if self._process is None:
                return draw_here(spec)
            try:
                return self._ask(spec)
            except (OSError, ValueError) as error:
                _log.warning("the drawing process is started again", error=repr(error)[:200])
                self._end()
                self._process = self._started()
        return draw_here(spec)

    def _ask(self, spec: Mapping[str, Any]) -> str:
        """Return what the process draws; raise OSError or ValueError where it has died, or takes too long."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None, "this is a bug"
        late = threading.Timer(PATIENCE, process.kill)
        late.start()
        try:
            process.stdin.write(json.dumps(spec) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        finally:
            late.cancel()
        if not isinstance(answer, str):
            raise ValueError("expected a picture, got none")
        return answer

    def _started(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # of its own session: Ctrl-C is for the service, which ends it
            [sys.executable, "-m", "service.report.chart_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=child_environment(),
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


_OWN = OwnProcess()  # of this process; not started outside of a service


def start() -> None:
    """From now on, draw in a process of its own."""
    _OWN.start()


def stop() -> None:
    """Draw here again."""
    _OWN.stop()


def draw(spec: Mapping[str, Any]) -> str:
    """Return a specification as SVG."""
    return _OWN.draw(spec)


def main() -> None:
    """Draw what comes on standard input, after those who have calls to answer."""
    os.nice(NICE)
    draw_here(FIRST)
    for line in sys.stdin:
        try:
            answer: str | None = draw_here(json.loads(line))
        except ValueError:  # the library's word for a specification that isn't one
            answer = None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
