"""Tests whose tool or package is not installed are skipped locally, and fail in CI."""

import os
from importlib.util import find_spec
from typing import NoReturn

import pytest


def skip_or_fail(message: str) -> NoReturn:
    """Skip the test; fail it in CI, and where `.ci/run` has set the folder of reference data."""
    if os.environ.get("CI") == "true" or "ERRATA_REFERENCE_DIR" in os.environ:
        pytest.fail(message)
    pytest.skip(message)


def require_package(name: str) -> None:
    """Skip or fail the test if a package is not installed."""
    if find_spec(name) is None:
        skip_or_fail(f"{name} is not installed")
