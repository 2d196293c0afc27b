"""Unicode normalization in a time that grows only linearly with the length of a text."""

import re
import unicodedata
from functools import lru_cache
from typing import Literal

MAX_MARKS = 30  # combining characters in a row; no language needs more (UAX #15, stream-safe text)
_CANDIDATES = re.compile(f"[\\u0300-\\U0010ffff]{{{MAX_MARKS + 1},}}")  # a quick search, because few texts have any


def normalize_unicode(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return a text in a normalization form, or unchanged if it has more than MAX_MARKS combining characters in a row.

    For such a row, the time of Python's function grows with the square of its length: 30 seconds for 100 KB.
    """
    return text if any(_has_many_marks(run) for run in _CANDIDATES.findall(text)) else unicodedata.normalize(form, text)


def _has_many_marks(text: str) -> bool:
    count = 0
    for character in text:
        count = count + 1 if _begins_with_mark(character) else 0
        if count > MAX_MARKS:
            return True
    return False


@lru_cache(maxsize=1 << 16)
def _begins_with_mark(character: str) -> bool:
    """Return whether the decomposition of a character begins with a combining character."""
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0
