"""Proposals from a vocabulary, for label spaces whose classes have no synsets (spec: "Out of vocabulary")."""

from dataclasses import dataclass

import numpy as np

from service.domain import LabelSpace
from service.taxonomy.number_lists import NumberLists
from service.taxonomy.proposals import Proposals, prompt
from service.taxonomy.wordnet_proposals import class_prompts, index_texts


@dataclass(frozen=True)
class VocabularyText:
    """A text that names no class, and the classes and superclasses to which it is similar (near)."""

    text: str
    classes: tuple[int, ...]
    superclasses: tuple[int, ...]  # indices into Superclasses.ids


def propose_vocabulary(vocabulary: tuple[VocabularyText, ...], label_space: LabelSpace) -> Proposals:
    """Return the proposals for a label space. Concepts are the classes, then the texts of the vocabulary."""
    num_classes = label_space.num_classes
    near_classes: list[list[int]] = [[] for _ in range(num_classes)]
    near_superclasses: list[list[int]] = [[] for _ in label_space.superclasses.ids]
    prompts = [class_prompts(label_space, class_index) for class_index in range(num_classes)]
    for concept, row in enumerate(vocabulary, start=num_classes):
        prompts.append([prompt(row.text)])
        for class_index in row.classes:
            near_classes[class_index].append(concept)
        for superclass in row.superclasses:
            near_superclasses[superclass].append(concept)
    texts, concept_texts = index_texts(prompts)
    return Proposals(
        superclasses=label_space.superclasses,
        texts=texts,
        concept_texts=concept_texts,
        class_concepts=np.arange(num_classes, dtype=np.int32),
        near_classes=NumberLists.of(near_classes),
        near_superclasses=NumberLists.of(near_superclasses),
        blocked=NumberLists.of([] for _ in range(num_classes)),
    )
