"""Test tiers: which tests need other processes or a browser, and a guard that keeps them out of the fast tier.

`make test-fast` runs all tests without one of these markers:

- processes: the test starts other processes, such as a service, Redis, a parser or a model.
- browser: the test runs Chromium.
- containers: the test needs a container engine.
- slow: the test takes several seconds.
"""

import functools
import multiprocessing.util
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent
FOLDERS = {  # all tests of these folders have the marker
    "api": "processes",
    "browser": "browser",
    "containers": "containers",
    "deploy": "processes",
    "fuzz": "processes",
    "golden": "slow",
    "processes": "processes",
    "security": "processes",
    "unit/predictions/models": "slow",  # they import torch, which takes seconds in each worker
}
SLOW_FIXTURES = {"open_clip"}  # they import torch, too
WAITING = ("processes", "security")  # folders whose tests mostly wait for processes
IMPLEMENTATIONS = ("[redis", "[process", "[torch", "[s3")  # of tests/ports: in another process, or slow
MAY_START = ("processes", "browser", "containers")  # markers of tests that start processes
STARTS = (  # functions that start processes, by their module or class
    (os, "fork"),
    (os, "forkpty"),
    (os, "posix_spawn"),
    (os, "system"),
    (multiprocessing.util, "spawnv_passfds"),
    (subprocess.Popen, "_execute_child"),
)


def mix_modules(items: list[pytest.Item]) -> None:
    """Order modules so that those that wait run beside those that compute. pytest-xdist assigns them in this order.

    Modules with many tests begin, since a long module at the end would run alone.
    """
    sizes = Counter(item.path for item in items)
    largest_first = sorted(sizes, key=lambda module: -sizes[module])
    waiting = [module for module in largest_first if _folder(module) in WAITING]
    computing = [module for module in largest_first if _folder(module) not in WAITING]
    rank = {module: place / len(group) for group in (waiting, computing) for place, module in enumerate(group)}
    items.sort(key=lambda item: rank[item.path])


def _folder(module: Path) -> str:
    return module.relative_to(ROOT).parts[0]


def _marker(module: Path) -> str | None:
    """Return the marker of the folder of a module, or of a folder above."""
    folders = [folder.as_posix() for folder in module.relative_to(ROOT).parents]
    return next((FOLDERS[folder] for folder in folders if folder in FOLDERS), None)


def add_markers(items: list[pytest.Item]) -> None:
    """Add the marker of its folder, or of the implementation that it tests, to each test."""
    for item in items:
        folder = _folder(item.path)
        if marker := _marker(item.path):
            item.add_marker(marker)
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SLOW_FIXTURES:
            item.add_marker("slow")
        if folder == "ports" and ("server" in fixtures or any(name in item.name for name in IMPLEMENTATIONS)):
            item.add_marker("processes")


class ProcessGuard:
    """Fails a test that starts a process without one of the markers in MAY_START.

    It wraps the functions that start processes. An audit hook would also run while a thread installs the trace function
    of coverage, which fails in other threads meanwhile.
    """

    def __init__(self) -> None:
        self._item: pytest.Item | None = None
        for owner, name in STARTS:
            setattr(owner, name, self._guarded(getattr(owner, name)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Remember which test runs."""
        self._item = item
        try:
            return (yield)
        finally:
            self._item = None

    def _guarded(self, start: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(start)
        def check_and_start(*args: Any, **kwargs: Any) -> Any:
            item = self._item
            if item is not None and not any(item.get_closest_marker(name) for name in MAY_START):
                raise RuntimeError(f"{item.nodeid} starts a process. Mark it with pytest.mark.processes.")
            return start(*args, **kwargs)

        return check_and_start
