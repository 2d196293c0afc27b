"""Read which images the annotated mistakes of imagenet-mistakes list as non-prototypical."""

from pathlib import Path

from errata.errors import InvalidEvidence
from errata.json_input import parse_json

from service.evidence.input_files import MAX_NAME, text_problem

FILES = ("greedy_soups_mistakes.json", "vit3b_mistakes.json")
CATEGORY = "Non-prototypical"


def check_folder(folder: Path) -> None:
    """Raise InvalidEvidence if the folder of the mistakes does not exist."""
    if not folder.is_dir():
        raise InvalidEvidence(
            f"Folder of mistakes {str(folder)!r} not found. Check the path of --mistakes.", field="mistakes"
        )


def read_non_prototypical(folder: Path) -> frozenset[str]:
    """Return the names of the images that at least one of the files lists as non-prototypical.

    Raises:
        InvalidEvidence: If the folder or a file is missing, or if a file is invalid.
    """
    check_folder(folder)
    names: set[str] = set()
    for file in FILES:
        try:
            raw = parse_json((folder / file).read_text(encoding="utf-8"))
            listed = {name for name, mistake in raw.items() if mistake["failure category"] == CATEGORY}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidEvidence(
                f"{folder.name}/{file}: {error!r:.100}. Expected a JSON object that maps file names to mistakes, "
                "each with a 'failure category'.",
                field="mistakes",
            ) from error
        for name in listed:
            if problem := text_problem("file_name", name, MAX_NAME):
                raise InvalidEvidence(f"{folder.name}/{file}: {problem}.", field="mistakes")
        names |= listed
    return frozenset(names)
