"""The cache of decisions gives the decisions of all reviews, compared with deciding all of them."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from service.analyses.decisions import DecisionCache
from service.domain import Review, decide_images

from .conftest import make_review_log

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(5))
def test_cached_decisions_are_those_of_all_reviews(seed: int) -> None:
    generator, log, cache = random.Random(seed), make_review_log(), DecisionCache()
    reviews: list[Review] = []
    for number in range(60):
        reviewer, image, dataset = (generator.choice(texts) for texts in (("ann", "bob"), "abcd", ("one", "two")))
        own = [r for r in reviews if (r.reviewer, r.image, r.dataset, r.undoes) == (reviewer, image, dataset, "")]
        is_undo = bool(own) and generator.random() < 0.3
        review = Review(
            uuid.UUID(int=generator.getrandbits(128)).hex, dataset, image, "e" * 64, reviewer, True,
            START + timedelta(minutes=generator.randrange(100) if seed % 2 else number),
            confirmed=() if is_undo or generator.random() < 0.5 else ("cat",),
            rejected=() if is_undo else (generator.choice(("dog", "bird")),),
            undoes=generator.choice(own).id if is_undo else "",
        )  # fmt: skip
        reviews.append(review)
        log.append(review)
        for name in ("one", "two"):
            assert cache.get(log, name) == decide_images(r for r in reviews if r.dataset == name)
    assert cache.get(log, "one") is cache.get(log, "one")
