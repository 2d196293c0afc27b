"""A real service over a real socket with a hash predictor: one a session, and one a test where it must be alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client
from running_service import MODEL, Running, Start, started

from service.web import metrics_endpoint

__all__ = ["MODEL", "Running", "Start", "started"]


@pytest.fixture(scope="session")
def running(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for the whole session."""
    with started(data_dir, tmp_path_factory.mktemp("archive")) as service:
        yield service


@pytest.fixture
def client(running: Running) -> Client:
    """A client of the session's service."""
    return running.client


@pytest.fixture
def start(data_dir: Path, tmp_path: Path) -> Start:
    """Start a service of one's own; twice in a test gives the same archive."""
    return lambda **settings: started(data_dir, tmp_path / "archive", **settings)


@pytest.fixture(autouse=True)
def fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show each count as it is now; a service shows it as it was within the last second."""
    monkeypatch.setattr(metrics_endpoint, "CACHE_SECONDS", 0.0)
