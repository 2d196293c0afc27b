"""Reads a JSON document value by value.

Only one parsed value is in memory at a time, because a small value takes a hundred times its size in the text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from errata.errors import InvalidUpload, TooLarge, TruncatedUpload

from service.predictions.uploads.descriptions import SCORES_REMEDY

MAX_VALUE = 16 << 10  # characters of one value
FIRST_PIECE = 256  # characters that are parsed first; most values are shorter
MAX_VALUES = 100_000
REMEDY = "Write the file with a JSON library, or as JSONL with one object per line."
MAX_DEPTH = 32  # maximum depth of values that are skipped
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JsonReader:
    """A position in the text of a JSON document."""

    def __init__(self, text: str, max_values: int = MAX_VALUES) -> None:
        """Start at the beginning of a text. At most `max_values` values can be visited one by one."""
        self.text = text
        self._position = 0
        self._remaining = max_values

    def peek(self) -> str:
        """Return the next character that is not white space; raise TruncatedUpload at the end."""
        self._position = _SPACE.match(self.text, self._position).end()  # type: ignore[union-attr]  # matches anything
        if self._position >= len(self.text):
            raise TruncatedUpload("The JSON file ends early. Upload the complete file.", field="chunk")
        return self.text[self._position]

    def read_value(self) -> Any:
        """Return the next value; raise InvalidUpload if it is invalid, or longer than MAX_VALUE."""
        self.peek()
        problem = ""
        for size in (FIRST_PIECE, MAX_VALUE):
            piece = self.text[self._position : self._position + size]
            is_end = self._position + size >= len(self.text)
            try:
                value, length = _DECODER.raw_decode(piece)
            except (ValueError, RecursionError) as error:
                problem = str(error)
            else:
                if length < len(piece) or is_end:  # a number can continue after the piece
                    self._position += length
                    return value
            if is_end:
                break
        else:
            raise self._error(
                f"A value is longer than {MAX_VALUE:,} characters, or invalid.",
                f"{SCORES_REMEDY} Write other values with a JSON library.",
            )
        raise self._error(f"Invalid JSON ({problem:.80}).")

    def iterate(self) -> Iterator[Any]:
        """Yield before each value of an array or object: None, or the key of the value.

        The caller reads or skips the value before the next step.
        """
        is_array = self.peek() == "["
        end = "]" if is_array else "}"
        self._expect("[" if is_array else "{")
        if self.peek() == end:
            self._position += 1
            return
        while True:
            self._count_value()
            yield None if is_array else self._read_key()
            if self._is_last(end):
                return

    def skip_value(self, depth: int = 0) -> None:
        """Go past the next value of any size."""
        if depth > MAX_DEPTH:
            raise self._error("The values are nested too deeply.")
        if self.peek() in "[{":
            for _ in self.iterate():
                self.skip_value(depth + 1)
        else:
            self.read_value()

    def expect_end(self) -> None:
        """Raise InvalidUpload if more text follows."""
        rest = self.text[self._position :].strip()
        if rest:
            raise self._error("More text follows the end of the document.")

    def _read_key(self) -> str:
        key = self.read_value()
        if not isinstance(key, str):
            raise self._error("Expected a key in quotation marks.")
        self._expect(":")
        return key

    def _count_value(self) -> None:
        self._remaining -= 1
        if self._remaining < 0:
            raise TooLarge(
                "The JSON file has far more values than the data set has images. Write only names and classes.",
                field="chunk",
            )

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            raise self._error(f"Expected {character!r}.")
        self._position += 1

    def _is_last(self, end: str) -> bool:
        """Consume the comma or `end` after a value; return whether it was `end`."""
        character = self.peek()
        if character not in (",", end):
            raise self._error(f"Expected a comma or {end!r}.")
        self._position += 1
        return character == end

    def _error(self, problem: str, remedy: str = REMEDY) -> InvalidUpload:
        line = self.text.count("\n", 0, self._position) + 1
        text = self.text[self._position : self._position + 40]
        return InvalidUpload(
            f"Line {line:,} of the JSON file, at {text!r}: {problem} {remedy}", field="chunk", line=line
        )
