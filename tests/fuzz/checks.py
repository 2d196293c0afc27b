"""What must hold for every file that is parsed, whatever is in it."""

from service.storage import CHUNK

from .parser import JUDGED, MAX_BYTES, Outcome, Parser

MOST_MEMORY = 96  # MiB by which parsing may grow: no file here exceeds 2 MiB, and Arrow's blocks are 1 MiB


def checked(parser: Parser, content: bytes, limit: int = MAX_BYTES) -> Outcome:
    """Parse a file and return its outcome, which is one of those that are allowed."""
    outcome = parser.parse(content, limit)

    assert outcome.end != "broken", outcome.told
    assert outcome.given <= limit + CHUNK, "the parser read more than the limit and one chunk"
    assert all(0 <= number < 1000 for number in outcome.classes)
    assert outcome.end == "refused" or len(outcome.classes) == len(JUDGED)
    assert outcome.grown <= MOST_MEMORY, f"{outcome.grown} MiB"
    return outcome
