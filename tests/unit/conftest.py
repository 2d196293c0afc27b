"""Shared fixtures: the files of WordNet 3.0."""

import os
from pathlib import Path

import pytest

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


@pytest.fixture
def wordnet_in_environment(wordnet_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the folder of WordNet in the environment, where builds find it."""
    monkeypatch.setenv("WNSEARCHDIR", str(wordnet_folder))
