"""Groups of samples with separate statistics: `all`, and the groups of the label space of a data set."""

from collections.abc import Collection, Iterable, Mapping

from errata.errors import InvalidRequest

ALL = "all"  # the group of all samples
_TITLES: Mapping[str, str] = {
    ALL: "all images",
    "organism": "organisms",
    "artifact": "artifacts",
    "other": "other",
}


def top1_title(group: str) -> str:
    """Return the title of the top-1 accuracy of all images beside values of a group."""
    return "top-1" if group == ALL else f"top-1, {group_title(ALL)}"


def group_title(group: str) -> str:
    """Return the title of a group, such as "organisms"; the name of the group if it has no other title."""
    return _TITLES.get(group, group)


def sort_groups(groups: Iterable[str]) -> list[str]:
    """Return groups in the order in which tables show them: `all`, then those of ImageNet, then the others by name.

    Messages contain groups as a map, and maps have no order. The order of ImageNet applies only if all of its groups
    are present: groups of other data sets can have the name of one of them.
    """
    groups = [*groups]
    order = [*_TITLES] if {*_TITLES} - {ALL} <= {*groups} else [ALL]
    return sorted(groups, key=lambda group: (order.index(group) if group in order else len(order), group))


def check_group(group: str, groups: Collection[str], field: str) -> None:
    """Raise InvalidRequest unless a group is `all` or one of the groups of a data set.

    Args:
        group: The group.
        groups: The groups of the data set; they may include `all`.
        field: The field of the request, for the error.
    """
    if group != ALL and group not in groups:
        raise InvalidRequest(unknown_group(group, groups), field=field)


def unknown_group(group: str, groups: Iterable[str]) -> str:
    """Return the message for a group that a data set does not have."""
    names = ", ".join(dict.fromkeys([ALL, *groups]))
    return f"Unknown group {group!r:.80}. Expected one of the groups of the data set: {names:.2000}."


def group_titles(groups: Iterable[str]) -> dict[str, str]:
    """Return a distinct title for each group of a chart, so that no two groups are drawn as one."""
    titles = {group: group_title(group) for group in groups}
    return titles if len({*titles.values()}) == len(titles) else {group: group for group in titles}
