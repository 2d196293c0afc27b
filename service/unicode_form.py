"""Unicode normalization in a time that grows only linearly with the length of a text."""

import re
import unicodedata
from functools import cache
from typing import Literal

MAX_MARKS = 30  # combining characters in a row; no language needs more (UAX #15, stream-safe text)


def normalize_unicode(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return a text in a normalization form, or unchanged if it has more than MAX_MARKS combining characters in a row.

    For such a row, the time of Python's function grows with the square of its length: 30 seconds for 100 KB.
    """
    if text.isascii() or any(_has_many_marks(run) for run in _candidates().findall(text)):
        return text
    return unicodedata.normalize(form, text)


@cache
def _candidates() -> re.Pattern[str]:
    """Return a pattern for many combining characters, or other characters from U+10000 on, in a row.

    The combining characters from U+10000 on are in so many ranges that a search for them is 10 times slower.
    """
    marks = "".join(filter(_begins_with_mark, map(chr, range(0x300, 0x10000))))
    return re.compile(f"[{marks}\U00010000-\U0010ffff]{{{MAX_MARKS + 1},}}")


def _has_many_marks(text: str) -> bool:
    count = 0
    for character in text:
        count = count + 1 if _begins_with_mark(character) else 0
        if count > MAX_MARKS:
            return True
    return False


def _begins_with_mark(character: str) -> bool:
    """Return whether the decomposition of a character begins with a combining character."""
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0
