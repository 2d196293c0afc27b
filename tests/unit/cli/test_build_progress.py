"""The progress of a build: its rate, the remaining time, and the lines of a log."""

import io
from collections.abc import Callable

import pytest
from manual_clock import Clock
from rich.console import Console

from service.cli.build_progress import Rate, show_progress, speed_text


def run(is_terminal: bool, steps: list[tuple[float, str, int, int]]) -> str:
    """Return the output of calls, each after some seconds."""
    clock, output = Clock(), io.StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=120, color_system=None, highlight=False)
    with show_progress(console, clock) as progress:
        for seconds, *call in steps:
            clock.now += seconds
            progress(*call)  # type: ignore[arg-type]
    return output.getvalue()


def test_a_log_has_the_rate_and_the_remaining_time() -> None:
    lines = run(
        False,
        [
            (0, "images", 0, 1024),
            (4, "images", 512, 1024),  # too early for a line
            (4, "images", 1024, 1024),
            (1, "training images (cached)", 0, 1_281_167),
            (1, "training images (cached)", 512_000, 1_281_167),
            (0, "training images", 512_000, 1_281_167),
            (31, "training images", 524_400, 1_281_167),
        ],
    ).splitlines()

    assert lines == [
        "images: 0 of 1,024",
        "images: 1,024 of 1,024, 128 images/s",
        "training images (cached): 0 of 1,281,167",
        "training images: 512,000 of 1,281,167",
        "training images: 524,400 of 1,281,167, 400 images/s, about 32 min left",
    ]


def test_a_terminal_shows_a_bar_with_the_rate_and_the_remaining_time() -> None:
    text = run(True, [(0, "images", 0, 5120), (2, "images", 512, 5120)])

    assert "512/5120" in text.replace(" ", "")
    assert "256 images/s, about 18 s left" in text


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rate_after(clock: Clock) -> Callable[[float, int], float | None]:
    rate = Rate(clock)

    def update(seconds: float, done: int) -> float | None:
        clock.now += seconds
        return rate.update(done)

    return update


def test_the_first_sample_is_the_baseline(rate_after: Callable[[float, int], float | None]) -> None:
    assert rate_after(0, 512_000) is None
    assert rate_after(2, 512_512) == pytest.approx(256)


def test_the_rate_is_that_of_the_last_minute(rate_after: Callable[[float, int], float | None]) -> None:
    done = 0
    for _ in range(100):  # slow at first
        rate_after(1, done := done + 10)
    for _ in range(60):
        rate = rate_after(1, done := done + 100)

    assert rate == pytest.approx(100)


def test_a_step_of_several_minutes_has_a_rate(rate_after: Callable[[float, int], float | None]) -> None:
    rate_after(0, 0)
    rate_after(600, 600)

    assert rate_after(1200, 1200) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("stage", "remaining", "rate", "text"),
    [
        ("images", 100, None, ""),
        ("images", 3600, 0.5, "0.5 images/s, about 2 h 0 min left"),
        ("texts (cached)", 20_000, 1000.0, "1,000 texts/s, about 20 s left"),
        ("decisions", 0, 50.0, "50 images/s"),
    ],
)
def test_speed_names_the_unit_and_the_remaining_time(stage: str, remaining: int, rate: float | None, text: str) -> None:
    assert speed_text(stage, remaining, rate) == text
