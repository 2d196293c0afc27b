"""The error tree: `__all__`, and the reason and documentation of each class."""

import re
from collections.abc import Iterator

import pytest
from errata import errors
from errata.errors import ErrataError, InvalidRow, NotFound, Violation


def tree(kind: type[ErrataError] = ErrataError) -> Iterator[type[ErrataError]]:
    yield kind
    for subclass in kind.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield from tree(subclass)


ALL = sorted(tree(), key=lambda kind: kind.__name__)


def test_all_lists_every_class_in_order() -> None:
    assert set(errors.__all__) == {kind.__name__ for kind in ALL} | {"Violation"}
    assert list(errors.__all__) == sorted(errors.__all__)


@pytest.mark.parametrize("kind", ALL)
def test_each_class_has_a_unique_reason_in_upper_snake_case(kind: type[ErrataError]) -> None:
    assert "reason" in vars(kind)
    assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", kind.reason)
    assert [other for other in ALL if other.reason == kind.reason] == [kind]


@pytest.mark.parametrize("kind", ALL)
def test_each_class_documents_the_problem_and_the_remedy(kind: type[ErrataError]) -> None:
    problem, _, remedy = (vars(kind)["__doc__"] or "").partition("\n\n")

    assert problem
    assert remedy.strip()


@pytest.mark.parametrize("kind", ALL)
def test_each_class_can_be_raised_with_all_arguments(kind: type[ErrataError]) -> None:
    with pytest.raises(ErrataError) as error:
        raise kind("Expected a model.", field="model", retry_after=2.5)

    assert str(error.value) == error.value.message == "Expected a model."
    assert error.value.violations == (Violation("model", "Expected a model.", None),)
    assert error.value.retry_after == 2.5


def test_error_without_field_has_no_violations() -> None:
    assert NotFound("gone").violations == ()
    assert NotFound("gone").retry_after is None


def test_line_without_field_is_a_violation() -> None:
    assert InvalidRow("odd", line=7).violations == (Violation("", "odd", 7),)


def test_violations_take_precedence_over_the_field() -> None:
    violations = [Violation("a", "first", 1), Violation("b", "second", 2)]

    assert InvalidRow("two problems", field="c", violations=violations).violations == tuple(violations)
