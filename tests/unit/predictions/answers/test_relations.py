"""Too general and more specific answers, compared with WordNet through NLTK."""

import random
from typing import Any

import numpy as np
import pytest

from service.domain import AnswerRelation, LabelSpace, create_label_space
from service.predictions.answers.relations import AnswerRelations
from service.taxonomy.imagenet_1k import imagenet_1k

CLASSES = random.Random(3).sample(range(1000), 60)


@pytest.fixture(scope="module")
def relations() -> AnswerRelations:
    return AnswerRelations(imagenet_1k())


@pytest.mark.slow
@pytest.mark.parametrize("class_index", CLASSES)
def test_lemmas_of_hypernyms_and_hyponyms_have_the_relation_of_wordnet(
    relations: AnswerRelations,
    wordnet: Any,
    class_index: int,
) -> None:
    synset = wordnet.synset_from_pos_and_offset("n", int(imagenet_1k().synsets[class_index][1:]))
    above = {*synset.closure(lambda item: [*item.hypernyms(), *item.instance_hypernyms()])}
    below = {*synset.closure(lambda item: item.hyponyms())}

    assert above
    for hypernym in above:
        for lemma in hypernym.lemma_names():
            assert relations.compare(f"a {lemma}", -2, [class_index]) is AnswerRelation.TOO_GENERAL, lemma
    for hyponym in below:
        for lemma in hyponym.lemma_names():
            senses = {*wordnet.synsets(lemma, "n")}
            expected = AnswerRelation.TOO_GENERAL if senses & above else AnswerRelation.MORE_SPECIFIC
            assert relations.compare(lemma, -2, [class_index]) is expected, lemma


def test_unrelated_answers_have_no_relation(relations: AnswerRelations) -> None:
    for answer in ("dog", "bicycle pump", "xyzzy", ""):
        assert relations.compare(answer, -2, [imagenet_1k().parse("goldfish") or 0]) is AnswerRelation.UNSPECIFIED


def test_any_label_of_the_image_counts(relations: AnswerRelations) -> None:
    assert relations.compare("dogs", -2, [1, 207]) is AnswerRelation.TOO_GENERAL


def own_classes() -> LabelSpace:
    none: dict[str, Any] = {"synonyms": (), "groups": ()}
    rows = [
        {"id": "0", "name": "dog", "synset": "n02084071", "superclasses": ["four-legged friends"]},
        {"id": "1", "name": "poodle", "synset": "n02113335", "superclasses": ["four-legged friends"]},
        {"id": "2", "name": "lorry", "synset": "", "superclasses": ["vehicles"]},
        {"id": "3", "name": "vehicles", "synset": "", "superclasses": []},
    ]
    return create_label_space("own", [none | row for row in rows])


@pytest.mark.parametrize(
    ("answer", "predicted", "label", "relation"),
    [
        ("vehicles", 3, 2, AnswerRelation.TOO_GENERAL),  # a class that is also the name of a superclass
        ("dog", 0, 1, AnswerRelation.TOO_GENERAL),  # a class above the label
        ("poodle", 1, 0, AnswerRelation.MORE_SPECIFIC),
        ("golden retriever", -2, 0, AnswerRelation.MORE_SPECIFIC),
        ("Four-legged friend", -2, 1, AnswerRelation.UNSPECIFIED),
        ("four legged friends", -2, 1, AnswerRelation.TOO_GENERAL),  # a superclass
        ("vehicles", -2, 2, AnswerRelation.TOO_GENERAL),
        ("vehicles", -2, 0, AnswerRelation.UNSPECIFIED),
        ("pickup", -2, 2, AnswerRelation.UNSPECIFIED),  # the class has no synset
    ],
)
def test_own_classes_are_compared_by_synsets_and_superclasses(
    answer: str, predicted: int, label: int, relation: AnswerRelation
) -> None:
    assert AnswerRelations(own_classes()).compare(answer, predicted, np.array([label]).tolist()) is relation
