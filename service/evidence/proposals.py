"""The proposals of a label space, and their JSON form in the array `proposals` of a bundle.

{"texts": [text, …],                    sorted, the rows of text_embeddings.npy
 "concepts": [[text, …], …],            texts of each concept
 "classes": [concept, …],               concept of each class
 "near_classes": [[concept, …], …],     see taxonomy/proposals.py
 "near_superclasses": {superclass: [concept, …]},
 "blocked": [[concept, …], …]}

Bundles of imagenet-1k do not have this array: their superclasses and the data of the package determine the proposals.
"""

import json
from typing import Any

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.domain import LabelSpace
from service.evidence.class_synsets import taxonomy_of
from service.taxonomy.number_lists import NumberLists
from service.taxonomy.proposals import Proposals
from service.taxonomy.vocabulary_proposals import VocabularyText, propose_vocabulary
from service.taxonomy.wordnet_proposals import propose_synsets


def proposals_of(label_space: LabelSpace, vocabulary: tuple[VocabularyText, ...] | None = None) -> Proposals | None:
    """Return the proposals of a label space: from WordNet if classes have synsets, else from a vocabulary.

    Returns:
        The proposals; None if there are no synsets and no vocabulary. The rule of FINE_GRAINED_OOV then abstains.

    Raises:
        InvalidEvidence: A synset does not exist, WordNet is needed but missing, or there are synsets and a vocabulary.
    """
    if any(label_space.synsets):
        if vocabulary is not None:
            raise InvalidEvidence(
                f"The classes of {label_space.name} have synsets, so their texts come from WordNet. Remove the "
                "vocabulary file, or the synsets of the classes.",
                field="vocabulary",
            )
        return propose_synsets(taxonomy_of(label_space), label_space)
    return None if vocabulary is None else propose_vocabulary(vocabulary, label_space)


def proposals_to_json(proposals: Proposals) -> bytes:
    """Return proposals as JSON."""
    near_superclasses = zip(proposals.superclasses.ids, proposals.near_superclasses.to_lists(), strict=True)
    content = {
        "texts": list(proposals.texts),
        "concepts": proposals.concept_texts.to_lists(),
        "classes": proposals.class_concepts.tolist(),
        "near_classes": proposals.near_classes.to_lists(),
        "near_superclasses": {name: concepts for name, concepts in near_superclasses if concepts},
        "blocked": proposals.blocked.to_lists(),
    }
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def proposals_from_json(content: bytes, label_space: LabelSpace, num_texts: int) -> Proposals:
    """Return the proposals that `proposals_to_json` wrote.

    Args:
        content: The JSON.
        label_space: The classes. The order of superclasses can differ from that in the build.
        num_texts: Expected number of texts.

    Raises:
        ValueError: The content does not have the documented form.
        KeyError: A field is missing.
        TypeError: A value has another type.
    """
    raw = parse_json(content.decode())
    texts, num_concepts = tuple(raw["texts"]), len(raw["concepts"])
    if len(texts) != num_texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"texts: expected {num_texts} strings")
    superclasses, near_superclasses = label_space.superclasses, raw["near_superclasses"]
    if not near_superclasses.keys() <= {*superclasses.ids}:
        raise ValueError("near_superclasses: unknown superclass")
    in_order = [near_superclasses.get(name, []) for name in superclasses.ids]
    concept_texts = _lists(raw["concepts"], "concepts", num_concepts, len(texts))
    if (np.diff(concept_texts.offsets) == 0).any():
        raise ValueError("a concept has no text")
    return Proposals(
        superclasses=superclasses,
        texts=texts,
        concept_texts=concept_texts,
        class_concepts=_numbers(raw["classes"], "classes", label_space.num_classes, num_concepts),
        near_classes=_lists(raw["near_classes"], "near_classes", label_space.num_classes, num_concepts),
        near_superclasses=_lists(in_order, "near_superclasses", len(in_order), num_concepts),
        blocked=_lists(raw["blocked"], "blocked", label_space.num_classes, num_concepts),
    )


def _lists(rows: list[list[Any]], key: str, count: int, bound: int) -> NumberLists:
    """Return lists of numbers below a bound."""
    if len(rows) != count:
        raise ValueError(f"{key}: {len(rows)} lists, expected {count}")
    offsets = np.cumsum([0, *map(len, rows)])
    return NumberLists(offsets, _numbers([number for row in rows for number in row], key, offsets[-1], bound))


def _numbers(values: list[Any], key: str, count: int, bound: int) -> NDArray[np.int32]:
    if len(values) != count or not all(type(value) is int and 0 <= value < bound for value in values):
        raise ValueError(f"{key}: expected {count} numbers from 0 to {bound - 1}")
    return np.array(values, dtype=np.int32)
