"""Model IDs, `SOURCE:NAME`. A bare name means timm. Parsing needs no torch, so that the API can check IDs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from errata.errors import InvalidModelId

MAX_LENGTH = 512
HUB_SOURCES = ("hf-hub", "transformers", "hf-onnx")  # what `hf` can mean: timm, transformers, or an ONNX graph
HUB_GRAPHS = ("model.onnx", "onnx/model.onnx")  # usual paths of an ONNX graph in a repository
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_REVISION = re.compile(rf"{_NAME.pattern}(/{_NAME.pattern})*")
_GRAPH_PATH = re.compile(rf"{_REVISION.pattern}\.onnx")
_MLFLOW = re.compile(
    r"models:/(?:/(?P<registry>[A-Za-z0-9][A-Za-z0-9_.\-]{0,63})/)?(?P<name>(?!\.{1,2}[/@])[^/:@?#%\\]{1,256})"
    r"(?:/(?P<version>[0-9]{1,18})|@(?P<alias>[A-Za-z0-9_\-]{1,255}))"
)
_WANDB = re.compile(
    r"(?://(?P<registry>[A-Za-z0-9][A-Za-z0-9_.\-]{0,63})/)?(?P<entity>[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,127})"
    r"/(?P<project>(?!\.{1,2}/)[^/:@?#%\\]{1,128})/(?P<name>[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,127})"
    r":(?P<version>[^/:@?#%\\]{1,128})(?:@(?P<digest>[0-9a-f]{32}))?"
)


@dataclass(frozen=True)
class ModelId:
    """A model source, and the name of the model in this source."""

    source: str
    rest: str

    def __str__(self) -> str:
        return f"{self.source}:{self.rest}"


@dataclass(frozen=True)
class FileModel:
    """The parts of `file:PATH#ARCHITECTURE`. An empty architecture means the one in config.json."""

    path: PurePosixPath
    architecture: str


@dataclass(frozen=True)
class TorchvisionModel:
    """The parts of `torchvision:NAME/WEIGHTS`. Empty weights mean the default weights."""

    name: str
    weights: str


@dataclass(frozen=True)
class HubModel:
    """The parts of `REPOSITORY@REVISION` on the Hugging Face Hub. An empty revision means the main branch."""

    repository: str
    revision: str


@dataclass(frozen=True)
class HubGraph:
    """The parts of `hf-onnx:REPOSITORY@REVISION#PATH`. An empty path means one of the usual paths."""

    repository: str
    revision: str
    path: str


@dataclass(frozen=True)
class WandbArtifact:
    """The parts of `wandb:ENTITY/PROJECT/NAME:VERSION@DIGEST`. An empty registry means the only configured one."""

    registry: str
    entity: str
    project: str
    name: str
    version: str  # vN or an alias
    digest: str  # digest of the manifest; empty: not pinned

    @property
    def path(self) -> str:
        """Return ENTITY/PROJECT/NAME, without the version."""
        return f"{self.entity}/{self.project}/{self.name}"


@dataclass(frozen=True)
class MlflowModel:
    """The parts of `mlflow:models://REGISTRY/NAME/VERSION` or `mlflow:models://REGISTRY/NAME@ALIAS`.

    An empty registry means the only configured one.
    """

    registry: str
    name: str
    version: str
    alias: str


def parse_model_id(text: str) -> ModelId:
    """Parse a model ID; raise InvalidModelId for an unknown source, invalid characters, or a path with `..`."""
    text = text.strip()
    if not text or len(text) > MAX_LENGTH or not text.isprintable():
        raise InvalidModelId(
            f"Invalid model ID {text!r:.80}. Expected SOURCE:NAME of 1 to {MAX_LENGTH} printable characters.",
            field="model",
        )
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = "timm", text
        _check_not_file(text)
    if source not in SOURCES:
        raise InvalidModelId(
            f"Unknown model source {source!r:.40}. Expected one of {', '.join(SOURCES)}.", field="model"
        )
    if source in _PARSERS:
        _PARSERS[source](rest)
    else:
        _check_name(rest, f"{source}:NAME, with a name of letters, digits, and _.-")
    return ModelId(source, rest)


def parse_file_model(rest: str) -> FileModel:
    """Parse `PATH#ARCHITECTURE`. The path is relative and contains no `..`."""
    path_text, _, architecture = rest.partition("#")
    if architecture:
        _check_name(architecture, "file:PATH#ARCHITECTURE, with an architecture of timm")
    return FileModel(_path_inside(path_text, "file:PATH#ARCHITECTURE"), architecture)


def parse_onnx_model(rest: str) -> PurePosixPath:
    """Parse the path of an ONNX graph. It is relative and contains no `..`."""
    return _path_inside(rest, "onnx:PATH")


def parse_torchvision_model(rest: str) -> TorchvisionModel:
    """Parse `NAME[/WEIGHTS]`."""
    name, slash, weights = rest.partition("/")
    for part in (name, weights) if slash else (name,):
        _check_name(part, "torchvision:NAME or torchvision:NAME/WEIGHTS, of letters, digits, and _.-")
    return TorchvisionModel(name, weights)


def parse_hub_model(rest: str) -> HubModel:
    """Parse `ORG/REPO[@REVISION]`."""
    repository, at, revision = rest.partition("@")
    organization, _, name = repository.partition("/")
    form = "SOURCE:ORG/REPO or SOURCE:ORG/REPO@REVISION, of letters, digits, and _.-"
    _check_name(organization, form)
    _check_name(name, form)
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InvalidModelId(f"Invalid revision {revision!r:.80}. Expected {form}.", field="model")
    return HubModel(repository, revision)


def parse_hub_graph(rest: str) -> HubGraph:
    """Parse `ORG/REPO[@REVISION][#PATH]`. The path is relative to the repository."""
    hub_rest, hash_sign, path = rest.partition("#")
    hub_model = parse_hub_model(hub_rest)
    if hash_sign and (not _GRAPH_PATH.fullmatch(path) or ".." in path.split("/")):
        raise InvalidModelId(
            f"Invalid path {path!r:.80}. Expected hf-onnx:ORG/REPO@REVISION#PATH, with the path of an .onnx file in "
            "the repository.",
            field="model",
        )
    return HubGraph(hub_model.repository, hub_model.revision, path)


def parse_wandb_artifact(rest: str) -> WandbArtifact:
    """Parse `ENTITY/PROJECT/NAME:VERSION[@DIGEST]`, perhaps with the prefix `//REGISTRY/`."""
    match = _WANDB.fullmatch(rest)
    if match is None:
        raise InvalidModelId(
            f"Invalid artifact {rest!r:.80}. Expected wandb:ENTITY/PROJECT/NAME:VERSION, with a version such as v3 or "
            "an alias, or wandb://REGISTRY/ENTITY/PROJECT/NAME:VERSION.",
            field="model",
        )
    return WandbArtifact(**{name: value or "" for name, value in match.groupdict().items()})


def parse_mlflow_model(rest: str) -> MlflowModel:
    """Parse `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or `models://REGISTRY/NAME/…`."""
    form = "mlflow:models:/NAME/VERSION, mlflow:models:/NAME@ALIAS, or mlflow:models://REGISTRY/NAME/VERSION"
    match = _MLFLOW.fullmatch(rest)
    if match is None:
        raise InvalidModelId(f"Invalid registered model {rest!r:.80}. Expected {form}.", field="model")
    return MlflowModel(match["registry"] or "", match["name"], match["version"] or "", match["alias"] or "")


