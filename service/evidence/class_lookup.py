"""Map the class texts of a file to classes, and describe unknown and ambiguous texts."""

from functools import cache

from service.domain import IMAGENET_1K, LabelSpace

MAX_SHOWN = 40  # characters of a text in a message
MAX_HINTS = 20  # unknown texts with a hint; finding similar names takes up to 0.2 s for each text


class ClassLookup:
    """Finds the classes of texts. Each distinct text is matched only once."""

    def __init__(self, label_space: LabelSpace) -> None:
        self._label_space = label_space
        self.find = cache(label_space.parse)
        self.find_all = cache(self._find_all)
        self._hints: dict[str, str] = {}

    def _find_all(self, field: str) -> tuple[int, ...] | str:
        """Return the distinct classes of a field with one or several texts, or the first text that identifies no class.

        A field with `;` is split at each `;`. A field without `;` is one text if this text means at least one class.
        Otherwise, the field is split at spaces.
        """
        if ";" in field:
            texts = [text for text in map(str.strip, field.split(";")) if text]
        elif self._label_space.match(field):
            texts = [field.strip()]
        else:
            texts = field.split()
        return self.find_each(texts)

    def find_each(self, texts: list[str]) -> tuple[int, ...] | str:
        """Return the distinct classes of texts, in order, or the first text that identifies no class."""
        classes: dict[int, None] = {}
        for text in texts:
            class_ = self.find(text)
            if class_ is None:
                return text
            classes[class_] = None
        return tuple(classes)

    def describe_problem(self, text: str, field: str = "") -> str:
        """Return why a text identifies no class, with the candidates or the similar names.

        Args:
            text: The text.
            field: The field that contains the text, perhaps among other texts.
        """
        if classes := self._label_space.match(text):
            candidates = self._label_space.describe(classes)
            return f"ambiguous class {text!r:.{MAX_SHOWN}}: {candidates}; use an ID or another index or name"
        is_split_at_spaces = len(field.split()) > 1 and ";" not in field
        hint = (is_split_at_spaces and self._hint(field)) or self._hint(text)
        place = f" in {field!r:.{MAX_SHOWN}}" if is_split_at_spaces else ""
        separator = "; separate several classes with ';'" if is_split_at_spaces else ""
        expected = f"use an ID, a name, or an index from 0 to {self._label_space.num_classes - 1}"
        if self._label_space.name == IMAGENET_1K:
            expected += " of ImageNet-1k, or add --classes for classes of your own"
        return f"unknown class {text!r:.{MAX_SHOWN}}{place}; {expected}{separator}{hint}"

    def _hint(self, text: str) -> str:
        """Return a hint with the names similar to a text; empty after the first MAX_HINTS unknown texts."""
        if text not in self._hints:
            if len(self._hints) == MAX_HINTS:
                return ""
            similar = ", ".join(f"{name!r:.{MAX_SHOWN}}" for name in self._label_space.similar_names(text))
            self._hints[text] = f"; similar names: {similar}" if similar else ""
        return self._hints[text]
