"""Members of superclasses and shared superclasses. Slow by intention, and written from the specification only."""


def matching_classes(predicate: list[list[str]], lemmas_of_class: list[set[str]]) -> set[int]:
    """Return the classes for which all lemmas of any inner list occur among their lemma names.

    `lemmas_of_class[i]`: the lemma names of class i's synset and of all of its hypernyms, as they are
    (exact, case-sensitive, with underscores). An empty inner list holds for every class.
    """
    result: set[int] = set()
    for index, lemmas in enumerate(lemmas_of_class):
        for inner in predicate:
            if all(lemma in lemmas for lemma in inner):
                result.add(index)
    return result


def share_superclass(a: int, b: int, superclasses: list[set[int]]) -> bool:
    """Return whether two classes share a superclass. A class without superclass is its own superclass."""
    if a == b:
        return True
    return any(a in members and b in members for members in superclasses)
