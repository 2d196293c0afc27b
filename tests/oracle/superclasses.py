"""Which classes a superclass holds and which classes share one; slow on purpose, from the spec alone."""


def matching_classes(predicate: list[list[str]], lemmas_of_class: list[set[str]]) -> set[int]:
    """A class belongs if, for any inner list, all its lemmas occur among the class's lemma names.

    `lemmas_of_class[i]`: the lemma names of class i's synset and of all of its hypernyms, as they are
    (exact, case-sensitive, underscores kept). An empty inner list asks for nothing: it holds everywhere.
    """
    result: set[int] = set()
    for index, lemmas in enumerate(lemmas_of_class):
        for inner in predicate:
            if all(lemma in lemmas for lemma in inner):
                result.add(index)
    return result


def share_superclass(a: int, b: int, superclasses: list[set[int]]) -> bool:
    """A class can be in several superclasses; a class in none is a superclass of its own."""
    if a == b:
        return True
    return any(a in members and b in members for members in superclasses)
