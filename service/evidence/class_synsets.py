"""The synsets of classes and the part of WordNet around them, from the data of the package or through NLTK."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from errata.errors import InvalidEvidence

from service.domain import LabelSpace
from service.evidence.input_files import Problems
from service.taxonomy.common_hypernyms import find_synsets, find_visible_sense, sense_of_package
from service.taxonomy.wordnet import Taxonomy, load_taxonomy, to_taxonomy


def taxonomy_of(label_space: LabelSpace) -> Taxonomy:
    """Return the part of WordNet around the synsets of a label space.

    The data of the package suffice for the synsets of ImageNet-1k and some hypernyms. Other synsets need WordNet.
    """
    package = load_taxonomy()
    if all(package.covers(int(synset[1:])) for synset in label_space.synsets if synset):
        return package
    with _open_wordnet() as wordnet:
        _check_existence(wordnet, label_space)
        return _compile(wordnet, [int(synset[1:]) for synset in label_space.synsets if synset])


def find_senses(label_space: LabelSpace) -> tuple[Taxonomy, list[int | None], tuple[str, ...]]:
    """Return the synset of each class by its ID or name, with the part of WordNet around these synsets.

    Returns:
        The taxonomy, the (C,) synsets (None: unknown), and notes for the user.
    """
    with ExitStack() as stack:
        try:
            wordnet = stack.enter_context(_open_wordnet())
        except InvalidEvidence as error:
            note = f"Only the names of ImageNet-1k's classes and their hypernyms are known. {error.message}"
            return *_find_in_package(label_space), (note,)
        _check_existence(wordnet, label_space)
        synsets = find_synsets(label_space, partial(find_visible_sense, wordnet))
        return _compile(wordnet, synsets), synsets, ()


def _find_in_package(label_space: LabelSpace) -> tuple[Taxonomy, list[int | None]]:
    taxonomy = load_taxonomy()
    synsets = find_synsets(label_space, sense_of_package(taxonomy))
    return taxonomy, [synset if taxonomy.hypernyms.get(synset or 0) else None for synset in synsets]


def _compile(wordnet: Any, synsets: Iterable[int | None]) -> Taxonomy:
    from service.taxonomy.compile import compile_taxonomy  # NLTK is an optional dependency

    ids = {f"n{synset:08d}" for synset in synsets if synset is not None}
    return to_taxonomy(compile_taxonomy(wordnet, sorted(ids)))


@contextmanager
def _open_wordnet() -> Iterator[Any]:
    """Yield NLTK's reader of WordNet; raise InvalidEvidence if NLTK or WordNet is missing."""
    try:
        from service.taxonomy.nltk_wordnet import find_wordnet  # NLTK is an optional dependency
    except ImportError as error:
        raise InvalidEvidence(
            "Synsets far from the classes of ImageNet-1k need WordNet through NLTK. Install errata-service[taxonomy].",
            field="synset",
        ) from error
    with find_wordnet() as wordnet:
        yield wordnet


def _check_existence(wordnet: Any, label_space: LabelSpace) -> None:
    problems = Problems(label_space.name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No WordNet synset found", UserWarning)
        for index, synset in enumerate(label_space.synsets):
            if synset and wordnet.synset_from_pos_and_offset("n", int(synset[1:])) is None:
                problems.add(
                    "synset",
                    f"class {index} ({label_space.names[index]!r:.60}): WordNet 3.0 has no synset {synset}; correct "
                    "it, or leave it empty",
                )
    problems.check()
