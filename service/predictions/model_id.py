"""Model identifiers, `SOURCE:REST`; a bare name means timm. Parsed without torch, so that the API can judge them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from errata.errors import InvalidModelId

MAX_LENGTH = 512
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_MLFLOW = re.compile(
    r"models:/(?:/(?P<registry>[A-Za-z0-9][A-Za-z0-9_.\-]{0,63})/)?(?P<name>(?!\.{1,2}[/@])[^/:@?#%\\]{1,256})"
    r"(?:/(?P<version>[0-9]{1,18})|@(?P<alias>[A-Za-z0-9_\-]{1,255}))"
)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")


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


@dataclass(frozen=True)
class TorchvisionModel:
    """What follows `torchvision:`: a model and which of its weights; empty: its default ones."""

    name: str
    weights: str


@dataclass(frozen=True)
class HubModel:
    """What follows `hf-hub:`: a repository and a branch, tag or commit of it; empty: its main branch."""

    repository: str
    revision: str


@dataclass(frozen=True)
class MlflowModel:
    """What follows `mlflow:`: a registered model's version, or an alias of it; an empty registry: the only one."""

    registry: str
    name: str
    version: str
    alias: str


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
    if source in _PARSERS:
        _PARSERS[source](rest)
    else:
        _check_name(rest, f"a model name of letters, digits and _.- after {source}:")
    return ModelId(source, rest)


def parse_file_model(rest: str) -> FileModel:
    """Return the path and architecture of `PATH#ARCHITECTURE`; the path is relative and never climbs."""
    path_text, _, architecture = rest.partition("#")
    if architecture:
        _check_name(architecture, "a timm architecture after #")
    return FileModel(_path_inside(path_text, "file:PATH#ARCHITECTURE"), architecture)


def parse_onnx_model(rest: str) -> PurePosixPath:
    """Return the path of the graph, which is relative and never climbs."""
    return _path_inside(rest, "onnx:PATH")


def parse_torchvision_model(rest: str) -> TorchvisionModel:
    """Return the parts of `NAME[/WEIGHTS]`."""
    name, slash, weights = rest.partition("/")
    for item in (name, weights) if slash else (name,):
        _check_name(item, "torchvision:NAME or torchvision:NAME/WEIGHTS, of letters, digits and _.-")
    return TorchvisionModel(name, weights)


def parse_hub_model(rest: str) -> HubModel:
    """Return the parts of `ORG/REPO[@REVISION]`."""
    repository, at, revision = rest.partition("@")
    organization, _, name = repository.partition("/")
    form = "hf-hub:ORG/REPO or hf-hub:ORG/REPO@REVISION, of letters, digits and _.-"
    _check_name(organization, form)
    _check_name(name, form)
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InvalidModelId(f"expected {form}, got the revision {revision!r:.80}", field="model")
    return HubModel(repository, revision)


def parse_mlflow_model(rest: str) -> MlflowModel:
    """Return the parts of `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `models://REGISTRY/NAME/…`."""
    form = "mlflow:models:/NAME/VERSION, mlflow:models:/NAME@ALIAS or mlflow:models://REGISTRY/NAME/VERSION"
    match = _MLFLOW.fullmatch(rest)
    if match is None:
        raise InvalidModelId(f"expected {form}, got {rest!r:.80}", field="model")
    return MlflowModel(match["registry"] or "", match["name"], match["version"] or "", match["alias"] or "")


def _path_inside(text: str, form: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or not path.name:
        raise InvalidModelId(
            f"expected {form}, a path inside the folder ERRATA_MODELS, got {text!r:.80}", field="model"
        )
    return path


def _check_name(name: str, form: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidModelId(f"expected {form}, got {name!r:.80}", field="model")


_PARSERS: Mapping[str, Callable[[str], object]] = {
    "torchvision": parse_torchvision_model,
    "hf-hub": parse_hub_model,
    "file": parse_file_model,
    "onnx": parse_onnx_model,
    "mlflow": parse_mlflow_model,
}
SOURCES = ("demo", "timm", *_PARSERS)
