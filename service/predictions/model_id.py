"""Model identifiers, `SOURCE:REST`; a bare name means timm. Parsed without torch, so that the API can judge them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from service.errors import InvalidModelId

SOURCES = ("demo", "timm", "file")
MAX_LENGTH = 512
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True)
class ModelId:
    """A source and what it is called there."""

    source: str
    rest: str

    def __str__(self) -> str:
        return f"{self.source}:{self.rest}"


@dataclass(frozen=True)
class FileModel:
    """What follows `file:`: a path inside the permitted folder and, unless a config.json says it, the architecture."""

    path: PurePosixPath
    architecture: str


def parse_model_id(text: str) -> ModelId:
    """Return the identifier; raise InvalidModelId for an unknown source, odd characters or a path that climbs."""
    text = text.strip()
    if not text or len(text) > MAX_LENGTH or not text.isprintable():
        raise InvalidModelId(
            f"expected SOURCE:NAME of at most {MAX_LENGTH} characters, got {text!r:.80}", field="model"
        )
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = "timm", text
    if source not in SOURCES:
        raise InvalidModelId(f"expected a model source of {', '.join(SOURCES)}, got {source!r:.40}", field="model")
    if source == "file":
        parse_file_model(rest)
    elif not _NAME.fullmatch(rest):
        raise InvalidModelId(
            f"expected a model name of letters, digits and _.- after {source}:, got {rest!r:.80}", field="model"
        )
    return ModelId(source, rest)


def parse_file_model(rest: str) -> FileModel:
    """Return the path and architecture of `PATH#ARCHITECTURE`; the path is relative and never climbs."""
    path_text, _, architecture = rest.partition("#")
    path = PurePosixPath(path_text)
    if not path_text or path.is_absolute() or ".." in path.parts or "\\" in path_text:
        raise InvalidModelId(
            f"expected file:PATH#ARCHITECTURE, a path inside the folder ERRATA_MODELS, got {path_text!r:.80}",
            field="model",
        )
    if architecture and not _NAME.fullmatch(architecture):
        raise InvalidModelId(f"expected a timm architecture after #, got {architecture!r:.80}", field="model")
    return FileModel(path, architecture)
