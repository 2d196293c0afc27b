"""Proposals, compared with the oracle: synsets, order, blocked synsets, and texts."""

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle import proposals as oracle

from service.evidence.proposals import proposals_of
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.proposals import Proposals
from service.taxonomy.superclasses import Grouping, default_grouping, parse_grouping
from service.taxonomy.wordnet import Taxonomy, load_taxonomy
from service.taxonomy.wordnet_proposals import META_LABELS

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
    "several a class": lambda: parse_grouping(SEVERAL, "several"),
    "the default": default_grouping,
    "none": lambda: parse_grouping("", "none"),
}


@pytest.fixture(scope="module", params=GROUPINGS)
def grouping(request: pytest.FixtureRequest) -> Grouping:
    return GROUPINGS[request.param]()


@pytest.fixture(scope="module")
def proposals(grouping: Grouping) -> Proposals:
    return propose(grouping)


def propose(grouping: Grouping) -> Proposals:
    """Return the proposals of imagenet-1k with other superclasses."""
    proposals = proposals_of(replace(imagenet_1k(), superclasses=grouping.superclasses))
    assert proposals is not None
    return proposals


@cache
def concept_synsets() -> list[int]:
    """Return the synset of each concept: those that the oracle proposes for any prediction, by offset."""
    wordnet, nothing_blocked = known(load_taxonomy()), {1000: 0}
    wordnet = replace(
        wordnet, hypernyms=wordnet.hypernyms | {0: []}, synset_of_class=wordnet.synset_of_class | nothing_blocked
    )
    wordnet.lemmas[0] = []
    return sorted({synset for predicted in range(1000) for synset in oracle.proposals(wordnet, [], 1000, predicted)})


def superclasses_of(grouping: Grouping) -> list[set[int]]:
    return [set(row.nonzero()[0].tolist()) for row in grouping.members]


def listed(proposals: Proposals, target: int, predicted: int) -> list[tuple[int, str]]:
    """Return (synset, text) in the order of the proposals."""
    rows = proposals.list_of(predicted)
    concepts = np.repeat(rows.concepts, rows.counts)
    allowed = proposals.allowed_texts(predicted, np.array([target]))[0]
    return [
        (concept_synsets()[concept], proposals.texts[text])
        for concept, text, may in zip(concepts.tolist(), rows.texts.tolist(), allowed.tolist(), strict=True)
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
        blocked = {concept_synsets()[concept] for concept in proposals.blocked[target].tolist()}
        assert blocked == oracle.blocked(oracle_taxonomy, target) & set(concept_synsets())


def test_some_proposals_are_blocked(grouping: Grouping, proposals: Proposals) -> None:
    # otherwise, the comparison with the oracle would not test blocked synsets
    assert any(len(listed(proposals, t, p)) < len(proposals.list_of(p).texts) for t, p in pairs(100, []))


def test_outside_synsets_are_not_classes(proposals: Proposals, oracle_taxonomy: oracle.Taxonomy) -> None:
    for predicted in range(0, 1000, 13):
        rows = proposals.list_of(predicted)
        concepts = np.repeat(rows.concepts, rows.counts)
        for concept, outside in zip(concepts.tolist(), rows.outside.tolist(), strict=True):
            assert outside == oracle.outside_imagenet(oracle_taxonomy, concept_synsets()[concept])


def test_prediction_is_always_proposed_first(proposals: Proposals) -> None:
    classes = load_taxonomy().classes
    for target, predicted in pairs(100, []):
        assert listed(proposals, target, predicted)[0][0] == classes[predicted]


def test_texts_are_distinct_and_complete_prompts(proposals: Proposals) -> None:
    assert len(set(proposals.texts)) == len(proposals.texts)
    assert all(text.startswith("A photo of a ") and "_" not in text for text in proposals.texts)
    lists = [proposals.list_of(predicted) for predicted in range(1000)]
    assert {text for rows in lists for text in rows.texts.tolist()} == set(range(len(proposals.texts)))


@pytest.mark.slow
def test_long_lists_are_not_cached(grouping: Grouping, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, created = propose(grouping), propose(grouping)
    expected = cached.list_of(207)
    monkeypatch.setattr("service.taxonomy.proposals.MAX_CACHED_TEXTS", 0)

    result = created.list_of(207)

    assert cached.list_of(207) is expected
    assert created.list_of(207) is not result
    assert result.texts.tolist() == expected.texts.tolist()


@pytest.mark.slow
def test_shared_text_belongs_to_the_first_synset(
    grouping: Grouping, proposals: Proposals, oracle_taxonomy: oracle.Taxonomy
) -> None:
    texts = [proposals.list_of(predicted).texts for predicted in range(1000)]
    twice = [predicted for predicted in range(1000) if len(set(texts[predicted].tolist())) < len(texts[predicted])]
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
