"""Right-to-left names beside arrows and numbers, in texts of pages."""

import html
import re

import pytest

from service.report.confusion_chart import ConfusionCell, confusion_map
from service.report.direction import isolate, isolate_element

HEBREW, ARABIC = "חתול", "قط 2"


@pytest.mark.parametrize("name", [HEBREW, ARABIC, f"net {HEBREW}", "\N{RIGHT-TO-LEFT OVERRIDE}net"])
def test_a_name_with_right_to_left_text_is_isolated(name: str) -> None:
    assert isolate(name) == f"\u2068{name}\u2069"
    assert isolate_element(name) == f"<bdi>{name}</bdi>"


@pytest.mark.parametrize("name", ["", "net 5 %", "Brötchen 面包", "<b>"])
def test_other_names_do_not_change(name: str) -> None:
    assert isolate(name) == isolate_element(name) == name


def test_an_isolated_name_is_escaped() -> None:
    assert isolate_element(f"<b>{HEBREW}") == f"<bdi>&lt;b&gt;{HEBREW}</bdi>"


def test_the_marks_of_the_heat_map_isolate_the_names() -> None:
    svg = confusion_map([HEBREW, ARABIC], [ConfusionCell(HEBREW, ARABIC, 3, "/images")], ("ground truth", "prediction"))

    titles = [html.unescape(title) for title in re.findall("<title>(.*?)</title>", svg)]
    assert f"\u2068{HEBREW}\u2069 → \u2068{ARABIC}\u2069: 3" in titles
