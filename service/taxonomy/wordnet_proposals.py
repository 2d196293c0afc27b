"""Proposals from WordNet, for label spaces whose classes have synsets.

Two kinds of concepts are near a class: the direct siblings of its synset; and, on each of its hypernym paths, the
synsets from the first meta label downward. A meta label is one of the general terms in META_LABELS. A target blocks its
own synset and all of its hypernyms. The texts of a class without a synset are its name and synonyms, and no concept is
near such a class.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from service.domain import LabelSpace
from service.taxonomy.number_lists import NumberLists
from service.taxonomy.proposals import Proposals, prompt
from service.taxonomy.wordnet import Taxonomy

META_LABELS = frozenset(
    {
        "device",
        "dog",
        "commodity",
        "bird",
        "structure",
        "covering",
        "wheeled_vehicle",
        "food",
        "equipment",
        "insect",
        "vehicle",
        "furniture",
        "primate",
        "vessel",
        "snake",
        "natural_object",
        "organism",
        "geological_formation",
        "clothing",
        "container",
    }
)


def propose_synsets(taxonomy: Taxonomy, label_space: LabelSpace) -> Proposals:
    """Return the proposals for a label space.

    Args:
        taxonomy: The part of WordNet around the synsets of the classes.
        label_space: The classes. At least one of them has a synset.
    """
    synset_of_class = [int(synset[1:]) if synset else None for synset in label_space.synsets]
    near = [[] if synset is None else _near(taxonomy, synset) for synset in synset_of_class]
    synsets = sorted({synset for row in near for synset in row} | {s for s in synset_of_class if s is not None})
    number_of = {synset: number for number, synset in enumerate(synsets)}
    prompts = [[prompt(lemma) for lemma in taxonomy.lemmas[synset]] for synset in synsets]
    class_concepts = []
    for class_index, synset in enumerate(synset_of_class):
        class_concepts.append(len(prompts) if synset is None else number_of[synset])
        if synset is None:
            prompts.append(class_prompts(label_space, class_index))
    texts, concept_texts = index_texts(prompts)
    return Proposals(
        superclasses=label_space.superclasses,
        texts=texts,
        concept_texts=concept_texts,
        class_concepts=np.array(class_concepts, dtype=np.int32),
        near_classes=NumberLists.of([number_of[synset] for synset in row] for row in near),
        near_superclasses=NumberLists.of([] for _ in label_space.superclasses.ids),
        blocked=NumberLists.of(_blocked(taxonomy, synset, number_of) for synset in synset_of_class),
    )


def class_prompts(label_space: LabelSpace, class_index: int) -> list[str]:
    """Return the texts of a class without a synset: its name and its synonyms."""
    names = (label_space.names[class_index], *label_space.synonyms[class_index])
    return list(dict.fromkeys(map(prompt, names)))


def index_texts(prompts: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], NumberLists]:
    """Return the distinct texts of all concepts, sorted, and the indices of the texts of each concept."""
    texts = tuple(sorted({text for row in prompts for text in row}))
    index_of = {text: index for index, text in enumerate(texts)}
    return texts, NumberLists.of([index_of[text] for text in row] for row in prompts)


def _near(taxonomy: Taxonomy, synset: int) -> list[int]:
    """Return the distinct synsets near a synset: siblings, then hypernyms."""
    siblings = {hyponym for parent in taxonomy.hypernyms[synset] for hyponym in taxonomy.hyponyms[parent]}
    return list(dict.fromkeys([*sorted(siblings), *_hypernyms_below_meta_labels(taxonomy, synset)]))


def _hypernyms_below_meta_labels(taxonomy: Taxonomy, synset: int) -> list[int]:
    """Return the synsets on each hypernym path, from its first meta label downward."""
    hypernyms: list[int] = []
    for path in taxonomy.hypernym_paths(synset):
        meta = [depth for depth, above in enumerate(path) if META_LABELS & set(taxonomy.lemmas[above])]
        if meta:
            hypernyms += path[meta[0] :]
    return hypernyms


def _blocked(taxonomy: Taxonomy, synset: int | None, number_of: Mapping[int, int]) -> list[int]:
    """Return the concepts that a target with this synset blocks, ascending."""
    above = taxonomy.ancestry(synset) if synset is not None else ()
    return sorted(number_of[ancestor] for ancestor in above if ancestor in number_of)
