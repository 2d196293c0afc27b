"""Devices: available ones are chosen, and others are rejected."""

import os
from pathlib import Path

import pytest
import torch
from errata.errors import InvalidSetting

from service.predictions.models.device import available_cores, choose_device


def test_a_device_is_chosen_by_name_or_by_availability() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "meta", "cuda:0 "])
def test_an_unknown_device_is_rejected(name: str) -> None:
    with pytest.raises(InvalidSetting, match="Expected cpu, cuda:N, or mps"):
        choose_device(name)


def test_an_unavailable_gpu_is_rejected_with_the_available_devices() -> None:
    with pytest.raises(InvalidSetting, match=r"cuda:99.* is not available.* Expected one of cpu") as caught:
        choose_device("cuda:99")
    assert [violation.field for violation in caught.value.violations] == ["ERRATA_DEVICE"]


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("100000 100000", 1), ("50000 100000", 1), ("100000000 100000", None), ("max 100000", None), ("", None)],
)
def test_a_containers_quota_bounds_the_cores(tmp_path: Path, quota: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(quota)

    assert available_cores(tmp_path / "cpu.max") == (expected or len(os.sched_getaffinity(0)))


def test_without_a_container_the_cores_are_those_of_the_process(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "nowhere") == len(os.sched_getaffinity(0))
