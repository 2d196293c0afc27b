"""The available cores: bounded by the affinity of the process and by the quota of its container."""

import os
from pathlib import Path

import pytest

from service.cpu import available_cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("100000 100000", 1), ("50000 100000", 1), ("100000000 100000", None), ("max 100000", None), ("", None)],
)
def test_a_containers_quota_bounds_the_cores(tmp_path: Path, quota: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(quota)

    assert available_cores(tmp_path / "cpu.max") == (expected or len(os.sched_getaffinity(0)))


def test_without_a_container_the_cores_are_those_of_the_process(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "nowhere") == len(os.sched_getaffinity(0))
