"""Read which images the annotated mistakes of imagenet-mistakes list as non-prototypical."""

from pathlib import Path

from errata.errors import InvalidEvidence
from errata.json_input import parse_json

FILES = ("greedy_soups_mistakes.json", "vit3b_mistakes.json")
CATEGORY = "Non-prototypical"


def read_non_prototypical(folder: Path) -> frozenset[str]:
    """Return the names of the images that at least one of the files lists as non-prototypical.

    Raises:
        InvalidEvidence: If a file is missing or invalid.
    """
    names: set[str] = set()
    for file in FILES:
        try:
            raw = parse_json((folder / file).read_text(encoding="utf-8"))
            names |= {name for name, mistake in raw.items() if mistake["failure category"] == CATEGORY}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidEvidence(
                f"{folder.name}/{file}: expected an object of mistakes by file name, each with a 'failure category': "
                f"{error!r:.100}.",
                field="mistakes",
            ) from error
    return frozenset(names)
