"""The compiled taxonomy, compared with WordNet 3.0 through NLTK."""

from typing import Any

import pytest

from service.taxonomy.wordnet import Taxonomy, load_taxonomy


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="module")
def synsets(wordnet: Any, wordnet_ids: list[str]) -> list[Any]:
    """The synset of each class."""
    return [wordnet.synset_from_pos_and_offset("n", int(wordnet_id[1:])) for wordnet_id in wordnet_ids]


def test_classes_are_the_thousand_wordnet_ids_in_their_order(taxonomy: Taxonomy, wordnet_ids: list[str]) -> None:
    assert [taxonomy.wordnet_id(index) for index in range(1000)] == wordnet_ids
    assert wordnet_ids == sorted(wordnet_ids)
    assert (wordnet_ids[0], len(set(wordnet_ids))) == ("n01440764", 1000)


@pytest.mark.slow
def test_version_is_3_0(taxonomy: Taxonomy, wordnet: Any) -> None:
    assert taxonomy.version == wordnet.get_version() == "3.0"


@pytest.mark.slow
def test_every_synset_has_its_lemma_names_in_wordnets_order(taxonomy: Taxonomy, wordnet: Any) -> None:
    for offset, lemmas in taxonomy.lemmas.items():
        assert list(lemmas) == wordnet.synset_from_pos_and_offset("n", offset).lemma_names()


@pytest.mark.slow
def test_classes_and_their_hypernyms_have_direct_hypernyms(taxonomy: Taxonomy, synsets: list[Any]) -> None:
    above = {item for synset in synsets for path in synset.hypernym_paths() for item in path}

    assert len(above) > 1000
    for synset in above:
        direct = {hypernym.offset() for hypernym in synset.hypernyms() + synset.instance_hypernyms()}
        assert sorted(taxonomy.hypernyms[synset.offset()]) == sorted(direct)


def test_hypernym_paths_run_from_the_root_in_ascending_order(taxonomy: Taxonomy, synsets: list[Any]) -> None:
    for synset in synsets:
        paths = sorted(tuple(item.offset() for item in path) for path in synset.hypernym_paths())
        assert list(taxonomy.hypernym_paths(synset.offset())) == paths


def test_ancestry_is_the_synset_and_all_of_its_hypernyms(taxonomy: Taxonomy, synsets: list[Any]) -> None:
    for synset in synsets:
        closure = {synset.offset(), *(item.offset() for item in synset.closure(lambda s: s.hypernyms()))}
        assert taxonomy.ancestry(synset.offset()) == closure


def test_siblings_are_the_hyponyms_of_each_direct_hypernym(taxonomy: Taxonomy, synsets: list[Any]) -> None:
    for synset in synsets:
        for parent in synset.hypernyms():
            children = sorted(hyponym.offset() for hyponym in parent.hyponyms())
            assert list(taxonomy.hyponyms[parent.offset()]) == children
            assert set(children) <= set(taxonomy.lemmas)


def test_class_lemmas_include_those_of_all_hypernyms(taxonomy: Taxonomy, synsets: list[Any]) -> None:
    for synset, lemmas in zip(synsets, taxonomy.class_lemmas(), strict=True):
        assert lemmas == {lemma for path in synset.hypernym_paths() for item in path for lemma in item.lemma_names()}
