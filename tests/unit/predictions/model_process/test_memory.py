"""The default memory limit of a machine or container."""

from pathlib import Path

import pytest

from service.predictions.model_process.memory import default_memory_limit


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        ([], 8000 * 1024),
        (["max"], 8000 * 1024),
        (["5000000"], 4_000_000),
        (["max", "5000000"], 4_000_000),
        (["99999999999"], 8000 * 1024),
        (["9223372036854771712"], 8000 * 1024),  # cgroup v1 without a limit
    ],
)
def test_the_limit_is_a_share_of_the_available_memory(tmp_path: Path, limits: list[str], bound: int) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       10000 kB\nMemFree:        5000 kB\n")
    paths = [tmp_path / str(number) for number, _ in enumerate(limits)]
    for path, text in zip(paths, limits, strict=True):
        path.write_text(text + "\n")

    assert default_memory_limit(tmp_path / "meminfo", (*paths, tmp_path / "nowhere")) == bound


def test_without_known_memory_there_is_no_limit(tmp_path: Path) -> None:
    assert default_memory_limit(tmp_path / "meminfo", (tmp_path / "nowhere",)) is None