def _path_inside(text: str, form: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or not path.name:
        raise InvalidModelId(
            f"Invalid path {text!r:.80}. Expected {form}, with a path relative to the folder ERRATA_MODELS.",
            field="model",
        )
    return path


def _check_name(name: str, form: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidModelId(f"Invalid name {name!r:.80}. Expected {form}.", field="model")


def _check_not_file(text: str) -> None:
    """Raise InvalidModelId with a remedy if a bare name looks like the path of a model file."""
    name = PurePosixPath(text.replace("\\", "/")).name
    for suffixes, form in _FILE_FORMS.items():
        if name.lower().endswith(suffixes):
            raise InvalidModelId(
                f"{text!r:.80} looks like a file, not a model ID. Put the file in the folder ERRATA_MODELS, and use "
                f"{form.format(name=name[:80])}.",
                field="model",
            )


_FILE_FORMS = {
    (".onnx",): "onnx:{name}",
    (".safetensors", ".pth", ".pt", ".ckpt", ".bin"): "file:{name}#ARCHITECTURE",
}
_PARSERS: Mapping[str, Callable[[str], object]] = {
    "torchvision": parse_torchvision_model,
    "hf": parse_hub_model,
    "hf-hub": parse_hub_model,
    "transformers": parse_hub_model,
    "hf-onnx": parse_hub_graph,
    "file": parse_file_model,
    "onnx": parse_onnx_model,
    "mlflow": parse_mlflow_model,
    "wandb": parse_wandb_artifact,
}
SOURCES = ("demo", "timm", *_PARSERS)
