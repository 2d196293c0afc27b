"""Names with right-to-left text beside arrows and numbers.

Without isolation, such a name reverses an arrow beside it ("A → B" reads as "B → A"), and takes digits beside it into
its own order. Other names stay as they are, so that copied texts have no invisible characters.
"""

import unicodedata

from markupsafe import Markup

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})
_ISOLATE, _END = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def isolate(name: str) -> str:
    """Return a name for a sentence of a page; its direction does not change the rest of the sentence."""
    return f"{_ISOLATE}{name}{_END}" if _has_right_to_left(name) else name


def isolate_element(name: str) -> str:
    """Return a name for a template; like `isolate`, but with an element, so that copied names equal the originals."""
    return Markup("<bdi>{}</bdi>").format(name) if _has_right_to_left(name) else name


def _has_right_to_left(name: str) -> bool:
    return not name.isascii() and any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in name)
