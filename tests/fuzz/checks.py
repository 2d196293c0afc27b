"""The invariants of parsing any file."""

from service.storage import CHUNK

from .parser import JUDGED, MAX_BYTES, Outcome, Parser

MOST_MEMORY = 96  # MiB by which parsing may grow: no file here exceeds 2 MiB, and Arrow's blocks are 1 MiB


def check_parse(parser: Parser, content: bytes, limit: int = MAX_BYTES) -> Outcome:
    """Parse a file, check the invariants, and return the outcome."""
    outcome = parser.parse(content, limit)

    assert outcome.end != "broken", outcome.detail
    assert outcome.bytes_read <= limit + CHUNK, "the parser read more than the limit and one chunk"
    assert all(-1 <= number < 1000 for number in outcome.classes)  # -1: the image has no row
    assert outcome.end == "refused" or len(outcome.classes) == len(JUDGED)
    assert outcome.memory_growth <= MOST_MEMORY, f"{outcome.memory_growth} MiB"
    return outcome
