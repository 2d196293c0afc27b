"""Find the class that a free-text answer names."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from service.domain import AnswerOutcome, LabelSpace, normalize, normalize_answer
from service.predictions.answers.phrases import iterate_cores
from service.taxonomy.nouns import Nouns, load_nouns, phrase_starts

MAX_ANSWER = 1000  # characters; a longer answer is not searched for names
MAX_CACHED_PHRASES = 1 << 14
Classes = tuple[int, ...]


@dataclass(frozen=True)
class AnswerMatch:
    """The class of an answer, or why it has none."""

    outcome: AnswerOutcome
    classes: Classes = ()  # one class if the outcome is MAPPED, several if it is AMBIGUOUS, otherwise none
    overridden: bool = False  # whether the mapping file lists the answer

    @classmethod
    def of(cls, classes: Iterable[int]) -> "AnswerMatch":
        """Create the match of an answer that names at least one class."""
        distinct = tuple(sorted({*classes}))
        return cls(AnswerOutcome.MAPPED if len(distinct) == 1 else AnswerOutcome.AMBIGUOUS, distinct)


UNKNOWN, OUTSIDE = AnswerMatch(AnswerOutcome.UNKNOWN), AnswerMatch(AnswerOutcome.OUTSIDE)


@dataclass(frozen=True)
class AnswerMapping:
    """The content of a mapping file."""

    classes: Mapping[str, int | None] = field(default_factory=dict)  # class by normalized answer; None: no class

    def find(self, answer: str) -> AnswerMatch | None:
        """Return the match of an answer; None if the file does not list the answer."""
        key = normalize_answer(answer)
        if key not in self.classes:
            return None
        class_index = self.classes[key]
        return AnswerMatch(
            AnswerOutcome.OUTSIDE if class_index is None else AnswerOutcome.MAPPED,
            (() if class_index is None else (class_index,)),
            overridden=True,
        )


class AnswerMatcher:
    """Maps answers to the classes of a label space. docs/how-to/free-text-answers.md describes the steps.

    Args:
        label_space: The classes.
        mapping: The mapping file.
        terms: Texts of a vocabulary that name no class.
    """

    def __init__(
        self, label_space: LabelSpace, mapping: AnswerMapping = AnswerMapping(), terms: Iterable[str] = ()
    ) -> None:
        self._mapping = mapping
        self._nouns = load_nouns()
        self._ids = {id_: (index,) for index, id_ in enumerate(label_space.ids)}
        self._names = _by_text(_iterate_names(label_space), normalize)
        by_name = _by_text(_iterate_names(label_space), normalize_answer)
        self._by_id = _by_text(enumerate(label_space.ids), normalize_answer)
        self._outside = {normalize_answer(text) for text in (*label_space.superclasses.ids, *terms)}
        self._classes = _by_text(_iterate_lemmas(label_space, self._nouns), str) | by_name
        # A hostile file has the same few words in each answer, and a lookup of a plural takes 10 µs.
        self._find_phrase = lru_cache(MAX_CACHED_PHRASES)(self._find_uncached_phrase)
        self._starts = self._nouns.starts | phrase_starts((*self._classes, *self._outside))

    def match(self, answer: str) -> AnswerMatch:
        """Return the class that an answer names, or why it has none."""
        if override := self._mapping.find(answer):
            return override
        if len(answer) > MAX_ANSWER:
            return UNKNOWN
        exact = self._ids.get(answer.strip()) or self._names.get(normalize(answer))
        if exact:
            return AnswerMatch.of(exact)
        cores = [*iterate_cores(answer)]
        for core in cores:
            if classes := self._by_id.get(core) or self._find_class(core):
                return AnswerMatch.of(classes)
        for core in cores:
            if core in self._outside or self._nouns.find(core):
                return OUTSIDE
        classes = tuple(self._find_contained(cores[-1])) if cores else ()
        return AnswerMatch.of(classes) if classes else UNKNOWN

    def _find_class(self, text: str) -> Classes:
        """Return the classes that a normalized text names, or that the first matching singular form of it names."""
        return next((classes for form in self._nouns.forms(text) if (classes := self._classes.get(form))), ())

    def _find_contained(self, text: str) -> Iterator[int]:
        """Yield the classes whose names a text contains.

        At each word, from left to right, the longest name or noun is used, so that `hot dog` does not contain `dog`.
        """
        words, start = text.split(" "), 0
        while start < len(words):
            phrases = [words[start]]
            while phrases[-1] in self._starts and start + len(phrases) < len(words):
                phrases.append(f"{phrases[-1]} {words[start + len(phrases)]}")
            for length in range(len(phrases), 0, -1):
                classes, is_noun = self._find_phrase(phrases[length - 1])
                yield from classes
                if classes or (length > 1 and is_noun):
                    start += length - 1
                    break
            start += 1

    def _find_uncached_phrase(self, phrase: str) -> tuple[Classes, bool]:
        """Return the classes that a normalized text names, and whether it is outside or a noun."""
        return self._find_class(phrase), phrase in self._outside or bool(self._nouns.find(phrase))


def _iterate_names(label_space: LabelSpace) -> Iterator[tuple[int, str]]:
    for index, (name, synonyms) in enumerate(zip(label_space.names, label_space.synonyms, strict=True)):
        for text in (name, *synonyms):
            yield index, text


def _iterate_lemmas(label_space: LabelSpace, nouns: Nouns) -> Iterator[tuple[int, str]]:
    """Yield (class, lemma) for each lemma of the synset of each class. Skip classes without a synset."""
    for index, synset in enumerate(label_space.synsets):
        for lemma in nouns.lemmas.get(int(synset[1:]), ()) if synset else ():
            yield index, lemma


def _by_text(texts: Iterable[tuple[int, str]], normalized: Callable[[str], str]) -> dict[str, Classes]:
    """Group the classes by normalized text. Skip empty texts."""
    collected: dict[str, dict[int, None]] = {}
    for index, text in texts:
        if key := normalized(text):
            collected.setdefault(key, {})[index] = None
    return {text: tuple(classes) for text, classes in collected.items()}
