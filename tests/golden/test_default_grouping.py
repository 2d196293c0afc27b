"""The default superclasses, compared with the published facts. The bounds must not be lowered.

What follows from the published sample: an `fg` error of an image with one label says that the two classes share a
superclass; every other kind of error says that the prediction shares none with any label of the image; a published
co-occurrence pair shares none.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.taxonomy.check import sizes_of
from service.taxonomy.superclasses import default_grouping

MUST_SHARE, MUST_NOT = 1.0, 1.0  # what it reaches: a change may not lose a pair
RIGHT = 1.0
APART = ("fg-OOV", "spurious_correlation", "non-proto", "model_failure")


@pytest.fixture(scope="module")
def errors(reference: Path) -> list[dict]:
    lines = (reference / "published" / "common_errors.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def same() -> np.ndarray:
    return default_grouping().same_superclass()


def pair(first: int, second: int) -> tuple[int, int]:
    return (min(first, second), max(first, second))


def must_share(errors: list[dict]) -> Iterator[tuple[int, int]]:
    for error in errors:
        if error["error_type"] == "fg" and len(error["multi_labels"]) == 1:
            yield pair(error["multi_labels"][0], error["prediction"])


def must_not(errors: list[dict], reference: Path) -> Iterator[tuple[int, int]]:
    for error in errors:
        if error["error_type"] in APART:
            yield from (pair(label, error["prediction"]) for label in error["multi_labels"])
    for first, second in json.loads((reference / "published" / "co_occurrence_pairs_sample.json").read_text()):
        yield pair(first, second)


def test_required_pairs_share_a_superclass(errors: list[dict], same: np.ndarray) -> None:
    pairs = set(must_share(errors))

    satisfied = sum(bool(same[first, second]) for first, second in pairs)

    assert len(pairs) == 332
    assert satisfied / len(pairs) >= MUST_SHARE


def test_forbidden_pairs_share_no_superclass(errors: list[dict], same: np.ndarray, reference: Path) -> None:
    pairs = set(must_not(errors, reference))

    satisfied = sum(not same[first, second] for first, second in pairs)

    assert len(pairs) == 2308
    assert satisfied / len(pairs) >= MUST_NOT


@pytest.mark.parametrize("kind", ["fg", "spurious_correlation", "non-proto", "model_failure"])
def test_published_errors_have_their_verdict_where_superclasses_decide(
    errors: list[dict], same: np.ndarray, kind: str
) -> None:
    selected = [error for error in errors if error["error_type"] == kind]

    reproduced = [same[error["multi_labels"], error["prediction"]].any() == (kind == "fg") for error in selected]

    assert selected
    assert sum(reproduced) / len(reproduced) >= RIGHT


def test_sizes_are_similar_to_those_of_the_authors() -> None:
    sizes = sizes_of(default_grouping())

    assert 150 <= sizes.superclasses <= 175
    assert 60 <= sizes.alone <= 90
    assert 4_800 <= sizes.pairs <= 6_200
    assert sizes.smallest == 2
    assert sizes.largest <= 40


def test_superclasses_are_ordered_by_group_and_have_classes() -> None:
    from service.taxonomy.check import check_grouping
    from service.taxonomy.groups import class_groups
    from service.taxonomy.wordnet import load_taxonomy

    grouping = default_grouping()
    findings = check_grouping(grouping, load_taxonomy())
    places = [int((class_groups() & row).sum(axis=1).argmax()) for row in grouping.members]

    assert findings.is_valid
    assert places == sorted(places)  # organisms, artifacts, other
