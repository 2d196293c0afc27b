"""The number of fuzz examples: 100 per property, or FUZZ_EXAMPLES (`make fuzz`)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from .parser import Parser

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES") or 100),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
FUZZ = settings.get_profile("fuzz")  # decorates each property here; loading it would change other folders' tests too


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    """Start a parser in a separate process."""
    started = Parser()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a file that exists only if something was unpickled."""
    return tmp_path_factory.mktemp("canary") / "woken"
