"""Proposals of rule 5 for own label spaces. Slow by intention, and written from the specification only."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oracle.proposals import PROMPT, Taxonomy
from oracle.superclasses import share_superclass


@dataclass(frozen=True)
class OwnClass:
    """A class of an own label space."""

    names: tuple[str, ...]  # name and synonyms
    superclasses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row of a vocabulary file."""

    text: str
    near: tuple[str, ...]  # names of classes and superclasses


def members(classes: list[OwnClass]) -> list[set[int]]:
    """Return the classes of each superclass."""
    names = {superclass for own in classes for superclass in own.superclasses}
    return [{index for index, own in enumerate(classes) if name in own.superclasses} for name in sorted(names)]


def proposals(classes: list[OwnClass], vocabulary: list[Row], predicted: int) -> list[int | str]:
    """Return the proposed classes (numbers), then the proposed texts, in the order of the file."""
    result: list[int | str] = [predicted]
    for other in range(len(classes)):
        if share_superclass(other, predicted, members(classes)) and other not in result:
            result.append(other)
    for row in vocabulary:
        if set(row.near) & {*classes[predicted].names, *classes[predicted].superclasses}:
            result.append(row.text)
    return result


def texts(classes: list[OwnClass], proposal: int | str) -> list[str]:
    """Return the texts of a proposal."""
    names = [proposal] if isinstance(proposal, str) else classes[proposal].names
    return [PROMPT.format(name.lower().replace("_", " ")) for name in names]


def best(classes: list[OwnClass], proposed: list[int | str], score: Callable[[str], float]) -> int | str:
    """Return the first proposal that has a text with the highest score."""
    return max(proposed, key=lambda proposal: max(score(text) for text in texts(classes, proposal)))


def read_wordnet(data_noun: Path) -> Taxonomy:
    """Read WordNet's file data.noun (wndb(5WN)): offset, file, type, words, pointers, gloss. No class has a synset."""
    taxonomy = Taxonomy({}, {}, {}, {})
    for line in data_noun.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue  # the license
        fields = line.split(" | ")[0].split()
        offset, num_words = int(fields[0]), int(fields[3], 16)
        taxonomy.lemmas[offset] = fields[4 : 4 + 2 * num_words : 2]
        pointers = fields[5 + 2 * num_words :]
        for place in range(0, len(pointers) - 3, 4):
            symbol, other = pointers[place], int(pointers[place + 1])
            if symbol in ("@", "@i"):
                taxonomy.hypernyms.setdefault(offset, []).append(other)
            elif symbol == "~":
                taxonomy.hyponyms.setdefault(offset, []).append(other)
    return taxonomy
