"""Names and order of groups, and the error for unknown ones."""

import pytest
from errata.errors import InvalidRequest
from errata.groups import ALL, check_group, group_title, group_titles, sort_groups


def test_groups_of_imagenet_have_titles_and_others_are_shown_as_they_are() -> None:
    groups = [ALL, "organism", "artifact", "other", "Größe <b>"]

    assert [group_title(group) for group in groups] == ["all images", "organisms", "artifacts", "other", "Größe <b>"]


def test_groups_are_sorted_with_all_first() -> None:
    assert sort_groups(["b", "other", "a", "organism", ALL, "artifact"]) == [
        *(ALL, "organism", "artifact", "other"),
        *("a", "b"),
    ]
    assert sort_groups(["scene", "organism", ALL, "artifact"]) == [ALL, "artifact", "organism", "scene"]


def test_titles_in_a_chart_are_distinct() -> None:
    assert group_titles([ALL, "organism"]) == {ALL: "all images", "organism": "organisms"}
    assert group_titles([ALL, "organism", "organisms"]) == {
        ALL: ALL,
        "organism": "organism",
        "organisms": "organisms",
    }


@pytest.mark.parametrize("group", [ALL, "a", "b c"])
def test_known_group_is_accepted(group: str) -> None:
    check_group(group, ["a", "b c"], "group")


@pytest.mark.parametrize("groups", [["a", "b c"], [ALL, "a", "b c"]])
def test_unknown_group_is_refused_with_the_list_of_groups(groups: list[str]) -> None:
    with pytest.raises(
        InvalidRequest, match=r"Unknown group 'A'\. Expected one of .* data set: all, a, b c\."
    ) as error:
        check_group("A", groups, "filter.group")

    assert error.value.violations[0].field == "filter.group"
