"""Shared fixtures: WordNet 3.0, as files and through NLTK, and a small bundle."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from street import build_street

from service.evidence.bundle import Bundle
from service.taxonomy.nltk_wordnet import open_wordnet

WORDNET = Path(__file__).parents[2] / "build" / "wordnet"  # `make wordnet`


@pytest.fixture(scope="session")
def wordnet_folder() -> Path:
    """The folder of WordNet 3.0. Without the files, skip locally and fail on CI."""
    if not (WORDNET / "data.noun").is_file():
        missing = f"no WordNet in {WORDNET}: run `make wordnet`"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return WORDNET


@pytest.fixture(scope="session")
def wordnet(wordnet_folder: Path) -> Iterator[Any]:
    """NLTK's reader of WordNet 3.0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The multilingual functions are not available", UserWarning)
        with open_wordnet(wordnet_folder) as reader:
            yield reader


@pytest.fixture
def wordnet_in_environment(wordnet_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the folder of WordNet in the environment, where builds find it."""
    monkeypatch.setenv("WNSEARCHDIR", str(wordnet_folder))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of four images."""
    return build_street(tmp_path_factory.mktemp("street"))
