"""Conversion of Vega-Lite specifications to SVG, in this process or in a child process.

vl_convert holds the global interpreter lock while it draws (30 ms, 400 ms for the first chart), which would delay all
requests of the service. The child process, `python -m service.report.chart_process`, reads one specification per line
and writes its SVG as a JSON string per line.
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

VEGA_LITE_VERSION = "5.20"
NICE = 5  # niceness of the child process: requests have priority over charts
TIMEOUT_SECONDS = 30.0  # time limit for one chart
_WARM_UP = {"data": {"values": [{"x": 1}]}, "mark": "bar", "encoding": {"x": {"field": "x", "type": "quantitative"}}}
_log = structlog.get_logger()


def draw_in_process(spec: Mapping[str, Any]) -> str:
    """Convert a specification to SVG in this process."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(dict(spec), vl_version=VEGA_LITE_VERSION)
    return svg


class ChartProcess:
    """Draws in a child process, and in this process if the child fails or is not started. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._is_started = False

    def start(self) -> None:
        """Start the child process, which warms up in the background."""
        with self._lock:
            self._process = self._spawn()
            self._is_started = True

    def stop(self) -> None:
        """Stop the child process."""
        with self._lock:
            self._is_started = False
            self._kill()

    def draw(self, spec: Mapping[str, Any]) -> str:
        """Convert a specification to SVG."""
        with self._lock:
            if not self._is_started:
                return draw_in_process(spec)
            try:
                self._process = self._process or self._spawn()
                return self._request(spec)
            except (OSError, ValueError) as error:
                _log.warning("chart process failed", error=repr(error)[:200])
                self._kill()
                with suppress(OSError):  # such as too many processes; the next chart starts the process again
                    self._process = self._spawn()
        return draw_in_process(spec)

    def _request(self, spec: Mapping[str, Any]) -> str:
        """Return the SVG from the child process; raise OSError or ValueError if it exits, fails, or times out."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None, "This is a bug"
        timeout = threading.Timer(TIMEOUT_SECONDS, process.kill)
        timeout.start()
        try:
            process.stdin.write(json.dumps(spec) + "\n")
            process.stdin.flush()
            svg = json.loads(process.stdout.readline())
        finally:
            timeout.cancel()
        if not isinstance(svg, str):
            raise ValueError("The chart process returned no SVG.")
        return svg

    def _spawn(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # in a new session, so that Ctrl-C reaches the service only, which stops the child
            [sys.executable, "-m", "service.report.chart_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=child_environment(),
        )

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


CHART_PROCESS = ChartProcess()  # only the service starts it


def main() -> None:
    """Convert the specifications from standard input at a low priority."""
    os.nice(NICE)
    draw_in_process(_WARM_UP)
    for line in sys.stdin:
        try:
            svg: str | None = draw_in_process(json.loads(line))
        except ValueError:  # vl_convert raises it for an invalid specification
            svg = None
        try:
            sys.stdout.write(json.dumps(svg) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # the service was killed
            os._exit(1)  # at exit, the interpreter would flush the rest, and log another error


if __name__ == "__main__":
    main()
