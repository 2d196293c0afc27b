"""Shared fixtures: the reference data, a data folder, and bundles."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from demo_predictions import predictions_csv
from errata.imports import without_garbage_collection
from example_counts import FAST
from hypothesis import settings
from tiers import ProcessGuard, add_markers, mix_modules

from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository

# No deadlines: machines differ, and a busy one is no failure.
settings.register_profile("random", deadline=None)  # other examples in each run, of `make fuzz`
settings.register_profile("repeatable", deadline=None, derandomize=True)  # the same examples in each run
settings.register_profile("fast", settings.get_profile("repeatable"), max_examples=FAST)  # of `make test-fast`
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# The default renderer lists the local variables of each frame with rich, which takes up to 3 s for one traceback.
# The default stream is sys.stdout of the moment, so that a service in this process could log into a command's output.
structlog.configure(
    [
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ],
    logger_factory=structlog.PrintLoggerFactory(sys.__stderr__),
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests that start processes out of the fast tier."""
    config.pluginmanager.register(ProcessGuard())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect tests without garbage collections, which would take a third of the time.

    Later ones take a second less each, since they do not visit the tests.
    """
    with without_garbage_collection():
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Assign each test to its tier; order the modules for several workers."""
    add_markers(items)
    if hasattr(config, "workerinput"):
        mix_modules(items)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data. Skip if ERRATA_REFERENCE_DIR is unset; fail if the folder does not exist."""
    path = os.environ.get("ERRATA_REFERENCE_DIR")
    if path is None:
        pytest.skip("ERRATA_REFERENCE_DIR is not set")
    folder = Path(path)
    assert (folder / "published").is_dir(), f"ERRATA_REFERENCE_DIR={path}: reference data not found"
    return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which bundles are built once per session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def repository(data_dir: Path) -> EvidenceRepository:
    """The repository of the session's data folder."""
    return EvidenceRepository({}, data_dir)


@pytest.fixture(scope="session")
def imagenet_real(repository: EvidenceRepository) -> Bundle:
    """The bundle of ReaL labels."""
    return repository.find("imagenet-real", "")


@pytest.fixture(scope="session")
def demo(repository: EvidenceRepository) -> Bundle:
    """The bundle of the 20 demo photographs."""
    return repository.find("demo", "")


@pytest.fixture(scope="session")
def demo_csv(demo: Bundle) -> bytes:
    """Predictions for the 20 photographs: all correct, except for the first two, which are class 0."""
    return predictions_csv(demo, 2).encode()
