"""A real service over a real socket with a hash predictor: one a session, and one a test where it must be alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running_service import MODEL, Running, Start, started

from service.client import Client
from service.evidence.bundle import Bundle

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


@pytest.fixture(scope="session")
def demo_csv(demo: Bundle) -> bytes:
    """A predictions file for the 20 photographs: all right but the first two, which are taken for class 0."""
    predicted = np.array(demo.all_targets)
    predicted[:2] = 0
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, predicted.tolist(), strict=True)]
    return ("file_name,predicted_class\n" + "\n".join(rows) + "\n").encode()
