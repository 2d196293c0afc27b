"""Fixtures of a service with a hash predictor: one per session, and separate ones for single tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client
from running_service import MODEL, Running, Start, start_service

from service.web import metrics_endpoint

__all__ = ["MODEL", "Running", "Start", "start_service"]


@pytest.fixture(scope="session")
def running(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for the whole session."""
    with start_service(data_dir, tmp_path_factory.mktemp("archive")) as service:
        yield service


@pytest.fixture
def client(running: Running) -> Client:
    """A client of the session's service."""
    return running.client


@pytest.fixture
def start(data_dir: Path, tmp_path: Path) -> Start:
    """Return a function that starts a separate service; within a test, the archive stays the same."""
    return lambda **settings: start_service(data_dir, tmp_path / "archive", **settings)


@pytest.fixture(autouse=True)
def fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Update the metrics of the store at each scrape instead of once per second."""
    monkeypatch.setattr(metrics_endpoint, "CACHE_SECONDS", 0.0)
