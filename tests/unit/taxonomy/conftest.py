"""Shared fixtures: WordNet 3.0 through NLTK, and the class lists of installed packages."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from service.taxonomy.nltk_wordnet import open_wordnet


@pytest.fixture(scope="session")
def wordnet(wordnet_folder: Path) -> Iterator[Any]:
    """NLTK's reader of WordNet 3.0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The multilingual functions are not available", UserWarning)
        with open_wordnet(wordnet_folder) as reader:
            yield reader


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
