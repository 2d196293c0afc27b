"""Imports without garbage collections."""

import gc
import importlib
import sys
from collections.abc import Iterator

import pytest
from errata.imports import without_garbage_collection


@pytest.fixture(autouse=True)
def frozen() -> Iterator[int]:
    """Return the number of frozen objects before the test."""
    yield gc.get_freeze_count()
    gc.enable()


def test_a_block_with_imports_freezes_existing_objects_and_collects_again_afterwards(
    frozen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without_garbage_collection():
        assert not gc.isenabled()
        importlib.import_module("colorsys")

    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen


def test_a_block_without_imports_freezes_nothing(frozen: int) -> None:
    with without_garbage_collection():
        importlib.import_module("json")

    assert gc.isenabled()
    assert gc.get_freeze_count() <= frozen


def test_a_failed_import_enables_the_collector() -> None:
    with pytest.raises(ModuleNotFoundError), without_garbage_collection():
        importlib.import_module("errata.nothing")

    assert gc.isenabled()


def test_a_nested_block_does_not_enable_the_collector() -> None:
    with without_garbage_collection():
        with without_garbage_collection():
            pass
        assert not gc.isenabled()

    assert gc.isenabled()
