"""Find whether a wrong answer is a more general or more specific name of a label, by WordNet and superclasses."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from service.domain import AnswerRelation, LabelSpace, normalize_answer
from service.predictions.answers.phrases import iterate_cores
from service.taxonomy.nouns import load_nouns


class AnswerRelations:
    """Compares answers with the classes of a label space."""

    def __init__(self, label_space: LabelSpace) -> None:
        self._label_space = label_space
        self._nouns = load_nouns()

    def compare(self, answer: str, predicted: int, labels: Sequence[int]) -> AnswerRelation:
        """Return the relation of a wrong answer to the labels of an image.

        Args:
            answer: The answer.
            predicted: The class of the answer; negative if the answer has no class.
            labels: The classes that are labels of the image.
        """
        cores = [normalize_answer(answer)] if predicted >= 0 else [*iterate_cores(answer)]
        synsets = self._synsets_of(predicted) if predicted >= 0 else self._senses(cores)
        members = frozenset[int]().union(*(self._superclasses.get(core, ()) for core in cores))
        of_labels = {synset for label in labels for synset in self._synsets_of(label)}
        if not members.isdisjoint(labels) or any(self._nouns.ancestors(label) & synsets for label in of_labels):
            return AnswerRelation.TOO_GENERAL
        if any(self._nouns.ancestors(synset) & of_labels for synset in synsets):
            return AnswerRelation.MORE_SPECIFIC
        return AnswerRelation.UNSPECIFIED

    def _synsets_of(self, class_index: int) -> frozenset[int]:
        synset = self._label_space.synsets[class_index]
        return frozenset({int(synset[1:])} if synset else ())

    def _senses(self, cores: Sequence[str]) -> frozenset[int]:
        """Return all synsets of the first text that is a noun."""
        return frozenset(next((synsets for core in cores if (synsets := self._nouns.find(core))), ()))

    @cached_property
    def _superclasses(self) -> Mapping[str, frozenset[int]]:
        """Return a mapping of normalized superclass names to the classes of the superclass."""
        superclasses = self._label_space.superclasses
        return {
            normalize_answer(name): frozenset(members.tolist())
            for name, members in zip(superclasses.ids, superclasses.members, strict=True)
        }
