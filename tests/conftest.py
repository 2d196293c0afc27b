"""What all tests share: the reference data, a data folder for the session, and the bundles built in it."""

import os
from pathlib import Path

import numpy as np
import pytest
from tiers import ProcessGuard, add_markers

from service.evidence.bundle import Bundle
from service.evidence.repository import EvidenceRepository


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests that start processes out of the fast tier."""
    config.pluginmanager.register(ProcessGuard())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Assign each test to its tier."""
    add_markers(items)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The reference data: skip where ERRATA_REFERENCE_DIR is unset, fail where it is set and isn't there."""
    given = os.environ.get("ERRATA_REFERENCE_DIR")
    if given is None:
        pytest.skip("ERRATA_REFERENCE_DIR is not set")
    folder = Path(given)
    assert (folder / "published").is_dir(), f"ERRATA_REFERENCE_DIR={given}: no reference data there"
    return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which bundles are built once a session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def evidence_repository(data_dir: Path) -> EvidenceRepository:
    """The bundles of the session's data folder."""
    return EvidenceRepository({}, data_dir)


@pytest.fixture(scope="session")
def imagenet_real(evidence_repository: EvidenceRepository) -> Bundle:
    """The bundle of ReaL labels."""
    return evidence_repository.find("imagenet-real", "")


@pytest.fixture(scope="session")
def demo(evidence_repository: EvidenceRepository) -> Bundle:
    """The bundle of the 20 photographs."""
    return evidence_repository.find("demo", "")


@pytest.fixture(scope="session")
def demo_csv(demo: Bundle) -> bytes:
    """A predictions file for the 20 photographs: all right but the first two, which are taken for class 0."""
    predicted = np.array(demo.all_targets)
    predicted[:2] = 0
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, predicted.tolist(), strict=True)]
    return ("file_name,predicted_class\n" + "\n".join(rows) + "\n").encode()
