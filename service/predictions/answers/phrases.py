"""Phrases around the name in an answer, such as `This is a photo of a …`."""

import re
from collections.abc import Iterator

from service.domain import normalize_answer

_MARKER = re.compile(r"^\W*(?:final )?(?:answer|label|class|category|prediction)\W*[:=]", re.IGNORECASE)
_PICTURE = r"(?:image|photo|photograph|picture|drawing|painting|sketch|close ?up|view)"
_VERB = r"(?:is|are|shows|depicts|contains|features|appears to be|looks like|seems to be|would be)"
_SUBJECT = (
    rf"this|it|that|there|these|(?:this|the|main) (?:{_PICTURE}|object|subject|animal)|"
    rf"(?:main |final |correct )?(?:answer|label|class|category|object|subject)(?: in (?:the|this) {_PICTURE})?"
)
_OPENINGS = (
    rf"(?:{_SUBJECT}) {_VERB}",
    rf"in (?:the|this) {_PICTURE} (?:there is|i see|we see|i can see)",
    r"its|i (?:can )?see|i think|we (?:can )?see|probably|likely|most likely|definitely",
    rf"(?:[a-z]+ )?{_PICTURE} (?:of|showing)",
)
_OPENING = re.compile(rf"^(?:{'|'.join(_OPENINGS)}) (?=.)")
_ENDING = re.compile(rf"(?<=.) (?:in|on) (?:the|this) {_PICTURE}$")
MAX_PHRASES = 4  # maximum number of openings that are removed one after another


def iterate_cores(answer: str) -> Iterator[str]:
    """Yield the normalized answer, then the text that remains each time a phrase is removed. Skip empty texts."""
    text = normalize_answer(answer)
    if text:
        yield text
    unmarked = _MARKER.sub("", answer)
    if unmarked != answer and (text := normalize_answer(unmarked)):
        yield text
    for _ in range(MAX_PHRASES):
        shorter = normalize_answer(_OPENING.sub("", _ENDING.sub("", text), count=1))
        if not shorter or shorter == text:
            return
        yield shorter
        text = shorter
