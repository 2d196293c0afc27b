"""An independent and slow implementation of the mapping of answers: linear searches, and NLTK instead of the data."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from service.domain import LabelSpace

PHYSICAL_ENTITY = 1930


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text, without case, punctuation, and articles at the start."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    letters = "".join("" if c in "'’ʼ`" else c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    words = letters.split()
    while len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    return tuple(words)


class SlowMatcher:
    """Finds the classes of an answer; an answer has no phrases around the name."""

    def __init__(self, label_space: LabelSpace, wordnet: Any) -> None:
        self._names: list[tuple[tuple[str, ...], int]] = []
        for index in range(label_space.num_classes):
            synset = label_space.synsets[index]
            lemmas = wordnet.synset_from_pos_and_offset("n", int(synset[1:])).lemma_names() if synset else []
            for text in (label_space.ids[index], label_space.names[index], *label_space.synonyms[index], *lemmas):
                self._names.append((words_of(text), index))
        self._wordnet = wordnet
        self._physical = wordnet.synset_from_pos_and_offset("n", PHYSICAL_ENTITY)

    def match(self, answer: str) -> tuple[str, set[int]]:
        """Return `mapped`, `ambiguous`, `outside`, or `unknown`, and the classes."""
        words = words_of(answer)
        matched = self._classes(words)
        if not matched and self._is_noun(words):
            return "outside", set()
        start = len(words) if matched else 0
        while start < len(words):
            for stop in range(len(words), start, -1):
                classes = self._classes(words[start:stop])
                if classes or (stop - start > 1 and self._is_noun(words[start:stop])):
                    matched, start = matched | classes, stop - 1
                    break
            start += 1
        return {0: "unknown", 1: "mapped"}.get(len(matched), "ambiguous"), matched

    def _classes(self, words: tuple[str, ...]) -> set[int]:
        return self._first_form(words, lambda form: {index for name, index in self._names if name == form}) or set()

    def _is_noun(self, words: tuple[str, ...]) -> bool:
        return bool(self._first_form(words, self._physical_senses))

    def _physical_senses(self, words: Sequence[str]) -> list[Any]:
        if not words:
            return []
        texts = {sep.join(words) for sep in ("_", "-", "")} if len(words) < 4 else {"_".join(words)}
        senses = [synset for text in texts for synset in self._wordnet.synsets(text, "n") if self._has(synset, text)]
        kinds = [synset for synset in senses if not synset.instance_hypernyms()]
        return [synset for synset in kinds if self._physical in synset.closure(lambda item: item.hypernyms())]

    def _has(self, synset: Any, text: str) -> bool:
        """Return whether the text itself is a lemma; NLTK also finds singulars."""
        return text in {lemma.lower() for lemma in synset.lemma_names()} and words_of(text) != ()

    def _first_form(self, words: tuple[str, ...], find: Callable[[tuple[str, ...]], Any]) -> Any:
        if not words:
            return None
        word, exceptions = words[-1], self._wordnet._exception_map["n"]
        forms = [word, *exceptions.get(word, [])]
        if len(word) > 2 and not word.endswith("ss") and word not in exceptions:
            rules = self._wordnet.MORPHOLOGICAL_SUBSTITUTIONS["n"]
            forms += [word[: -len(old)] + new for old, new in rules if word.endswith(old)]
        return next((result for form in forms if form and (result := find((*words[:-1], form)))), None)
