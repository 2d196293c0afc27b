"""Read a vocabulary: CSV `text,near`, with texts that name no class, and the classes and superclasses near each text.

Semicolons separate several names in `near`. If a class and a superclass have the same name, it stands for both.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from errata.errors import InvalidEvidence

from service.domain import LabelSpace, normalize
from service.evidence.class_lookup import ClassLookup
from service.evidence.input_files import Description, Problems, csv_rows, read_text, text_problem
from service.taxonomy.vocabulary_proposals import VocabularyText

MAX_ROWS = 100_000  # texts, each of which has an embedding in the bundle
MAX_TEXT = 300  # characters; CLIP reads the first 77 tokens
_COLUMNS: Mapping[str, tuple[str, ...]] = {"text": (), "near": ()}


def read_vocabulary(path: Path, label_space: LabelSpace) -> tuple[VocabularyText, ...]:
    """Read a vocabulary file for a label space.

    Raises:
        InvalidEvidence: The file cannot be read, or rows are invalid; `violations` has the lines.
    """
    problems = Problems(path.name)
    names = _Names(label_space)
    texts: list[VocabularyText] = []
    line_of: dict[str, int] = {}
    for line, row in csv_rows(read_text(path, "vocabulary"), problems, _COLUMNS, ("text", "near")):
        if len(line_of) == MAX_ROWS:
            problems.add("text", f"more than {MAX_ROWS:,} texts; remove texts that are not needed", line)
            break
        text = row["text"].strip()
        if text_error := text_problem("text", text, MAX_TEXT) or names.class_problem(text):
            problems.add("text", text_error, line)
        elif (first := line_of.setdefault(normalize(text), line)) != line:
            problems.add(
                "text",
                f"duplicate text {text!r:.60}, also {problems.locate(first)}; write one row per text",
                line,
            )
        near, near_problems = names.parse_near(row["near"])
        for problem in near_problems:
            problems.add("near", problem, line)
        texts.append(VocabularyText(text, *near))
    problems.check()
    if not texts:
        raise InvalidEvidence(f"{path.name} has no texts. Write one row per text.", field="vocabulary")
    return tuple(texts)


class _Names:
    """Finds the classes and superclasses that a vocabulary names."""

    def __init__(self, label_space: LabelSpace) -> None:
        self._lookup = ClassLookup(label_space)
        ids = list(enumerate(label_space.superclasses.ids))
        self._superclass_of = {normalize(name): number for number, name in ids} | {name: number for number, name in ids}
        self._class_of = {
            normalize(name): class_index
            for class_index in reversed(range(label_space.num_classes))
            for name in (label_space.names[class_index], *label_space.synonyms[class_index])
        }

    def class_problem(self, text: str) -> str:
        """Return the problem of a text that is a name or synonym of a class; empty for other texts."""
        class_index = self._class_of.get(normalize(text))
        if class_index is None:
            return ""
        return f"text {text!r:.60} names class {class_index}, so it is not out of vocabulary; remove it"

    def parse_near(self, near: str) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], list[Description]]:
        """Return the classes and superclasses of a field `near`, ascending, and its problems."""
        names = [name.strip() for name in near.split(";") if name.strip()]
        problems: list[Description] = []
        if not names:
            problems.append("empty near; write the classes or superclasses that the text is near")
        classes: set[int] = set()
        superclasses: set[int] = set()
        for name in names:
            class_index = self._lookup.find(name)
            superclass = self._superclass_of.get(name, self._superclass_of.get(normalize(name)))
            if superclass is not None:
                superclasses.add(superclass)
            if class_index is not None:
                classes.add(class_index)
            elif superclass is None:
                problems.append(partial(self._describe, name))
        return (tuple(sorted(classes)), tuple(sorted(superclasses))), problems

    def _describe(self, name: str) -> str:
        """Return the description of a name that identifies neither a superclass nor a class."""
        return f"no superclass {name!r:.60}, and {self._lookup.describe_problem(name)}"
