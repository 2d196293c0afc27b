"""The error tree: as drawn in its docstring, listed, each class with a reason of its own."""

import re
from collections.abc import Iterator

import pytest
from errata import errors
from errata.errors import ErrataError, InvalidRow, NotFound, Violation


def tree(kind: type[ErrataError] = ErrataError) -> Iterator[type[ErrataError]]:
    yield kind
    for item in kind.__subclasses__():
        if item.__module__ == errors.__name__:
            yield from tree(item)


ALL = sorted(tree(), key=lambda kind: kind.__name__)


def drawn() -> dict[str, str | None]:
    """Return each name in the docstring's drawing with the name above it."""
    above: dict[str, str | None] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if result := re.match(r"([│├└─ ]*)([A-Z]\w+)(?=  |$)", line):
            depth = len(result[1])
            stack = [item for item in stack if item[0] < depth]
            above[result[2]] = stack[-1][1] if stack else None
            stack.append((depth, result[2]))
    return above


def test_the_drawing_shows_every_class_below_its_parent_and_no_other() -> None:
    real = {kind.__name__: None if kind is ErrataError else kind.__base__.__name__ for kind in ALL if kind.__base__}

    assert drawn() == real


def test_every_class_is_listed_and_sorted() -> None:
    assert set(errors.__all__) == {kind.__name__ for kind in ALL} | {"Violation"}
    assert list(errors.__all__) == sorted(errors.__all__)


@pytest.mark.parametrize("kind", ALL)
def test_a_class_has_a_reason_of_its_own_in_upper_snake(kind: type[ErrataError]) -> None:
    assert "reason" in vars(kind)
    assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", kind.reason)
    assert [item for item in ALL if item.reason == kind.reason] == [kind]


@pytest.mark.parametrize("kind", ALL)
def test_a_class_says_when_it_is_raised(kind: type[ErrataError]) -> None:
    assert re.match(r"Raised when .+\.$", kind.__doc__ or "", re.DOTALL)


@pytest.mark.parametrize("kind", ALL)
def test_a_class_is_caught_by_every_branch_above_it(kind: type[ErrataError]) -> None:
    with pytest.raises(ErrataError) as caught:
        raise kind("expected this, got that", field="model", retry_after=2.5)

    assert str(caught.value) == caught.value.message == "expected this, got that"
    assert caught.value.violations == (Violation("model", "expected this, got that", None),)
    assert caught.value.retry_after == 2.5


def test_an_error_about_nothing_in_the_input_has_no_violations() -> None:
    assert NotFound("gone").violations == ()
    assert NotFound("gone").retry_after is None


def test_a_line_alone_is_a_violation() -> None:
    assert InvalidRow("odd", line=7).violations == (Violation("", "odd", 7),)


def test_violations_that_are_given_count_more_than_a_field() -> None:
    given = [Violation("a", "first", 1), Violation("b", "second", 2)]

    assert InvalidRow("two things", field="c", violations=given).violations == tuple(given)
