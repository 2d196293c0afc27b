"""What reviews of an image decide, compared with an independent count of votes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Review, active_reviews, decide, decide_images

START = datetime(2026, 1, 1, tzinfo=UTC)


def review(number: int, reviewer: str = "ann", **statements: object) -> Review:
    base = Review(f"{number:032x}", "street", "a.jpg", "e" * 64, reviewer, True, START + timedelta(minutes=number))
    return replace(base, **statements)


def test_the_newest_vote_of_a_reviewer_counts() -> None:
    decision = decide([review(1, rejected=("cat",)), review(2, confirmed=("cat",))])

    assert decision.present == {"cat"}
    assert not decision.absent


def test_a_tie_is_a_conflict_that_a_third_reviewer_decides() -> None:
    two = [review(1, "ann", confirmed=("cat",)), review(2, "bob", rejected=("cat",))]

    assert decide(two).disputed == {"cat"}
    assert decide(two).has_conflict
    third = decide([*two, review(3, "eve", rejected=("cat",))])
    assert (third.absent, third.has_conflict) == ({"cat"}, False)


def test_a_name_without_a_token_is_another_person_than_the_name_of_a_token() -> None:
    pretender = review(2, "ann", is_authenticated=False, rejected=("cat",))

    assert decide([review(1, "ann", confirmed=("cat",)), pretender]).disputed == {"cat"}
    assert len(active_reviews([review(1), replace(pretender, undoes=review(1).id, rejected=())])) == 1


def test_fewer_reviewers_than_required_decide_nothing() -> None:
    one = [review(1, added=("dog",), problematic=True, reason="blurred")]

    assert decide(one, min_reviews=2).present == frozenset()
    assert decide(one, min_reviews=2).problematic is None
    assert decide(one).problematic is True
    assert decide(one).reason == "blurred"


def test_undoing_an_undo_restores_the_review() -> None:
    first = review(1, rejected=("cat",))
    undo = review(2, undoes=first.id)

    assert active_reviews([first, undo]) == []
    assert active_reviews([first, undo, review(3, undoes=undo.id)]) == [first]


def test_nobody_undoes_the_review_of_another_reviewer() -> None:
    first = review(1, rejected=("cat",))

    assert active_reviews([first, review(2, "bob", undoes=first.id)]) == [first]


@pytest.mark.parametrize("min_reviews", [1, 2])
@given(data=st.data())
def test_decisions_equal_an_independent_count(data: st.DataObject, min_reviews: int) -> None:
    votes = data.draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["cat", "dog"]), st.booleans()), max_size=12)
    )
    reviews = [
        review(number, reviewer, **({"added": (name,)} if yes else {"rejected": (name,)}))
        for number, (reviewer, name, yes) in enumerate(votes)
    ]

    decision = decide_images(data.draw(st.permutations(reviews)), min_reviews).get("a.jpg")

    for name in ("cat", "dog"):
        newest = {reviewer: yes for reviewer, voted, yes in votes if voted == name}
        balance = sum(1 if yes else -1 for yes in newest.values())
        decides = len(newest) >= min_reviews
        present, absent, disputed = (
            (name in decision.present, name in decision.absent, name in decision.disputed)
            if decision
            else (False, False, False)
        )
        assert present == (decides and balance > 0)
        assert absent == (decides and balance < 0)
        assert disputed == (bool(newest) and balance == 0)
