"""Shared fixtures: the class lists of installed packages."""

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def timm_info() -> Path:
    """timm's folder of lists, found without importing timm."""
    spec = find_spec("timm")
    assert spec is not None and spec.origin is not None, "timm is not installed: run `make setup`"
    return Path(spec.origin).parent / "data" / "_info"


@pytest.fixture(scope="session")
def wordnet_ids(timm_info: Path) -> list[str]:
    """The WordNet id of each class, as timm lists them."""
    return (timm_info / "imagenet_synsets.txt").read_text().split()
