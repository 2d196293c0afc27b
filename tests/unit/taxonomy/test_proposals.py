"""Proposals, compared with the oracle: synsets, order, blocked synsets, and texts."""

import random

import numpy as np
import pytest
from oracle import proposals as oracle

from service.taxonomy.proposals import META_LABELS, Proposals
from service.taxonomy.superclasses import Grouping, default_grouping, parse_grouping
from service.taxonomy.wordnet import Taxonomy, load_taxonomy

SEVERAL = "\n".join(
    [
        '{"dogs": [["hunting_dog"], ["working_dog"]]}',
        '{"hounds": [["hound"], ["hunting_dog", "terrier"]]}',
        '{"sea birds": [["bird", "seabird"], ["aquatic_bird"]]}',
        '{"wheels": [["wheeled_vehicle"], ["self-propelled_vehicle"]]}',
        '{"eaten": [["food"], ["edible_fruit"]]}',
        '{"nothing": [["no_such_lemma"]]}',
    ]
)


def known(taxonomy: Taxonomy) -> oracle.Taxonomy:
    return oracle.Taxonomy(
        lemmas={synset: list(lemmas) for synset, lemmas in taxonomy.lemmas.items()},
        hypernyms={synset: list(above) for synset, above in taxonomy.hypernyms.items()},
        hyponyms={synset: list(below) for synset, below in taxonomy.hyponyms.items()},
        synset_of_class=dict(enumerate(taxonomy.classes)),
    )


@pytest.fixture(scope="module")
def oracle_taxonomy() -> oracle.Taxonomy:
    """The same WordNet as plain dicts."""
    return known(load_taxonomy())


GROUPINGS = {
    "several a class": lambda: parse_grouping(SEVERAL, "several", load_taxonomy()),
    "the default": default_grouping,
    "none": lambda: parse_grouping("", "none", load_taxonomy()),
}


@pytest.fixture(scope="module", params=GROUPINGS)
def grouping(request: pytest.FixtureRequest) -> Grouping:
    return GROUPINGS[request.param]()


@pytest.fixture(scope="module")
def proposals(grouping: Grouping) -> Proposals:
    return Proposals(load_taxonomy(), grouping.superclasses)


def superclasses_of(grouping: Grouping) -> list[set[int]]:
    return [set(row.nonzero()[0].tolist()) for row in grouping.members]


def listed(proposals: Proposals, target: int, predicted: int) -> list[tuple[int, str]]:
    """Return (synset, text) in the order of the proposals."""
    rows = proposals.lists[predicted]
    allowed = proposals.allowed_texts(predicted, np.array([target]))[0]
    return [
        (proposals.synsets[synset], proposals.texts[text])
        for synset, text, may in zip(rows.synsets.tolist(), rows.texts.tolist(), allowed.tolist(), strict=True)
        if may
    ]


def pairs(number: int, near: list[set[int]], seed: int = 0) -> list[tuple[int, int]]:
    """Return random pairs, a third of them within a superclass, and some of a class with itself."""
    draw = random.Random(seed)
    result = [(draw.randrange(1000), draw.randrange(1000)) for _ in range(number)]
    large = [sorted(item) for item in near if len(item) > 1]
    if large:
        result += [tuple(draw.sample(draw.choice(large), 2)) for _ in range(number // 2)]
    return result + [(index, index) for index in range(0, 1000, 199)]


def test_meta_labels_are_those_of_the_specification() -> None:
    assert META_LABELS == oracle.META_LABELS
    assert len(META_LABELS) == 20


@pytest.mark.slow
def test_synsets_and_texts_have_the_order_of_the_oracle(
    grouping: Grouping, proposals: Proposals, oracle_taxonomy: oracle.Taxonomy
) -> None:
    superclasses = superclasses_of(grouping)
    for target, predicted in pairs(300, superclasses):
        expected = oracle.proposals(oracle_taxonomy, superclasses, target, predicted)

        result = listed(proposals, target, predicted)

        assert list(dict.fromkeys(synset for synset, _ in result)) == expected, (target, predicted)
        assert result == oracle.texts(oracle_taxonomy, expected), (target, predicted)


def test_target_blocks_its_synset_and_all_hypernyms(proposals: Proposals, oracle_taxonomy: oracle.Taxonomy) -> None:
    for target in range(0, 1000, 7):
        blocked = {proposals.synsets[place] for place in proposals.blocked[target].nonzero()[0].tolist()}
        assert blocked == oracle.blocked(oracle_taxonomy, target) & set(proposals.synsets)


def test_some_proposals_are_blocked(grouping: Grouping, proposals: Proposals) -> None:
    # else the comparison above says little
    assert any(len(listed(proposals, t, p)) < len(proposals.lists[p].texts) for t, p in pairs(100, []))


def test_outside_synsets_are_not_classes(proposals: Proposals, oracle_taxonomy: oracle.Taxonomy) -> None:
    for predicted in range(0, 1000, 13):
        rows = proposals.lists[predicted]
        for synset, outside in zip(rows.synsets.tolist(), rows.outside.tolist(), strict=True):
            assert outside == oracle.outside_imagenet(oracle_taxonomy, proposals.synsets[synset])


def test_prediction_is_always_proposed_first(proposals: Proposals) -> None:
    classes = load_taxonomy().classes
    for target, predicted in pairs(100, []):
        assert listed(proposals, target, predicted)[0][0] == classes[predicted]


def test_texts_are_distinct_and_complete_prompts(proposals: Proposals) -> None:
    assert len(set(proposals.texts)) == len(proposals.texts)
    assert all(text.startswith("A photo of a ") and "_" not in text for text in proposals.texts)
    assert {text for rows in proposals.lists for text in rows.texts.tolist()} == set(range(len(proposals.texts)))


@pytest.mark.slow
def test_shared_text_belongs_to_the_first_synset(
    grouping: Grouping, proposals: Proposals, oracle_taxonomy: oracle.Taxonomy
) -> None:
    twice = [p for p in range(1000) if len(set(proposals.lists[p].texts.tolist())) < len(proposals.lists[p].texts)]
    assert twice, "no list has a text twice: this test shows nothing"
    superclasses = superclasses_of(grouping)
    for predicted in twice[:20]:
        result = listed(proposals, 0, predicted)
        candidates = oracle.proposals(oracle_taxonomy, superclasses, 0, predicted)
        for text in {text for _, text in result}:
            first = next(synset for synset, candidate in result if candidate == text)
            assert (
                oracle.best(oracle_taxonomy, candidates, lambda candidate, text=text: float(candidate == text)) == first
            )
