"""Non-prototypical images: those that the annotators of two strong models' mistakes called so (imagenet-mistakes)."""

from pathlib import Path

from errata.errors import InvalidEvidence
from errata.json_input import parse_json

FILES = ("greedy_soups_mistakes.json", "vit3b_mistakes.json")
CATEGORY = "Non-prototypical"


def read_non_prototypical(folder: Path) -> frozenset[str]:
    """Return the bare file names that either file calls so; raise InvalidEvidence unless both are there."""
    names: set[str] = set()
    for file in FILES:
        try:
            raw = parse_json((folder / file).read_text(encoding="utf-8"))
            names |= {name for name, mistake in raw.items() if mistake["failure category"] == CATEGORY}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidEvidence(
                f"{folder.name}/{file}: expected mistakes by file name, with a 'failure category', got {error!r:.100}",
                field="mistakes",
            ) from error
    return frozenset(names)
